package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestSite(t *testing.T) {
	site, err := newSite()
	if err != nil {
		t.Fatal(err)
	}
	defer site.Close()
	server := httptest.NewServer(site)
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
		{"/pkg/no/such/package", 404, "no package"},
		{"/pkg/../../etc", 404, ""},
		{"/pkg/", 404, "no package"},
		{"/cache", 200, "rendering saved"},
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
	if s := site.pages.Stats(); s.Hits != 1 {
		t.Errorf("got %d hits; want 1", s.Hits)
	}
}

func TestSelftest(t *testing.T) {
	if err := run("", true); err != nil {
		t.Fatal(err)
	}
}
