package docs

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	"github.com/coveycache/covey"
)

// newThumbnails makes a group of the peers and a cache of thumbnails in it.
func newThumbnails(options covey.GroupOptions, load covey.Loader[[]byte]) (*covey.Group, *covey.Cache[[]byte], error) {
	group, err := covey.NewGroup(options) // was groupcache.NewHTTPPoolOpts
	if err != nil {
		return nil, nil, err
	}
	thumbnails, err := covey.New("thumbnails", covey.Options[[]byte]{ // was groupcache.NewGroup
		MaxBytes: 64 << 20,
		Loader:   load,
		Group:    group,
	})
	if err != nil {
		return nil, nil, errors.Join(err, group.Shutdown(context.Background()))
	}
	return group, thumbnails, nil
}

// A peerList is a Discovery that is told who there is, as groupcache's HTTPPool was.
type peerList chan []string

func newPeerList() peerList { return make(peerList, 1) }

// Set takes the URLs of all peers. It is for one goroutine.
func (p peerList) Set(urls ...string) {
	select {
	case <-p: // of a list that has not been taken yet
	default:
	}
	p <- urls
}

// Watch passes the lists on to the group.
func (p peerList) Watch(ctx context.Context, update func([]covey.Member)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case urls := <-p:
			members := make([]covey.Member, len(urls))
			for i, u := range urls {
				members[i].URL = u
			}
			update(members)
		}
	}
}

func TestFromGroupcache(t *testing.T) {
	var listeners []net.Listener
	var urls []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		urls = append(urls, "http://"+l.Addr().String())
	}
	var loads atomic.Int32
	var groups []*covey.Group
	var caches []*covey.Cache[[]byte]
	for i, l := range listeners {
		peers := newPeerList()
		peers.Set(urls[i])
		peers.Set(urls...)
		group, thumbnails, err := newThumbnails(covey.GroupOptions{Self: urls[i], Discovery: peers, Listener: l, Logger: slog.New(slog.DiscardHandler)},
			func(_ context.Context, key string) ([]byte, error) {
				loads.Add(1)
				return []byte("small " + key), nil
			})
		if err != nil {
			t.Fatal(err)
		}
		defer group.Shutdown(context.Background())
		groups, caches = append(groups, group), append(caches, thumbnails)
	}
	for _, g := range groups {
		if err := g.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range caches {
		if b, err := c.Get(t.Context(), "big-file.jpg", nil); err != nil || string(b) != "small big-file.jpg" {
			t.Errorf("%q, %v", b, err)
		}
	}
	if loads.Load() != 1 {
		t.Errorf("loaded %d times", loads.Load())
	}
}
