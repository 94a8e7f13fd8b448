// Godocs serves the documentation of the standard library's packages, rendered
// from the Go sources on this machine and cached by Covey. It runs as three
// processes that share their caches:
//
//	go run ./examples/godocs
//
// To run one peer by itself, name all of them:
//
//	go run ./examples/godocs -addr 127.0.0.1:8080 -peers http://127.0.0.1:8080,http://127.0.0.1:8081
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coveycache/covey"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address of the first peer; the others get the next ports, or free ones")
	n := flag.Int("n", 3, "number of peers to start")
	peers := flag.String("peers", "", "run one peer only, of the group with these comma-separated `URLs`; the one at -addr is this one")
	selftest := flag.Bool("selftest", false, "start the peers, fetch pages, kill one of them meanwhile, check what the caches did, and exit")
	flag.Parse()
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *peers != "":
		err = servePeer(ctx, *addr, strings.Split(*peers, ","))
	case *selftest:
		err = check(ctx, *n)
	default:
		err = serveAll(ctx, *addr, *n)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// servePeer is one process of the group.
func servePeer(ctx context.Context, addr string, urls []string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	group, err := covey.NewGroup(covey.GroupOptions{Self: "http://" + addr, Discovery: covey.StaticPeers(urls...)})
	if err != nil {
		return err
	}
	site, err := newSite(group)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: site, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	fmt.Printf("peer http://%s/ has process id %d\n", addr, os.Getpid())
	select {
	case err = <-served: // it has failed
	case <-ctx.Done():
	}
	// One after the other: requests still need the cache, and however long they take, the group has
	// its time to hand over.
	return errors.Join(err, within(3*time.Second, server.Shutdown), within(5*time.Second, group.Shutdown))
}

// within calls f with a deadline of its own.
func within(d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f(ctx)
}
