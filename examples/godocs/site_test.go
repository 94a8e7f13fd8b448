package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coveycache/covey"
)

func TestSite(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	self := "http://" + server.Listener.Addr().String()
	group, err := covey.NewGroup(covey.GroupOptions{Self: self, Discovery: covey.StaticPeers(self)})
	if err != nil {
		t.Fatal(err)
	}
	defer group.Shutdown(t.Context())
	site, err := newSite(group)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = site
	server.Start()
	defer server.Close()
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/", 200, `href="/pkg/encoding/json"`},
		{"/?q=tabwriter", 200, `href="/pkg/text/tabwriter"`},
		{"/pkg/strings", 200, `id="Builder.WriteString"`},
		{"/pkg/strings", 200, "func Cut(s, sep string)"},
		{"/pkg/strings", 200, "own store"},
		{"/pkg/no/such/package", 404, "no package"},
		{"/pkg/../../etc", 404, ""},
		{"/pkg/", 404, "no package"},
		{"/cache/", 200, "Explain a key"},
	} {
		resp, err := http.Get(server.URL + c.path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(string(b), c.want) {
			t.Errorf("GET %s: got %s and %d bytes; want %d and %q", c.path, resp.Status, len(b), c.status, c.want)
		}
	}
	if s := site.pages.Stats(); s.Hits < 2 {
		t.Errorf("got %d hits; want 2 or more", s.Hits)
	}
}
