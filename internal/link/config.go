package link

// config.go has the settings of a Node, and the errors.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// A Config says how a Node behaves. The zero value of an optional field is
// its default. The functions are called on the goroutine that reads a link
// and must not block; they must not call Peer.Link, Link.Call or Link.Send.
type Config struct {
	Name     string // of this process on the ring, at most wire.MaxName bytes; required
	Instance uint64 // drawn at random for each start of the process; required

	// Group is the name of the group, at most wire.MaxName bytes. Processes of
	// another group are refused.
	Group string
	// Build is the version of this library in this process, for operators; at most wire.MaxName bytes.
	Build string
	// Secrets authenticate both ends of a link: the first signs, all verify.
	// If there are none, this package authenticates nobody.
	Secrets [][]byte
	// TLS is for links to https URLs. nil: the system's roots.
	TLS *tls.Config
	// Verify says why the end of a link with that name and that TLS, nil for
	// none, is refused. nil: it is not. It may take a while, unlike the others.
	Verify func(name string, state *tls.ConnectionState) error
	// Dial connects to a host:port. nil: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Guard runs f, which makes a connection, with functions of the user's: Dial
	// or those of TLS, as what says. They may panic, and hang after the end of
	// ctx. nil: it only runs f.
	Guard func(ctx context.Context, what string, f func() (net.Conn, error)) (net.Conn, error)

	// Plain says whether a peer may be asked over plain HTTP when its server refuses links. nil:
	// none may.
	Plain func(base string) bool

	// Serve gets the requests that arrive. r is not to be kept.
	// nil: every request is unsupported.
	Serve func(r *Request)
	// Up is called before the first request of a link is served, and for a
	// link that was dialled before Peer.Link returns it.
	Up func(l *Link)
	// Down is called when a link has ended. Calls without an answer fail, and
	// kept requests are cancelled, after it has returned.
	Down func(l *Link, err error)
	// CallerUp is called when the first body has come from a process that asks over plain HTTP, before
	// anything of it is served. l stands for that process: it can be told things over l, but not asked.
	// It is not among Node.Links, and good for Tell, Name, Instance, Err, Plain and Close only.
	CallerUp func(l *Link)
	// CallerDown is called when l has ended: the process has said that it leaves, or nothing has come
	// from it for a Lease. If something comes later CallerUp is called again, with another link.
	CallerDown func(l *Link, err error)
	// Failed is called when a peer could not be dialled.
	Failed func(p *Peer, err error)
	// Report is called when a keep-alive is about to be sent: add takes the
	// hits on keys borrowed over l since the last time, and returns false when
	// the keep-alive is full. It may run on a goroutine of its own.
	Report func(l *Link, add func(cache uint16, key string, hits uint64) bool)
	// Reported gets what the other end's Report added. key is not to be kept.
	Reported func(l *Link, cache, key string, hits uint64)

	// Unwanted gets the answers for which nobody waits any more. f is not to be kept.
	Unwanted func(l *Link, f *wire.Frame)

	// Told gets what the other end of l has given Tell, in that order, and before anything is
	// served that was sent after it. f is not to be kept. Over plain HTTP, what was told last before
	// a connection broke may come twice, l is that of CallerUp at the end that is asked (see Tell),
	// and the last words of a process that leaves may come after CallerDown.
	Told func(l *Link, f *wire.Frame)

	Logger *slog.Logger // nil: slog.Default()

	// Start is the zero of all times that this package tells, as nanoseconds
	// on the monotonic clock. Default: when the Node was made.
	Start time.Time
	// Ahead is by how many nanoseconds the wall clock has run ahead of the monotonic clock since
	// Start: that one stands still while the machine is suspended. It may only grow. nil: the wall
	// clock is not asked.
	Ahead func() int64

	// Term says for how long this end may grant a lease to the other end of l right now; 0: not at
	// all. What it grants is not longer than Lease. It is asked at each keep-alive, the first time
	// before Up. nil: always Lease.
	Term func(l *Link) time.Duration

	Lease            time.Duration // default 2 s
	KeepAlive        time.Duration // between two; default a quarter of Lease
	OpTimeout        time.Duration // of a request, until it is answered or held; default 5 s
	HandshakeTimeout time.Duration // from dialling to the first keep-alive, half of it for the proof; default Lease
	MinBackoff       time.Duration // before the second try to dial; default 50 ms
	MaxBackoff       time.Duration // default 5 s

	MaxOps      int // requests in flight from one peer that are not held, of each class; default 4096
	MaxHeld     int // requests that are held for one peer, before the handler should refuse more; see Link.Crowded; default 4 * MaxOps
	MaxValue    int // bytes of a value from a peer; default 64 MiB
	MaxArriving int // bytes of values on their way here in pieces, over all links, before these wait in turn, and again of bodies; default 4 * MaxValue
	MaxQueue    int // bytes queued for one peer before it is made to wait; default 4 MiB
	MaxPending  int // handshakes under way with those who have not proved who they are; default 256
	bulkWindow  int // bytes of chunks on the way, at least
	copyBelow   int // values shorter than this are copied into the queue
	chunkSize   int // and those longer than this sent in chunks
	maxStreams  int // values of which chunks are on the way
	readBuffer  int // largest, but for a longer frame
	reportBytes int // of a keep-alive's report
}

func (c Config) withDefaults() Config {
	set(&c.Logger, slog.Default())
	set(&c.Start, time.Now())
	set(&c.Lease, 2*time.Second)
	set(&c.KeepAlive, c.Lease/4)
	set(&c.OpTimeout, 5*time.Second)
	set(&c.HandshakeTimeout, c.Lease)
	set(&c.MinBackoff, 50*time.Millisecond)
	set(&c.MaxBackoff, 5*time.Second)
	set(&c.MaxOps, 4096)
	set(&c.MaxHeld, 4*c.MaxOps)
	set(&c.MaxValue, 64<<20)
	set(&c.MaxArriving, 4*c.MaxValue)
	set(&c.MaxQueue, 4<<20)
	set(&c.MaxPending, 256)
	set(&c.bulkWindow, 64<<10)
	set(&c.copyBelow, 4<<10)
	set(&c.chunkSize, 16<<10)
	set(&c.maxStreams, 4)
	set(&c.readBuffer, 32<<10)
	set(&c.reportBytes, 32<<10)
	if c.Ahead == nil {
		c.Ahead = func() int64 { return 0 }
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Guard == nil {
		c.Guard = func(_ context.Context, _ string, f func() (net.Conn, error)) (net.Conn, error) { return f() }
	}
	if c.Verify == nil {
		c.Verify = func(string, *tls.ConnectionState) error { return nil }
	}
	if c.Plain == nil {
		c.Plain = func(string) bool { return false }
	}
	if c.Serve == nil {
		c.Serve = func(*Request) {}
	}
	if c.Up == nil {
		c.Up = func(*Link) {}
	}
	if c.Down == nil {
		c.Down = func(*Link, error) {}
	}
	if c.CallerUp == nil {
		c.CallerUp = func(*Link) {}
	}
	if c.CallerDown == nil {
		c.CallerDown = func(*Link, error) {}
	}
	if c.Report == nil {
		c.Report = func(*Link, func(uint16, string, uint64) bool) {}
	}
	if c.Reported == nil {
		c.Reported = func(*Link, string, string, uint64) {}
	}
	if c.Failed == nil {
		c.Failed = func(*Peer, error) {}
	}
	if c.Unwanted == nil {
		c.Unwanted = func(*Link, *wire.Frame) {}
	}
	if c.Told == nil {
		c.Told = func(*Link, *wire.Frame) {}
	}
	if c.Term == nil {
		c.Term = func(*Link) time.Duration { return c.Lease }
	}
	return c
}

func set[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

type strError string

func (e strError) Error() string { return string(e) }

// Is makes a timeout one of the kind that callers know.
func (e strError) Is(target error) bool {
	return e == ErrTimeout && target == context.DeadlineExceeded
}

// Why a link has ended, or a request was not answered.
const (
	// ErrClosed says that this end has closed the link, or the whole node.
	ErrClosed strError = "link: closed"
	// ErrGoingAway says that one of the ends is shutting down and takes no more requests.
	ErrGoingAway strError = "link: peer is shutting down"
	// ErrLeaseLost says that the other end was silent for a whole lease.
	ErrLeaseLost strError = "link: peer is silent"
	// ErrReplaced says that the same process has opened a newer link.
	ErrReplaced strError = "link: replaced by a newer link"
	// ErrSlowPeer says that the other end does not read what it is sent, or does not go on with a
	// value that it sends.
	ErrSlowPeer strError = "link: peer does not keep up"
	// ErrProtocol says that the other end sent what it must not.
	ErrProtocol strError = "link: peer broke the protocol"
	// ErrTimeout says that a request was not answered in time. It is also
	// context.DeadlineExceeded, by whichever deadline.
	ErrTimeout strError = "link: no answer in time"
	// ErrSelf says that the peer that was called is this process itself.
	ErrSelf strError = "link: peer is this process itself"
	// errNoRoom says that the bodies of other requests have all the memory that there is for them.
	errNoRoom strError = "link: other requests have all the memory that there is for long bodies"
	// errCrowded says that a handshake has made room for another one.
	errCrowded strError = "link: too many handshakes are under way from one address"
	// errBusy says that the other end is at as many handshakes as it takes at a time.
	errBusy strError = "link: peer has too many handshakes under way"
	// ErrRefused says that one end does not accept the other, and that waiting does not help: it
	// has another secret or certificate, is of another group, has another name than the list of
	// members says, or speaks another version of the protocol.
	ErrRefused strError = "link: authentication failed"
)

// Reason returns what is at the bottom of an error if that is one of the texts above or one of the
// operating system: they have no addresses in them, nor anything else that somebody has said. nil
// means that it is something else.
func Reason(err error) error {
	var reason strError
	if errors.As(err, &reason) {
		return reason
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return nil
}

// A DialError says why there is no link to a peer.
type DialError struct {
	Peer string
	URL  string
	Err  error
}

func (e *DialError) Error() string { return fmt.Sprintf("link to %s (%s): %v", e.Peer, e.URL, e.Err) }

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// An UpgradeError says that a server answered the request for a link with
// something else: it is not a covey peer, or something in between does not let
// upgrades through.
type UpgradeError struct {
	Status int    // of HTTP
	Text   string // the beginning of what it said
}

func (e *UpgradeError) Error() string {
	return fmt.Sprintf("link: the server does not open a link, its status is %d (%.200q): check the path of the peer's URL, and that nothing in between stops upgrades",
		e.Status, e.Text)
}

// Is makes it ErrRefused if the server wants another proof of who this process is, as a group does
// that knows peers by their certificates.
func (e *UpgradeError) Is(target error) bool {
	return target == ErrRefused && e.Status == http.StatusUnauthorized
}

// A HandshakeError is the other end's reason to refuse the link.
type HandshakeError struct {
	Code wire.Code
	Text string
}

func (e *HandshakeError) Error() string { return "link: handshake refused: " + e.Text }

// Is makes errors.Is tell the reasons apart.
func (e *HandshakeError) Is(target error) bool {
	switch e.Code {
	case wire.CodeRefused, wire.CodeIdentity, wire.CodeVersion:
		return target == ErrRefused
	case wire.CodeSelf:
		return target == ErrSelf
	}
	return false
}
