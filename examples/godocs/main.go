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
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(drain)
		_ = group.Shutdown(drain)
	}()
	fmt.Printf("peer http://%s/ has process id %d\n", addr, os.Getpid())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
