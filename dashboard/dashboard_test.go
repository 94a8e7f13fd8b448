package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coveycache/covey"
)

func newCache(t *testing.T, name string) *covey.Cache[string] {
	c, err := covey.New(name, covey.Options[string]{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask sends a request from this machine, changed by f.
func ask(d http.Handler, method, target string, f func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr, r.Host = "127.0.0.1:1234", "localhost:8080"
	if f != nil {
		f(r)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

func TestMistakes(t *testing.T) {
	_, err := New(Options{})
	require.ErrorContains(t, err, "neither a Group nor Caches")
	_, err = New(Options{Caches: []Cache{nil}})
	require.ErrorContains(t, err, "Caches[0] is nil")
	c := newCache(t, "users")
	_, err = New(Options{Caches: []Cache{c, WithValues(c, nil)}})
	require.ErrorContains(t, err, `two caches "users"`)
}

// Nobody but this machine is answered, unless somebody else guards the page.
func TestGuard(t *testing.T) {
	c := newCache(t, "users")
	d, err := New(Options{Caches: []Cache{c}})
	require.NoError(t, err)
	guarded, err := New(Options{Caches: []Cache{c}, Guarded: true})
	require.NoError(t, err)
	for name, f := range map[string]func(*http.Request){
		"another machine": func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1234" },
		"no address":      func(r *http.Request) { r.RemoteAddr = "@" },
		"rebinding":       func(r *http.Request) { r.Host = "evil.example:8080" },
		"a proxy":         func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") },
		"HTTP/1.0":        func(r *http.Request) { r.ProtoMinor = 0 },
		"Forwarded":       func(r *http.Request) { r.Header.Set("Forwarded", "for=192.0.2.1") },
	} {
		for _, target := range []string{"/covey/", "/covey/data.json", "/covey/explain.json?cache=users&key=k", "/covey/app.js"} {
			require.Equal(t, http.StatusForbidden, ask(d, "GET", target, f).Code, "%s: %s", name, target)
			require.Equal(t, http.StatusOK, ask(guarded, "GET", target, f).Code, "%s: %s", name, target)
		}
	}
	for _, f := range []func(*http.Request){nil, func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:1", "[::1]:8080" }, func(r *http.Request) { r.Host = "127.0.0.1" }} {
		got := ask(d, "GET", "/covey/", f)
		require.Equal(t, http.StatusOK, got.Code)
		require.Contains(t, got.Header().Get("Content-Security-Policy"), "default-src 'none'")
	}
}

// The page works wherever it is mounted, and names nothing that is not beside it.
func TestMounts(t *testing.T) {
	d, err := New(Options{Caches: []Cache{newCache(t, "users")}})
	require.NoError(t, err)
	stripped := http.StripPrefix("/debug/covey", d)
	for _, h := range []http.Handler{d, stripped} {
		for path, mime := range map[string]string{"": "text/html", "app.js": "text/javascript", "chart.js": "text/javascript", "style.css": "text/css", "data.json": "application/json"} {
			got := ask(h, "GET", "/debug/covey/"+path, nil)
			require.Equal(t, http.StatusOK, got.Code, path)
			require.Contains(t, got.Header().Get("Content-Type"), mime)
			body := strings.ReplaceAll(got.Body.String(), `"http://www.w3.org/2000/svg"`, "") // the name of SVG, which nobody asks for
			require.NotContains(t, body, `"http`, path)
			require.NotContains(t, body, "innerHTML", path)
		}
		require.Equal(t, http.StatusNotFound, ask(h, "GET", "/debug/covey/other.js", nil).Code)
		require.Equal(t, http.StatusMethodNotAllowed, ask(h, "POST", "/debug/covey/data.json", nil).Code)
	}
	got := ask(stripped, "GET", "/debug/covey", nil)
	require.Equal(t, http.StatusMovedPermanently, got.Code)
	at, err := (&url.URL{Path: "/debug/covey"}).Parse(got.Header().Get("Location"))
	require.NoError(t, err)
	require.Equal(t, "/debug/covey/", at.Path)
}

// Values are shown of caches for which that was asked, and of no others.
func TestValues(t *testing.T) {
	open, hidden := newCache(t, "open"), newCache(t, "hidden")
	d, err := New(Options{Caches: []Cache{WithValues(open, nil), hidden}})
	require.NoError(t, err)
	long := strings.Repeat("long", maxShown)
	for _, c := range []*covey.Cache[string]{open, hidden} {
		require.NoError(t, c.Put(t.Context(), "k&<", "secret"))
		require.NoError(t, c.Put(t.Context(), "long", long))
		require.NoError(t, c.PutNotFound(t.Context(), "none"))
	}
	explain := func(cache, key string) (x explanation) {
		got := ask(d, "GET", "/covey/explain.json?"+url.Values{"cache": {cache}, "key": {key}}.Encode(), nil)
		require.Equal(t, http.StatusOK, got.Code, got.Body)
		if cache == "hidden" {
			require.NotContains(t, got.Body.String(), "secret")
		}
		require.NoError(t, json.Unmarshal(got.Body.Bytes(), &x))
		require.Equal(t, key, x.Key)
		return x
	}
	require.Equal(t, "secret", explain("open", "k&<").Value)
	require.Equal(t, long[:maxShown], explain("open", "long").Value)
	none := explain("open", "none")
	require.True(t, none.HasValue && none.States[0].NotFound)
	require.Empty(t, none.Value+none.ValueErr)
	require.False(t, explain("hidden", "k&<").HasValue)
	require.Equal(t, covey.SourceMain, explain("hidden", "k&<").States[0].Source)
	require.Equal(t, http.StatusNotFound, ask(d, "GET", "/covey/explain.json?cache=other&key=k", nil).Code)
	require.Equal(t, http.StatusBadRequest, ask(d, "GET", "/covey/explain.json?cache=open&key=", nil).Code)
}

// Whatever a value is, and whatever a user's function does with it, there is an answer.
func TestValuesOfAnyKind(t *testing.T) {
	self := map[string]any{"name": "<b>"}
	self["self"] = self
	type point struct{ X, Y int }
	for _, one := range []struct {
		name  string
		value any
		show  func(any) string
		want  string
	}{
		{"struct", point{1, 2}, nil, "\"X\": 1"},
		{"bytes", []byte{0, 255}, nil, `"\x00\xff"`},
		{"of itself", self, nil, "cycle"},
		{"no JSON", func() {}, nil, "unsupported type"},
		{"shown", point{1, 2}, func(v any) string { return fmt.Sprint("at ", v) }, "at {1 2}"},
		{"panic", point{1, 2}, func(any) string { panic("no") }, "panic: no"},
	} {
		t.Run(one.name, func(t *testing.T) {
			c, err := covey.New("any", covey.Options[any]{Logger: slog.New(slog.DiscardHandler), Size: func(string, any) int { return 1 }})
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.Put(t.Context(), "k", one.value))
			d, err := New(Options{Caches: []Cache{WithValues(c, one.show)}})
			require.NoError(t, err)
			got := ask(d, "GET", "/covey/explain.json?cache=any&key=k", nil)
			require.Equal(t, http.StatusOK, got.Code)
			var x explanation
			require.NoError(t, json.Unmarshal(got.Body.Bytes(), &x))
			require.Contains(t, x.Value+x.ValueErr, one.want)
		})
	}
}

// Keys are written if that was asked for, by the page itself and by nobody else's.
func TestActions(t *testing.T) {
	c := newCache(t, "users")
	readOnly, err := New(Options{Caches: []Cache{c}})
	require.NoError(t, err)
	d, err := New(Options{Caches: []Cache{c}, Actions: true})
	require.NoError(t, err)
	has := func() bool { return c.Contains("k") }
	do := func(d http.Handler, action string, f func(*http.Request)) int {
		return ask(d, "POST", "/covey/do?cache=users&key=k&action="+action, f).Code
	}
	put := func() { require.NoError(t, c.Put(t.Context(), "k", "v", covey.WithTTL(time.Hour))) }
	put()
	require.Equal(t, http.StatusForbidden, do(readOnly, "delete", nil))
	require.Equal(t, http.StatusForbidden, do(d, "delete", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }))
	require.Equal(t, http.StatusForbidden, do(d, "delete", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }))
	require.Equal(t, http.StatusForbidden, do(d, "delete", func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }))
	require.Equal(t, http.StatusMethodNotAllowed, ask(d, "GET", "/covey/do?cache=users&key=k&action=delete", nil).Code)
	require.Equal(t, http.StatusBadRequest, do(d, "drop", nil))
	require.Equal(t, http.StatusNotFound, ask(d, "POST", "/covey/do?cache=other&key=k&action=delete", nil).Code)
	require.True(t, has())
	for _, action := range []string{"delete", "expire", "clear"} {
		put()
		require.Equal(t, http.StatusNoContent, do(d, action, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }), action)
		_, ok, err := c.Lookup(t.Context(), "k")
		require.NoError(t, err)
		require.False(t, ok, action)
	}
	require.NoError(t, c.Close())
	require.Equal(t, http.StatusBadGateway, do(d, "delete", nil))
}

// Errors are shown as far as other members' are, whatever they are.
func TestErrorsThatAreLong(t *testing.T) {
	c, err := covey.New("users", covey.Options[string]{Logger: slog.New(slog.DiscardHandler), Loader: func(context.Context, string) (string, error) {
		return "", errors.New(strings.Repeat("x", 1<<20))
	}})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Get(t.Context(), "k", nil)
	require.Error(t, err)
	d, err := New(Options{Caches: []Cache{c}})
	require.NoError(t, err)
	got := ask(d, "GET", "/covey/data.json", nil)
	require.Equal(t, http.StatusOK, got.Code)
	require.Contains(t, got.Body.String(), "xxx")
	require.Less(t, got.Body.Len(), 2*maxText)
}

func stats(hits, loads int64) covey.Stats { return covey.Stats{Hits: hits, Loads: loads} }

func report(name string, s covey.Stats) covey.Report {
	return covey.Report{Member: name, Caches: []covey.CacheReport{{Name: "users", Stats: s}}}
}

// Members are asked while somebody looks, at most every 2 s, and the rates are right whoever restarts
// or is silent for a while.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []covey.Report
		asked := 0
		w := watch{ask: func(context.Context) []covey.Report { asked++; return said }}
		look := func(reports ...covey.Report) history {
			said = reports
			at, _, samples := w.look(t.Context())
			return historyOf(at, samples, []cacheRow{{Name: "users"}})
		}
		h := look(report("a", stats(1000, 10)), report("b", stats(500, 0)))
		require.Empty(t, h.At, "what was before is in no rate")
		time.Sleep(every - time.Millisecond)
		look()
		require.Equal(t, 1, asked)
		time.Sleep(time.Millisecond)
		h = look(report("a", stats(1100, 12)), report("b", stats(520, 0)), report("c", stats(1e6, 1e6)))
		require.Equal(t, 2, asked)
		require.Equal(t, []float64{60}, h.Caches["users"].Hits)
		require.Equal(t, []float64{1}, h.Caches["users"].Loads)
		time.Sleep(every)
		h = look(report("a", stats(10, 2)), covey.Report{Member: "b", Err: errors.New("silent")}, report("c", stats(1e6, 1e6)))
		require.Equal(t, []float64{60, 5}, h.Caches["users"].Hits, "a has restarted")
		time.Sleep(every)
		h = look(report("a", stats(10, 2)), report("b", stats(540, 0)), report("c", stats(1e6, 1e6)))
		require.Equal(t, []float64{60, 5, 10}, h.Caches["users"].Hits, "what b did meanwhile counts when it is heard again")
		require.Equal(t, []float64{4, 2, 0}, h.At)
		time.Sleep(2 * time.Minute)
		h = look(report("a", stats(1e6, 2)))
		require.Equal(t, []float64{124, 122, 120}, h.At, "nobody has looked")
		time.Sleep(remembered)
		require.Empty(t, look(report("a", stats(1e6, 2))).At)
	})
}

// Of 1,000 members who sees the page learns what matters, and they are asked twice a minute.
func TestManyMembers(t *testing.T) {
	var peers []covey.Peer
	var reports []covey.Report
	for i := range 1000 {
		name := fmt.Sprintf("%04d", i)
		p := covey.Peer{State: covey.PeerIsUp, Share: 0.001}
		p.Name, p.Zone = name, fmt.Sprint("zone", i%3)
		r := report(name, covey.Stats{})
		r.Group.Acting, r.Group.Epoch = true, 7
		switch i {
		case 500:
			r.Group.Epoch = 6
		case 600:
			p.State = covey.PeerIsDown
		case 700:
			r = covey.Report{Member: name, Err: errors.New("no answer")}
		case 800:
			r.Caches[0].Stats.Breaker = covey.BreakerOpen
		case 900:
			r.Group.Acting = false
		}
		peers, reports = append(peers, p), append(reports, r)
	}
	all := members(peers, reports, 7)
	var first []string
	for _, m := range all[:5] {
		require.NotEmpty(t, m.Troubles)
		first = append(first, m.Name)
	}
	require.Equal(t, []string{"0600", "0900", "0700", "0500", "0800"}, first)
	require.Empty(t, all[5].Troubles)
	require.Equal(t, "zone0", all[5].Zone)
	require.Equal(t, 30*time.Second, interval(1000))
	require.Equal(t, every, interval(60))
}

// What several processes have counted of a key is one line.
func TestHotKeysAreAddedUp(t *testing.T) {
	got := addedUp([]covey.HotKey{{Cache: "a", Key: "k", Rate: 1}, {Cache: "b", Key: "k", Rate: 5}, {Cache: "a", Key: "k", Rate: 6, TooLarge: true}})
	require.Equal(t, []covey.HotKey{{Cache: "a", Key: "k", Rate: 7, TooLarge: true}, {Cache: "b", Key: "k", Rate: 5}}, got)
}

// The same data is there for expvar.
func TestVar(t *testing.T) {
	c := newCache(t, "users")
	require.NoError(t, c.Put(t.Context(), "k", "v"))
	d, err := New(Options{Caches: []Cache{c}})
	require.NoError(t, err)
	var r covey.Report
	require.NoError(t, json.Unmarshal([]byte(d.Var().String()), &r))
	require.EqualValues(t, 1, r.Caches[0].Stats.Puts)
}
