package covey

// group_http.go is what a group serves over HTTP: links to other peers, and single keys for curl
// and programs in other languages.

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PeerHeader marks an HTTP request for a key (see [Group.ServeHTTP]) as one that must not be passed
// on to another peer: if this process does not own the key, the answer is status 421. Any value
// will do.
const PeerHeader = "Covey-Peer"

// onlyIfCached is the Cache-Control of a GET that must not load; a miss is answered with status 504
// (RFC 9111, section 5.2.1.7).
const onlyIfCached = "only-if-cached"

// VersionHeader is the header of a PUT with the version of its value (see [WithVersion]), or of a
// DELETE with that of the deletion (see [DeletedAt]), in decimal. The answer to a GET has the
// version as its ETag.
const VersionHeader = "Covey-Version"

// ServeHTTP serves, below [Group.Path], the links of other peers (v1/link), the requests of peers
// that cannot have links (v1/ops), and single keys (v1/caches/NAME?key=KEY) for programs that are
// not part of the group. Any member answers for any key:
//
//	GET     returns the value as the cache's Codec encodes it, with Age, Cache-Control and, if it
//	        has a version, ETag; 404 if there is none. A missing value is loaded if the cache has an Options.Loader; with
//	        Cache-Control: only-if-cached it is not, and the status is 504
//	PUT     stores the body; Cache-Control: max-age=SECONDS is its TTL, Covey-Version its version
//	DELETE  removes the key; Covey-Version is the version of the deletion
//
// PUT and DELETE are answered with 204. For operators, and the command covey, there is as JSON, with
// keys and without values:
//
//	GET v1/peers                       what [Group.Peers] returns
//	GET v1/reports                     what [Group.Reports] returns; with ?of=self [Group.Report] alone, in a list of one
//	GET v1/explain?cache=NAME&key=KEY  what [Cache.Explain] returns
//
// Errors are plain text: 400 for a request with mistakes, 409 for ErrOutdated, 413 for ErrTooLarge,
// 502 for ErrUnconfirmed, 503 for ErrOverloaded and ErrClosed, 504 for timeouts, 500 for what else
// goes wrong. The text says only that: what a loader, a Codec or another peer has said, and every
// panic, goes to GroupOptions.Logger. Reports and explanations withhold such texts, too.
//
// All of that needs "Authorization: Bearer SECRET" with one of GroupOptions.Secrets or, if there are
// none, a verified client certificate. If the group has neither, there are links and nothing else,
// and those are accepted from this machine only, to a Host that is localhost or a loopback address,
// and not through proxies.
func (g *Group) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.hasten(w, r)
	_, path, found := strings.Cut("/"+strings.TrimPrefix(r.URL.Path, g.path), "/v1/") // a handler in front may have stripped a prefix
	if !found {
		http.Error(w, "covey: the group is mounted at "+g.path, http.StatusNotFound)
		return
	}
	if !g.opt.authenticated() {
		if why := notLocal(r); why != "" {
			http.Error(w, "covey: a group without GroupOptions.Secrets or client certificates answers this machine only: "+why, http.StatusForbidden)
			return
		}
	}
	name, isKey := strings.CutPrefix(path, "caches/")
	switch forOperators := isForOperators(path); {
	case path == "link":
		if len(g.opt.Secrets) == 0 && g.opt.authenticated() && !verified(r) {
			http.Error(w, "covey: a verified client certificate is needed, as the group has no GroupOptions.Secrets", http.StatusUnauthorized)
			return
		}
		g.node.ServeHTTP(w, r)
	case path != "ops" && !isKey && !forOperators:
		http.NotFound(w, r)
	case !g.admits(w, r, path != "ops"):
	case forOperators:
		g.serveOperator(w, r, path)
	case isKey:
		g.serveKey(w, r, name)
	case r.Header.Get(PeerHeader) == "":
		http.Error(w, "covey: the header "+PeerHeader+" is missing: v1/ops is for peers, keys are at v1/caches/NAME?key=KEY", http.StatusBadRequest)
	default:
		g.node.ServeOps(w, r)
	}
}

// hasten gives whoever asks OpTimeout to send the rest of the request and to take the answer. That
// ends once it is known who it is.
func (g *Group) hasten(w http.ResponseWriter, r *http.Request) {
	control, at := http.NewResponseController(w), time.Now().Add(g.opt.OpTimeout)
	_ = control.SetWriteDeadline(at)
	if r.ContentLength != 0 { // otherwise the server reads already, to see whether the client has left
		_ = control.SetReadDeadline(at)
	}
}

// notLocal says why a request may be the will of another machine; "" if it cannot. What a web page
// of a stranger makes a browser on this machine ask has the page's host, although that resolves to
// this machine now (DNS rebinding).
func notLocal(r *http.Request) string {
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-") {
			return "the request has the header " + name
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "its address is unknown"
	}
	if !isLoopbackHost(host) {
		return "it comes from " + host
	}
	if asked := (&url.URL{Host: r.Host}).Hostname(); !isLoopbackHost(asked) {
		return fmt.Sprintf("it asks for the host %q", asked)
	}
	return ""
}

func verified(r *http.Request) bool { return r.TLS != nil && len(r.TLS.VerifiedChains) > 0 }

// authorized reports whether a request carries a secret or, if the group has none, a verified
// certificate.
func (g *Group) authorized(r *http.Request) bool {
	if len(g.opt.Secrets) == 0 {
		return verified(r)
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	match := 0
	for _, s := range g.opt.Secrets {
		match |= subtle.ConstantTimeCompare([]byte(given), s)
	}
	return ok && match == 1
}

// admits reports whether a request that is not for a link may be answered. If not, it has answered
// with an error. Where there are secrets, it asks for one unless the request is a peer's: peers prove
// to the node that they know one.
func (g *Group) admits(w http.ResponseWriter, r *http.Request, bySecret bool) bool {
	if !g.opt.authenticated() {
		http.Error(w, "covey: nothing but links is served without GroupOptions.Secrets or client certificates", http.StatusForbidden)
		return false
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		http.Error(w, "covey: "+err.Error(), http.StatusForbidden)
		return false
	}
	if (bySecret || len(g.opt.Secrets) == 0) && !g.authorized(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "covey: not authorized: it takes Authorization: Bearer SECRET, with one of GroupOptions.Secrets, or a verified client certificate", http.StatusUnauthorized)
		return false
	}
	return true
}

// cacheFor returns a cache of this process. If there is none, it has answered with an error.
func (g *Group) cacheFor(w http.ResponseWriter, name string) shared {
	c := (*g.caches.Load())[name]
	if c == nil || c.isStandIn() {
		http.Error(w, fmt.Sprintf("covey: there is no cache %q", name), http.StatusNotFound)
		return nil
	}
	return c
}

// keyFor returns the key that a request is for. If there is none, it has answered with an error.
func keyFor(w http.ResponseWriter, r *http.Request) (key string, ok bool) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["key"]) != 1 {
		http.Error(w, "covey: the query must have one key: ?key=KEY, with escapes such as %26 for &", http.StatusBadRequest)
		return "", false
	}
	key = query.Get("key")
	if err := checkKey(key); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return "", false
	}
	return key, true
}

func (g *Group) serveKey(w http.ResponseWriter, r *http.Request, name string) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // there may be a load to wait for
	c := g.cacheFor(w, name)
	if c == nil {
		return
	}
	key, ok := keyFor(w, r)
	if !ok {
		return
	}
	if owner := g.Owner(key); r.Header.Get(PeerHeader) != "" && owner != g.opt.Name {
		http.Error(w, "covey: the key is owned by "+owner, http.StatusMisdirectedRequest)
		return
	}
	var err error
	ctx := r.Context()
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		var e plainEntry
		if e, err = c.plainGet(ctx, key, !slices.Contains(directives(r), onlyIfCached)); err == nil {
			e.head(w.Header())
			g.node.WriteBody(w, e.body)
			return
		}
	case http.MethodPut:
		body := g.node.ReadBody(w, r, defaultMaxValueBytes)
		if body == nil {
			return
		}
		defer body.Release()
		err = putBody(ctx, c, key, body.Bytes, r)
	case http.MethodDelete:
		var o []DeleteOption
		if n, hasVersion, bad := versionOf(r); bad != nil {
			err = bad
		} else {
			if hasVersion {
				o = append(o, DeleteOption{version: n, hasVersion: true})
			}
			err = c.delete(ctx, key, o...)
		}
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT, DELETE")
		http.Error(w, "covey: method not allowed: it must be GET, HEAD, PUT or DELETE", http.StatusMethodNotAllowed)
		return
	}
	if err != nil {
		g.refuse(w, name, key, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func putBody(ctx context.Context, c shared, key string, body []byte, r *http.Request) error {
	var opts []PutOption
	for _, directive := range directives(r) {
		if seconds, ok := strings.CutPrefix(directive, "max-age="); ok {
			n, err := strconv.ParseUint(seconds, 10, 63)
			if limit := uint64(maxTTL / time.Second); err != nil || n > limit {
				return badRequest("Cache-Control: max-age=%q is not a number of seconds from 0 to %d", seconds, limit)
			}
			opts = append(opts, WithTTL(time.Duration(n)*time.Second))
		}
	}
	n, hasVersion, err := versionOf(r)
	if err != nil {
		return err
	}
	if hasVersion {
		opts = append(opts, WithVersion(n))
	}
	return c.plainPut(ctx, key, body, opts...)
}

// directives returns what a request's Cache-Control says, in lower case.
func directives(r *http.Request) []string {
	all := strings.Split(strings.ToLower(strings.Join(r.Header.Values("Cache-Control"), ",")), ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// versionOf returns the version in a request's header.
func versionOf(r *http.Request) (n uint64, ok bool, err error) {
	v := r.Header.Get(VersionHeader)
	if v == "" {
		return 0, false, nil
	}
	if n, err = strconv.ParseUint(v, 10, 64); err != nil {
		return 0, false, badRequest("%s: %q is not a number", VersionHeader, v)
	}
	return n, true, nil
}

// A plainEntry is an entry whose value is encoded.
type plainEntry struct {
	body    []byte
	version uint64
	age     time.Duration
	ttl     time.Duration
}

func (e *plainEntry) head(h http.Header) {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff") // a browser with a client certificate may be led here
	h.Set("Content-Length", strconv.Itoa(len(e.body)))
	h.Set("Age", strconv.FormatInt(int64(e.age/time.Second), 10))
	if e.ttl != 0 {
		h.Set("Cache-Control", fmt.Sprintf("max-age=%d", max(0, e.ttl/time.Second)))
	}
	if e.version != 0 {
		h.Set("ETag", fmt.Sprintf(`"%d"`, e.version))
	}
}
