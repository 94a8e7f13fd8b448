package dashboard

// keys.go explains single keys, and writes them.

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/coveycache/covey"
)

// WithValues returns a cache whose values the page shows: of the key that is explained, what show
// makes of its value, the first 4,096 bytes. show is called with each request; that it panics is shown
// instead. nil shows strings as they are, []byte as %q does, and other values as JSON. Of a cache
// that is not given so no value is shown.
func WithValues[V any](c *covey.Cache[V], show func(V) string) Cache { return withValues[V]{c, show} }

type withValues[V any] struct {
	*covey.Cache[V]
	show func(V) string
}

// maxShown bounds what is shown of a value, in bytes.
const maxShown = 4096

func (c withValues[V]) value(ctx context.Context, key string) (text string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the value can't be shown: panic: %v", p)
		}
	}()
	e, ok, err := c.Lookup(ctx, key)
	if !ok || err != nil || e.NotFound {
		return "", err
	}
	if c.show != nil {
		text = c.show(e.Value)
		return text[:min(len(text), maxShown)], nil
	}
	switch v := any(e.Value).(type) {
	case string:
		return v[:min(len(v), maxShown)], nil
	case []byte:
		return fmt.Sprintf("%q", v[:min(len(v), maxShown)]), nil
	default: // fmt would not end with a value that contains itself, JSON does
		b, err := json.MarshalIndent(v, "", "  ")
		return string(b[:min(len(b), maxShown)]), err
	}
}

// An explanation is what explain.json has.
type explanation struct {
	covey.Explanation
	HasValue bool // the page may show it
	Value    string
	ValueErr string `json:",omitempty"`
}

// cacheOf returns the cache that a request names. If there is none it has answered with an error.
func (d *Dashboard) cacheOf(w http.ResponseWriter, r *http.Request) Cache {
	name := r.FormValue("cache")
	c := d.caches[name]
	if c == nil {
		http.Error(w, fmt.Sprintf("covey: cache %q is not in the dashboard's Options.Caches", name), http.StatusNotFound)
	}
	return c
}

func (d *Dashboard) serveExplain(w http.ResponseWriter, r *http.Request) {
	c := d.cacheOf(w, r)
	if c == nil {
		return
	}
	key := r.FormValue("key")
	e, err := c.Explain(r.Context(), key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	x := explanation{Explanation: e}
	if c, ok := c.(interface {
		value(context.Context, string) (string, error)
	}); ok {
		x.HasValue = true
		if x.Value, err = c.value(r.Context(), key); err != nil {
			x.ValueErr = err.Error()
		}
	}
	answer(w, x)
}

// sameOrigin refuses what another site's page makes a browser do.
var sameOrigin = http.NewCrossOriginProtection()

// maxForm bounds the body of an action: a key has 64 KiB at most.
const maxForm = 1 << 18

func (d *Dashboard) serveAction(w http.ResponseWriter, r *http.Request) {
	switch {
	case !d.opt.Actions:
		http.Error(w, "covey: the dashboard is read-only: Options.Actions is false", http.StatusForbidden)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		http.Error(w, "covey: method not allowed: it must be POST", http.StatusMethodNotAllowed)
		return
	}
	if err := sameOrigin.Check(r); err != nil {
		http.Error(w, "covey: "+err.Error(), http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	c := d.cacheOf(w, r)
	if c == nil {
		return
	}
	var err error
	switch key, action := r.FormValue("key"), r.FormValue("action"); action {
	case "delete":
		err = c.Delete(r.Context(), key)
	case "expire":
		err = c.Expire(r.Context(), key)
	case "clear":
		err = c.Clear(r.Context())
	default:
		http.Error(w, fmt.Sprintf("covey: action %q is none of delete, expire and clear", action), http.StatusBadRequest)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
