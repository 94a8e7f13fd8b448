// Package dashboard serves a web page that shows what Covey's caches do, in this process and in all
// others of its group: requests by where they were answered, loads, memory, the members and their
// shares of the keys, hot keys, loads in progress, what has happened lately, and where a key is and
// why.
//
//	board, err := dashboard.New(dashboard.Options{Group: group, Caches: []dashboard.Cache{users}})
//	mux.Handle("/covey/", board)
//
// The page needs nothing from outside. While somebody looks at it, this process asks the members for
// their reports; otherwise nobody is asked for anything.
package dashboard

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/coveycache/covey"
)

// A Cache is a *covey.Cache[V] of any V, or what [WithValues] makes of one.
type Cache interface {
	Name() string
	Stats() covey.Stats
	InFlight() []covey.Flight
	Recent() []covey.Event
	Explain(ctx context.Context, key string) (covey.Explanation, error)
	Delete(ctx context.Context, key string, opts ...covey.DeleteOption) error
	Expire(ctx context.Context, key string) error
	Clear(ctx context.Context) error
}

// Options are for [New].
type Options struct {
	// Group is the group whose members are shown. Default: none, only Caches.
	Group *covey.Group
	// Caches are those of this process whose keys can be explained and, with Actions, written. What
	// they do is shown without that, too, if they are in the Group. Two of one name are an error.
	Caches []Cache
	// Actions lets who sees the page delete and expire keys, and clear caches. Default: they can't.
	Actions bool
	// Guarded says that something in front of the handler decides who may see the page. Default:
	// requests are answered that come from this machine, without a proxy, and ask for a loopback host;
	// others get status 403. A proxy on this machine is known by the headers that it adds, or by
	// HTTP/1.0. One that does neither, and asks for a loopback host, shows the page to everybody whom
	// it lets in.
	Guarded bool
}

// A Dashboard is a handler of HTTP requests for the page and what it needs. Its methods are safe for
// concurrent use.
type Dashboard struct {
	opt    Options
	caches map[string]Cache
	watch  watch
}

// New returns a dashboard, to be mounted at a path that ends in a slash, with or without
// http.StripPrefix. It holds no resources. The error names the option that can't be used.
func New(o Options) (*Dashboard, error) {
	if o.Group == nil && len(o.Caches) == 0 {
		return nil, errors.New("dashboard: Options has neither a Group nor Caches: there is nothing to be shown")
	}
	d := &Dashboard{opt: o, caches: make(map[string]Cache)}
	for i, c := range o.Caches {
		if c == nil {
			return nil, fmt.Errorf("dashboard: Options.Caches[%d] is nil", i)
		}
		if d.caches[c.Name()] != nil {
			return nil, fmt.Errorf("dashboard: Options.Caches has two caches %q", c.Name())
		}
		d.caches[c.Name()] = c
	}
	d.watch.ask = d.reports
	return d, nil
}

//go:embed assets
var assets embed.FS

// files are what is served as it is, by the last part of the path.
var files = map[string]struct{ name, mime string }{
	"":          {"index.html", "text/html; charset=utf-8"},
	"app.js":    {"app.js", "text/javascript; charset=utf-8"},
	"chart.js":  {"chart.js", "text/javascript; charset=utf-8"},
	"style.css": {"style.css", "text/css; charset=utf-8"},
}

// ServeHTTP serves the page and, beside it, data.json (all that the page shows), explain.json (of
// ?cache=NAME&key=KEY) and, with Options.Actions, do (POST ?action=delete|expire|clear&cache=NAME&
// key=KEY, from this page only).
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if why := notLocal(r); !d.opt.Guarded && why != "" {
		http.Error(w, "covey: the dashboard answers this machine only, unless Options.Guarded says that something in front of it decides who may see it: "+why, http.StatusForbidden)
		return
	}
	_, name := path.Split(r.URL.Path)
	file, isFile := files[name]
	switch {
	case r.URL.Path == "": // of http.StripPrefix, without the slash at the end
		at, _, _ := strings.Cut(r.RequestURI, "?")
		h.Set("Location", path.Base(at)+"/") // which http.Redirect would take as relative to the stripped path
		w.WriteHeader(http.StatusMovedPermanently)
	case name == "do":
		d.serveAction(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "covey: method not allowed: it must be GET or HEAD", http.StatusMethodNotAllowed)
	case name == "data.json":
		answer(w, d.page(r.Context()))
	case name == "explain.json":
		d.serveExplain(w, r)
	case isFile:
		h.Set("Content-Type", file.mime)
		http.ServeFileFS(w, r, assets, "assets/"+file.name)
	default:
		http.NotFound(w, r)
	}
}

func answer(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

// notLocal says why a request may be the will of another machine; "" if it can't. A page of a
// stranger that a browser on this machine shows has its own host, although that may resolve to this
// machine by now (DNS rebinding).
func notLocal(r *http.Request) string {
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-") {
			return "the request has the header " + name
		}
	}
	if !r.ProtoAtLeast(1, 1) { // as nginx does by default, and adds no header
		return "it is of HTTP/1.0, which proxies speak and browsers don't"
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "its address is unknown"
	}
	if !isLoopback(host) {
		return "it comes from " + host
	}
	if asked := (&url.URL{Host: r.Host}).Hostname(); !isLoopback(asked) {
		return fmt.Sprintf("it asks for the host %q", asked)
	}
	return ""
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Var returns what this process says about itself, for [expvar.Publish].
func (d *Dashboard) Var() expvar.Var {
	return expvar.Func(func() any { return d.own() })
}

// own returns what this process says about itself.
func (d *Dashboard) own() covey.Report {
	if d.opt.Group != nil {
		return d.opt.Group.Report()
	}
	r := covey.Report{At: time.Now()}
	for _, c := range d.opt.Caches {
		r.Caches = append(r.Caches, covey.CacheReport{Name: c.Name(), Stats: c.Stats(), InFlight: c.InFlight()})
		r.Recent = append(r.Recent, c.Recent()...)
	}
	return r
}

// reports returns what all members say about themselves.
func (d *Dashboard) reports(ctx context.Context) []covey.Report {
	if d.opt.Group == nil {
		return []covey.Report{d.own()}
	}
	return d.opt.Group.Reports(ctx)
}
