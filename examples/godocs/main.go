// Godocs serves the documentation of the standard library's packages, rendered
// from the Go sources on this machine and cached by Covey.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on; if it is taken, a free port is used")
	selftest := flag.Bool("selftest", false, "fetch some pages, check what the cache did, and exit")
	flag.Parse()
	log.SetFlags(0)
	if err := run(*addr, *selftest); err != nil {
		log.Fatal(err)
	}
}

func run(addr string, selftest bool) error {
	site, err := newSite()
	if err != nil {
		return err
	}
	defer site.Close()
	if selftest {
		return check(site)
	}

	l, err := net.Listen("tcp", addr)
	if err != nil {
		log.Printf("%v: using a free port instead", err)
		host, _, _ := net.SplitHostPort(addr)
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	server := &http.Server{Handler: site, ReadHeaderTimeout: 5 * time.Second}
	fmt.Printf("The standard library's documentation is at http://%s/\nWhat the cache does is at http://%s/cache\n", l.Addr(), l.Addr())
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(drain)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// check is what CI runs: real requests over a real socket.
func check(site *site) error {
	server := httptest.NewServer(site)
	defer server.Close()
	for _, page := range []struct {
		path   string
		status int
	}{{"/", 200}, {"/pkg/net/http", 200}, {"/pkg/net/http", 200}, {"/pkg/strings", 200}, {"/pkg/no/such", 404}, {"/pkg/no/such", 404}, {"/cache", 200}} {
		start := time.Now()
		resp, err := http.Get(server.URL + page.path)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != page.status {
			return fmt.Errorf("GET %s: got %s, %v; want %d", page.path, resp.Status, err, page.status)
		}
		fmt.Printf("GET %-14s %d %7d bytes %v\n", page.path, resp.StatusCode, n, time.Since(start).Round(10*time.Microsecond))
	}
	s := site.pages.Stats()
	if s.Loads != 3 || s.Hits != 1 || s.NegativeHits != 1 {
		return fmt.Errorf("got %d loads, %d hits and %d negative hits; want 3, 1 and 1", s.Loads, s.Hits, s.NegativeHits)
	}
	return nil
}
