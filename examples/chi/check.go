package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coveycache/covey"
)

// check starts two processes in this one, which become a group of two through the router, and asks
// both of them.
func check(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var listeners []net.Listener
	var urls []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		listeners, urls = append(listeners, l), append(urls, "http://"+l.Addr().String())
	}
	complete := make(chan struct{}, 1)
	changed := func(e covey.Event) {
		if e.Kind == covey.EventViewChanged && e.Members == len(urls) {
			select {
			case complete <- struct{}{}:
			default:
			}
		}
	}
	var all []*process
	for i, l := range listeners {
		p, err := start(l, covey.GroupOptions{
			Self: urls[i], Discovery: covey.StaticPeers(urls...), Secrets: [][]byte{[]byte("a secret of at least 16 bytes")}, Events: covey.GroupEvents{Changed: changed},
		}, "the operator's")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.stop()) }()
		all = append(all, p)
	}
	select {
	case <-complete:
	case <-ctx.Done():
		return fmt.Errorf("no group of two: %w", context.Cause(ctx))
	}
	for _, p := range all {
		if err := p.group.Ready(ctx); err != nil {
			return err
		}
	}
	for i := range 20 {
		for _, p := range all {
			if err := ask(ctx, p.url+fmt.Sprint("/users/", i), "", http.StatusOK, "gzip"); err != nil {
				return err
			}
		}
	}
	if err := ask(ctx, all[0].url+"/covey/", "", http.StatusUnauthorized, ""); err != nil {
		return err
	}
	if err := ask(ctx, all[0].url+"/covey/", "the operator's", http.StatusOK, "gzip"); err != nil {
		return err
	}
	var loads, links int64
	for _, p := range all {
		loads += p.users.Stats().Loads
		for _, peer := range p.group.Peers() {
			if peer.State == covey.PeerIsUp && peer.Plain == nil {
				links++
			}
		}
	}
	if loads != 20 || links != 2 {
		return fmt.Errorf("%d loads of 20 users, %d links of 2", loads, links)
	}
	fmt.Println("20 users were asked for at both of two processes and loaded once; the dashboard asks for the password")
	return nil
}

// ask sends a request with a password and says if the answer is not as expected.
func ask(ctx context.Context, url, password string, status int, encoding string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept-Encoding", "gzip")
	if password != "" {
		r.SetBasicAuth("operator", password)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	if got.StatusCode != status || !strings.Contains(got.Header.Get("Content-Encoding"), encoding) {
		return fmt.Errorf("GET %s: status %d, Content-Encoding %q; want %d, %q", url, got.StatusCode, got.Header.Get("Content-Encoding"), status, encoding)
	}
	return nil
}
