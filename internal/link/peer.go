package link

// peer.go keeps one link to one peer: dialled on first use, and again with
// growing pauses when it has gone down.

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// A Peer is another process that links can be dialled to. Its methods are
// safe for concurrent use.
type Peer struct {
	node *Node
	name string
	base string
	url  *url.URL
	ops  string // URL for requests over plain HTTP

	health *health // of that name

	source string // where it was dialled last; guarded by the node's mutex, see visitor.go

	link atomic.Pointer[Link] // the last one, until its end has been dealt with

	mu      sync.Mutex
	closed  bool
	dialing bool
	shown   bool  // the peer has shown that it is there since dialling began
	err     error // why there is no link and nobody should wait for one
	pause   time.Duration
	timer   *time.Timer
	changed chan struct{} // closed when any of this changes, if somebody waits
	born    int64         // when the peer was made
	met     bool          // there has been a link
	since   int64         // when the link came up
	logged  struct {      // why there is none, since there was one
		reason string
		at     int64
	}
	lines   []func() // to be logged by unlock, in order
	logging bool     // somebody logs them
}

// unlock unlocks the peer and logs what was to be logged: what handles it may use the peer.
func (p *Peer) unlock() {
	if p.logging { // who is at it logs these too, after what came before them
		p.mu.Unlock()
		return
	}
	for p.logging = true; len(p.lines) > 0; {
		lines := p.lines
		p.lines = nil
		p.mu.Unlock()
		for _, log := range lines {
			log()
		}
		p.mu.Lock()
	}
	p.logging = false
	p.mu.Unlock()
}

// say logs a message about the peer when it is unlocked. The peer is locked.
func (p *Peer) say(level slog.Level, msg string, args ...any) {
	p.lines = append(p.lines, func() {
		args = append([]any{"peer", p.name, "url", p.url.String()}, args...)
		p.node.cfg.Logger.Log(context.Background(), level, msg, args...)
	})
}

// Peer returns a peer by its name on the ring and its URL, under which its
// Node serves v1/link. It dials nothing.
func (n *Node) Peer(name, base string) (*Peer, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, &DialError{Peer: name, URL: base, Err: errors.New("the URL is not http://host or https://host")}
	}
	if u.Path == "" {
		u.Path = "/"
	}
	p := &Peer{node: n, name: name, base: base, source: sourceOf(u.Host), url: u.JoinPath("v1/link"), ops: u.JoinPath("v1/ops").String(), born: n.now()}
	n.mu.Lock()
	defer n.mu.Unlock()
	p.closed = n.closed
	if !p.closed {
		n.peers[p] = struct{}{}
		p.health = n.healthOf(name)
	}
	return p, nil
}

// Name returns the peer's name on the ring.
func (p *Peer) Name() string { return p.name }

// URL returns the URL that the peer was made with.
func (p *Peer) URL() string { return p.base }

// Up returns the link if it is up, else nil. It dials nothing.
func (p *Peer) Up() *Link {
	if l := p.link.Load(); l != nil && !isClosed(l.down) {
		return l
	}
	return nil
}

// Link returns the link to the peer. If there is none it dials and waits for
// that as long as ctx lasts; while dialling keeps failing it returns the last
// failure at once, a *DialError.
func (p *Peer) Link(ctx context.Context) (*Link, error) {
	for {
		if l := p.Up(); l != nil {
			return l, nil
		}
		wait, err := p.prepare()
		if err != nil {
			p.health.failed(1, err)
			return nil, err
		}
		if wait == nil {
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			err := p.error(context.Cause(ctx))
			if !errors.Is(ctx.Err(), context.Canceled) {
				p.health.failed(1, err)
			}
			return nil, err
		}
	}
}

// Dial sees to it that the peer is dialled if there is no link, and again until there is one.
func (p *Peer) Dial() { _, _ = p.prepare() }

// prepare dials, unless that is under way, and returns what to wait for.
func (p *Peer) prepare() (wait <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.Up() != nil:
		return nil, nil
	case p.closed:
		return nil, p.error(ErrClosed)
	case p.err != nil:
		return nil, p.err
	case p.link.Load() == nil && !p.dialing:
		p.dial()
	}
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed, nil
}

func (p *Peer) change() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

func (p *Peer) error(err error) error {
	var e *DialError
	if errors.As(err, &e) {
		return err
	}
	return &DialError{Peer: p.name, URL: p.url.String(), Err: err}
}

// dial starts dialling. The peer is locked.
func (p *Peer) dial() {
	p.dialing, p.shown = true, false
	p.node.wg.Go(func() {
		err := p.dialUntilServed()
		ctx, cancel := context.WithTimeoutCause(p.node.ctx, p.node.cfg.HandshakeTimeout, ErrTimeout)
		defer cancel()
		if err = p.orPlain(ctx, err); err == nil {
			return
		}
		err = refusedByTLS(err)
		p.health.note(err)
		p.node.cfg.Failed(p, err)
		p.mu.Lock()
		defer p.unlock()
		p.dialing = false
		if p.shown && !p.closed { // the peer may have come up after the attempt failed
			p.dial()
			return
		}
		p.again(p.error(err))
	})
}

// dialUntilServed dials once, and again while the peer is busy with others.
func (p *Peer) dialUntilServed() error {
	n := p.node
	all, cancel := context.WithTimeout(n.ctx, n.cfg.OpTimeout)
	defer cancel()
	once := func() error {
		ctx, cancel := context.WithTimeoutCause(n.ctx, n.cfg.HandshakeTimeout, ErrTimeout)
		defer cancel()
		return n.dial(ctx, p)
	}
	err := once()
	if isCut(err) { // a dying process resets connections; from then on its port refuses them, which says more
		err = once()
	}
	for pause := n.cfg.MinBackoff; errors.Is(err, errBusy); pause = min(2*pause, n.cfg.Lease/4) {
		select {
		case <-time.After(rand.N(pause)):
			err = once()
		case <-all.Done():
			return err
		}
	}
	return err
}

// orPlain makes a link without a connection where the upgrade to one is refused, if that is
// allowed.
func (p *Peer) orPlain(ctx context.Context, err error) error {
	var refused *UpgradeError
	if !errors.As(err, &refused) || refused.Status == http.StatusNotFound || !p.node.cfg.Plain(p.base) {
		return err
	}
	if e := p.node.dialPlain(ctx, p, refused); e != nil {
		return fmt.Errorf("%w; %w", err, e)
	}
	return nil
}

// upgrade tries to replace l, which has no connection, by a link that has one.
func (p *Peer) upgrade(l *Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.dialing || p.link.Load() != l {
		return
	}
	p.dialing = true
	p.node.wg.Go(func() {
		ctx, cancel := context.WithTimeoutCause(p.node.ctx, p.node.cfg.HandshakeTimeout, ErrTimeout)
		defer cancel()
		if err := p.node.dial(ctx, p); err != nil {
			p.mu.Lock()
			defer p.unlock()
			p.dialing = false
			if p.link.Load() == nil { // it has gone down meanwhile
				p.again(p.error(err))
			}
		}
	})
}

// isCut reports whether the other end has cut a connection.
func isCut(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// got takes a link that is ready. It runs on the link's reader.
func (p *Peer) got(l *Link) {
	p.mu.Lock()
	defer p.unlock()
	if p.err != nil || p.pause > 0 {
		p.say(slog.LevelInfo, "covey: link is up again")
	}
	p.dialing, p.err, p.met = false, nil, true
	p.logged.reason = ""
	p.since = p.node.now()
	if old := p.link.Swap(l); old != nil && old.plain != nil {
		old.plain.leave(ErrReplaced, nil)
	}
	p.change()
	if p.closed {
		l.fail(ErrClosed)
	}
}

// lost lets go of a link that is down. It runs on the link's reader.
func (p *Peer) lost(l *Link, err error) {
	p.mu.Lock()
	defer p.unlock()
	if !p.link.CompareAndSwap(l, nil) { // it has been replaced
		return
	}
	if p.node.now()-p.since > int64(p.node.cfg.Lease) {
		p.pause = 0
	}
	if !p.closed {
		p.say(slog.LevelInfo, "covey: link is down", "err", err)
	}
	if p.pause > 0 || errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrGoingAway) {
		p.again(p.error(err))
		return
	}
	if p.dialing {
		p.change()
		return
	}
	p.pause = 1 // if the next link does not last, nobody waits for the one after it
	p.change()
	if !p.closed {
		p.dial()
	}
}

// again dials after a pause that grows; until then err is the answer. The peer
// is locked, and is unlocked by unlock.
func (p *Peer) again(err error) {
	p.change()
	if p.closed {
		return
	}
	p.log(err)
	p.err = err
	p.pause = min(max(2*p.pause, p.node.cfg.MinBackoff), p.node.cfg.MaxBackoff)
	wait := p.pause/2 + rand.N(p.pause/2+1)
	p.timer = time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.closed && !p.dialing && p.link.Load() == nil {
			p.dial()
		}
	})
}

// logEvery is how long no other reason is logged after one, since two reasons may alternate.
const logEvery = 10 * time.Second

// log logs why there is no link, if that has changed. The peer is locked.
func (p *Peer) log(err error) {
	if p.name == p.node.cfg.Name { // this process, which will say itself what that means
		return
	}
	if errors.Is(err, ErrGoingAway) { // that is no trouble; from now on it refuses connections
		p.logged.reason = syscall.ECONNREFUSED.Error()
		return
	}
	if errors.Is(err, ErrClosed) { // this end does not try again
		return
	}
	level, reason, now := slog.LevelWarn, reasonOf(err), p.node.now()
	if !p.met && now < p.born+int64(startGrace) && mayBeStarting(err) {
		level = slog.LevelInfo
		reason = "starting: " + reason // told again as a warning if it stays so
	}
	if reason == p.logged.reason || p.logged.reason != "" && now < p.logged.at+int64(logEvery) {
		return
	}
	p.logged.reason, p.logged.at = reason, now
	var dial *DialError
	if errors.As(err, &dial) {
		err = dial.Err // the rest of it is logged here
	}
	p.say(level, "covey: no link to a peer, trying again", "err", err)
}

// startGrace is how long a peer that has not been met yet may take to start before it is a cause
// for alarm that it cannot be reached.
const startGrace = time.Minute

// mayBeStarting reports whether the cause may be that the peer, or what leads to it, is not there
// yet.
func mayBeStarting(err error) bool {
	var upgrade *UpgradeError
	return !errors.As(err, &upgrade) && !errors.Is(err, ErrRefused) && !errors.Is(err, wire.ErrMagic) && !errors.Is(err, ErrProtocol)
}

// reasonOf returns the part of an error's text that is the same whenever the reason is the same:
// without addresses and times.
func reasonOf(err error) string {
	var invalid x509.CertificateInvalidError // its text has the time
	if errors.As(err, &invalid) {
		return fmt.Sprintf("certificate is invalid, reason %d", invalid.Reason)
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// Retry ends the pause before the next try to dial, since the peer has shown
// that it is there.
func (p *Peer) Retry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dialing {
		p.shown = true
	}
	if p.closed || p.dialing || p.err == nil {
		return
	}
	p.timer.Stop()
	p.err = nil
	p.dial()
}

// Shown reports whether Retry has been called since dialling began, so that a failure of this
// attempt says little.
func (p *Peer) Shown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialing && p.shown
}

// Close ends the link and dials no more.
func (p *Peer) Close() {
	p.node.mu.Lock()
	if _, ok := p.node.peers[p]; ok {
		delete(p.node.peers, p)
		p.node.release(p.name, p.health)
	}
	p.node.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	if l := p.link.Load(); l != nil {
		l.fail(ErrClosed)
	}
	p.change()
}
