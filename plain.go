package covey

// plain.go asks peers for single keys over plain HTTP where something in between refuses the upgrade to a link, as service meshes
// do. It is slow, and there are no copies and no rights: a loader that is passed to Get runs in this process, and its
// result is returned and not stored. http.go is the other end.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// Headers between peers, beside PeerHeader, which the answers of peers have, too.
const (
	codecHeader = "Covey-Codec" // of an answer
	errorHeader = "Covey-Error" // of an answer: a wire.Code, the text is in the body
	ownerHeader = "Covey-Owner" // of an answer with status 421: who is, by the peer's ring
	ttlHeader   = "Covey-TTL"   // of a PUT: nanoseconds, 0 for no expiry
)

// onlyIfCached is what a GET says that must not load; the answer to a miss is then status 504 (RFC 9111, section 5.2.1.7).
const onlyIfCached = "only-if-cached"

func newPlainClient(o *GroupOptions) *http.Client {
	t := &http.Transport{DialContext: o.Dial, TLSClientConfig: o.TLS, ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// isLinkless reports whether err says that a peer's server is there and lets no links through, and that it may be asked over plain HTTP: keys
// are not served without authentication, and the secret goes only where TLS has proved who is there, or stays on this machine.
func (g *Group) isLinkless(p *link.Peer, err error) bool {
	var refused *link.UpgradeError
	return errors.As(err, &refused) && refused.Status != http.StatusNotFound && g.opt.authenticated() &&
		(strings.HasPrefix(p.URL(), "https:") || isLoopback(p.URL()))
}

// A plainAnswer is what a peer has answered over plain HTTP.
type plainAnswer struct {
	status int
	header http.Header
	body   []byte
}

// askPlain sends a request for a key to a peer. An error that the peer tells is returned as one.
func (c *Cache[V]) askPlain(ctx context.Context, p *link.Peer, method, key string, header http.Header, body []byte) (a plainAnswer, err error) {
	failed := func(err error) (plainAnswer, error) { return a, peerError(ctx, p.Name(), err) }
	timeout := c.group.opt.OpTimeout
	if method == http.MethodGet {
		timeout += max(c.opt.LoadTimeout, 0) // a load is part of it
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	to := p.URL() + "v1/caches/" + url.PathEscape(c.name) + "?key=" + url.QueryEscape(key)
	req, err := http.NewRequestWithContext(bounded, method, to, bytes.NewReader(body))
	if err != nil {
		return failed(err)
	}
	if header != nil {
		req.Header = header
	}
	req.Header.Set(PeerHeader, url.QueryEscape(c.group.opt.Name))
	if s := c.group.opt.Secrets; len(s) > 0 {
		req.Header.Set("Authorization", "Bearer "+string(s[0]))
	}
	resp, err := c.group.plain.Do(req)
	if err != nil {
		return failed(err)
	}
	defer resp.Body.Close()
	a.status, a.header = resp.StatusCode, resp.Header
	if a.status == http.StatusSwitchingProtocols { // its body is the bare connection, which no context ends
		return failed(errors.New("status 101 from something that is not a peer"))
	}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, int64(c.maxWireValue())+1)); err != nil {
		return failed(err)
	}
	switch codec := resp.Header.Get(codecHeader); {
	case resp.Header.Get(PeerHeader) == "":
		return failed(fmt.Errorf("status %d from something that is not a peer: %.200q", resp.StatusCode, a.body))
	case len(a.body) > c.maxWireValue():
		return failed(fmt.Errorf("its value has more than %d bytes", c.maxWireValue()))
	case codec != "" && codec != c.codec:
		err := fmt.Errorf("it has cache %q with the codec %q, here it is %q", c.name, codec, c.codec)
		c.warnOnce(p.Name(), err)
		return failed(err)
	}
	if code := resp.Header.Get(errorHeader); code != "" {
		n, _ := strconv.ParseUint(code, 10, 32)
		return a, failure(p.Name(), wire.Code(n), strings.TrimSpace(string(a.body)))
	}
	return a, nil
}

// getPlain is askPeer without a link.
func (c *Cache[V]) getPlain(ctx context.Context, p *link.Peer, key string, load Loader[V]) (v V, err error) {
	header := http.Header{}
	if load != nil || c.opt.Loader == nil {
		header.Set("Cache-Control", onlyIfCached)
	}
	a, err := c.askPlain(ctx, p, http.MethodGet, key, header, nil)
	if errors.Is(err, ErrNoLoader) {
		return v, errLoadHere
	}
	if err != nil {
		return v, err
	}
	switch a.status {
	case http.StatusOK:
		if v, err = c.decode(a.body); err != nil {
			c.undecodable(p.Name(), err)
			return v, errLoadHere
		}
		c.n.peerHits.Add(1)
		return v, nil
	case http.StatusNotFound:
		c.n.peerHits.Add(1)
		return v, ErrNotFound
	case http.StatusGatewayTimeout:
		return v, errLoadHere
	}
	return v, a.unexpected(p)
}

// lookupPlain is lookupShared without a link.
func (c *Cache[V]) lookupPlain(ctx context.Context, p *link.Peer, key string) (e Entry[V], ok bool, err error) {
	a, err := c.askPlain(ctx, p, http.MethodGet, key, http.Header{"Cache-Control": {onlyIfCached}}, nil)
	if err != nil {
		return e, false, err
	}
	e.Source = SourcePeer
	switch a.status {
	case http.StatusOK:
		if e.Value, err = c.decode(a.body); err != nil {
			c.undecodable(p.Name(), err)
			return Entry[V]{}, false, nil
		}
		e.Version, _ = strconv.ParseUint(strings.Trim(a.header.Get("ETag"), `"`), 10, 64)
		e.Age, _ = time.ParseDuration(a.header.Get("Age") + "s")
		if left, found := strings.CutPrefix(a.header.Get("Cache-Control"), "max-age="); found {
			e.TTL, _ = time.ParseDuration(left + "s")
		}
		return e, true, nil
	case http.StatusNotFound:
		e.NotFound = true
		return e, true, nil
	case http.StatusGatewayTimeout:
		return Entry[V]{}, false, nil
	}
	return Entry[V]{}, false, a.unexpected(p)
}

// tellPlain is tell without a link. There is no Expire: it deletes.
func (c *Cache[V]) tellPlain(ctx context.Context, p *link.Peer, f *wire.Frame) (owner string, err error) {
	method, header := http.MethodDelete, http.Header{}
	if f.Type == wire.Put {
		method = http.MethodPut
	}
	if f.HasVersion {
		header.Set(VersionHeader, strconv.FormatUint(f.Version, 10))
	}
	if f.Flags&wire.HasTTL != 0 {
		header.Set(ttlHeader, strconv.FormatInt(int64(f.TTL), 10))
	}
	a, err := c.askPlain(ctx, p, method, f.Key, header, f.Value)
	switch {
	case err != nil:
		return "", err
	case a.status == http.StatusMisdirectedRequest:
		return a.header.Get(ownerHeader), nil
	case a.status != http.StatusNoContent:
		return "", a.unexpected(p)
	}
	return "", nil
}

func (a *plainAnswer) unexpected(p *link.Peer) error {
	return &PeerError{Peer: p.Name(), Err: fmt.Errorf("status %d: %.200s", a.status, bytes.TrimSpace(a.body))}
}

// servePeer answers a request of a peer for a key that this process does not own, and reports whether it was one. Of a write it drops what
// it has.
func (c *Cache[V]) servePeer(w http.ResponseWriter, r *http.Request, key string) (done bool) {
	h := w.Header()
	h.Set(PeerHeader, url.QueryEscape(c.group.opt.Name))
	h.Set(codecHeader, c.codec)
	owner := c.group.Owner(key)
	if owner == c.group.opt.Name {
		return false
	}
	if r.Method != http.MethodGet {
		if recall := c.yield(key, c.store.hash(key)); recall != nil {
			if err := recall(r.Context()); err != nil {
				writeError(w, r, fmt.Errorf("%w: %w", ErrUnconfirmed, err))
				return true
			}
		}
	}
	h.Set(ownerHeader, owner)
	http.Error(w, "covey: the key is owned by "+owner, http.StatusMisdirectedRequest)
	return true
}

// writeError answers with an error; to a peer with its code.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	if f := failed(err); r.Header.Get(PeerHeader) != "" && f.Type == wire.Failed && !errors.Is(err, errBadRequest) && !errors.Is(err, errNotCached) {
		w.Header().Set(errorHeader, strconv.FormatUint(uint64(f.Code), 10))
	}
	http.Error(w, err.Error(), statusOf(err))
}
