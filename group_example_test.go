package covey_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/coveycache/covey"
)

// Two peers, which are two processes elsewhere, share a cache.
func ExampleNewGroup() {
	var listeners []net.Listener
	var urls []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Println(err)
			return
		}
		listeners = append(listeners, l)
		urls = append(urls, "http://"+l.Addr().String())
	}

	ctx := context.Background()
	var groups []*covey.Group
	var caches []*covey.Cache[string]
	for i, l := range listeners {
		group, err := covey.NewGroup(covey.GroupOptions{Self: urls[i], Discovery: covey.StaticPeers(urls...), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer group.Shutdown(ctx)
		mux := http.NewServeMux() // of the server that the process has anyway
		mux.Handle(group.Path(), group)
		server := &http.Server{Handler: mux}
		go server.Serve(l)
		defer server.Close()

		users, err := covey.New("users", covey.Options[string]{Group: group})
		if err != nil {
			fmt.Println(err)
			return
		}
		groups, caches = append(groups, group), append(caches, users)
	}

	for _, group := range groups {
		_ = group.Ready(ctx) // until then each loads for itself
	}
	for i, users := range caches {
		name, err := users.Get(ctx, "42", func(context.Context, string) (string, error) {
			fmt.Println("loaded by peer", i)
			return "Ada", nil
		})
		fmt.Println(name, err)
	}
	// Output:
	// loaded by peer 0
	// Ada <nil>
	// Ada <nil>
}

// Two processes in two zones keep each value twice: one that crashes, or is shut down, takes nothing
// along.
func ExampleOptions_replicas() {
	var listeners []net.Listener
	var members []covey.Member
	for i := range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Println(err)
			return
		}
		listeners = append(listeners, l)
		members = append(members, covey.Member{URL: "http://" + l.Addr().String(), Zone: fmt.Sprint("zone", i)})
	}

	ctx := context.Background()
	var groups []*covey.Group
	var caches []*covey.Cache[string]
	for i, l := range listeners {
		group, err := covey.NewGroup(covey.GroupOptions{
			Self: members[i].URL, Discovery: covey.StaticMembers(members...), Listener: l, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer group.Shutdown(ctx)
		users, err := covey.New("users", covey.Options[string]{
			Group:    group,
			Replicas: 2,                 // the owner and one more, in another zone
			ReadFrom: covey.ReadFromAny, // the one in the own zone, if it has the value
			TTL:      10 * time.Minute,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		groups, caches = append(groups, group), append(caches, users)
	}
	for _, group := range groups {
		_ = group.Ready(ctx)
	}

	fmt.Println(caches[0].Put(ctx, "42", "Ada", covey.WithReplicated()))
	_ = groups[0].Shutdown(ctx)
	fmt.Println(caches[1].Get(ctx, "42", func(context.Context, string) (string, error) {
		return "", fmt.Errorf("nothing has to be loaded")
	}))
	// Output:
	// <nil>
	// Ada <nil>
}
