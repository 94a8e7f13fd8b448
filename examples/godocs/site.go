package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/dashboard"
)

//go:embed *.html
var files embed.FS

var templates = template.Must(template.ParseFS(files, "*.html"))

// A page is a rendered package; it is what the cache holds.
type page struct {
	HTML   []byte
	Took   time.Duration // to render
	Loaded time.Time
}

// A site serves an index, a page for each package and the dashboard of the caches.
type site struct {
	http.Handler
	lib   *library
	group *covey.Group
	pages *covey.Cache[page]
}

func newSite(group *covey.Group) (*site, error) {
	lib, err := findLibrary()
	if err != nil {
		return nil, err
	}
	s := &site{lib: lib, group: group}
	s.pages, err = covey.New("pages", covey.Options[page]{
		MaxBytes: 32 << 20,
		TTL:      10 * time.Minute,
		Loader:   s.render,
		Group:    group,
	})
	if err != nil {
		return nil, err
	}
	board, err := dashboard.New(dashboard.Options{Group: group, Caches: []dashboard.Cache{s.pages}, Actions: true})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.serveIndex)
	mux.HandleFunc("GET /pkg/{path...}", s.servePackage)
	mux.Handle("/cache/", board)
	mux.HandleFunc("GET /ready", s.serveReady)
	mux.HandleFunc("GET /loads", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, s.pages.Stats().Loads) })
	mux.Handle(group.Path(), group)
	s.Handler = mux
	return s, nil
}

func (s *site) Close() error { return s.pages.Close() }

// render is the loader: it takes tens of milliseconds for a big package.
func (s *site) render(_ context.Context, path string) (page, error) {
	start := time.Now()
	doc, err := s.lib.document(path)
	if err != nil {
		return page{}, err
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, "package.html", doc); err != nil {
		return page{}, err
	}
	return page{HTML: b.Bytes(), Took: time.Since(start), Loaded: time.Now()}, nil
}

func (s *site) servePackage(w http.ResponseWriter, r *http.Request) {
	path := r.PathValue("path")
	start := time.Now()
	p, err := s.pages.Get(r.Context(), path, nil)
	switch {
	case errors.Is(err, covey.ErrNotFound), errors.Is(err, covey.ErrInvalidKey):
		http.Error(w, "There is no package "+path+" in the standard library.", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(p.HTML)
		s.showOrigin(w, r, path, time.Since(start))
	}
}

// showOrigin ends a page with where it came from.
func (s *site) showOrigin(w http.ResponseWriter, r *http.Request, path string, took time.Duration) {
	owner := s.group.Owner(path)
	if owner == s.group.Name() {
		owner += " (this process)"
	}
	from := "nowhere any more"
	if e, ok, _ := s.pages.Lookup(r.Context(), path); ok {
		switch {
		case e.Age <= took+e.Value.Took:
			from = "the Go sources, just now"
		case e.Source == covey.SourceMain:
			from = "this process's own store"
		case e.Source == covey.SourceL1:
			from = "a local copy, lent by the owner"
		default:
			from = "the owner's store"
		}
	}
	_ = templates.ExecuteTemplate(w, "origin", map[string]any{"Owner": owner, "From": from, "Took": took.Round(time.Microsecond)})
}

func (s *site) serveIndex(w http.ResponseWriter, r *http.Request) {
	query := strings.TrimSpace(r.FormValue("q"))
	var found []string
	for _, p := range s.lib.packages {
		if strings.Contains(p, query) {
			found = append(found, p)
		}
	}
	s.show(w, "index.html", map[string]any{"Query": query, "Packages": found, "Version": s.lib.version})
}

// serveReady answers once this process takes its full part in the group, with the number of members.
// Members that are seen are not enough: until they know of this process, it stores nothing.
func (s *site) serveReady(w http.ResponseWriter, r *http.Request) {
	members := s.group.Stats().Members
	if err := s.group.Ready(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, members)
}

func (s *site) show(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}
