// Package docs has the code that is on the pages of this folder and in README: it is compiled here
// and, as far as it can be, run. TestPages sees that it is the same.
package docs

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/dashboard"
)

// A User is what the examples cache.
type User struct {
	ID, Name string
}

var loadedUsers atomic.Int64

func loadUser(_ context.Context, id string) (User, error) {
	loadedUsers.Add(1)
	return User{ID: id, Name: "user " + id}, nil
}

// The addresses in these are those of nobody, so they are compiled only.
var _, _, _, _ = readmeGroup, readmeReplicas, kubernetes, operate

func readmeGroup(ctx context.Context, mux *http.ServeMux, secret []byte) error {
	group, err := covey.NewGroup(covey.GroupOptions{
		Self:      "http://10.0.0.7:8080", // the URL at which the others reach this process
		Discovery: covey.DNSPeers("http://covey.default.svc.cluster.local:8080"),
		Secrets:   [][]byte{secret}, // 16 bytes or more; not needed if all peers are on one machine
	})
	if err != nil {
		return err
	}
	mux.Handle(group.Path(), group) // in the web server that you have

	users, err := covey.New("users", covey.Options[User]{TTL: 10 * time.Minute, Group: group})
	if err != nil {
		return err
	}
	u, err := users.Get(ctx, "42", loadUser)
	fmt.Println(u, err)
	return group.Shutdown(ctx)
}

func readmeReplicas(group *covey.Group) (*covey.Cache[User], error) {
	users, err := covey.New("users", covey.Options[User]{
		Group:    group,
		Replicas: 2,                 // each value is with its owner and with one more process, in another zone
		ReadFrom: covey.ReadFromAny, // ask whoever has it in the own zone
		Snapshot: covey.Snapshot{Path: "/data/users.snapshot"},
		Loader:   loadUser,
	})
	return users, err
}

func kubernetes(secret []byte) (*covey.Group, error) {
	self := url.URL{Scheme: "http", Host: net.JoinHostPort(os.Getenv("POD_IP"), "8080")}
	group, err := covey.NewGroup(covey.GroupOptions{
		Self:      self.String(),
		Discovery: covey.DNSPeers("http://shop-covey.default.svc.cluster.local:8080"),
		Secrets:   [][]byte{secret},
	})
	return group, err
}

func operate(mux *http.ServeMux, group *covey.Group, users *covey.Cache[User]) error {
	board, err := dashboard.New(dashboard.Options{Group: group, Caches: []dashboard.Cache{users}})
	if err != nil {
		return err
	}
	mux.Handle("/covey/", board)
	return nil
}
