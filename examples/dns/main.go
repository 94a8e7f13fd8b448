// Dns has a group whose members come from DNS, as those of a Kubernetes headless service do: each
// process listens at an address of its own, 127.0.0.2 and so on, and a name server on this machine
// says which there are. Two processes begin, a third comes, and one of the first leaves.
//
// It needs a machine that answers at all addresses of 127.0.0.0/8, as Linux does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/coveycache/covey"
)

func main() {
	flag.Bool("selftest", false, "do what it does anyway")
	flag.Parse()
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, fmt.Println); err != nil {
		log.Fatal(err)
	}
}

const host = "covey.test"

func run(ctx context.Context, say func(...any) (int, error)) (err error) {
	names, err := startNames()
	if err != nil {
		return err
	}
	defer names.stop()
	net.DefaultResolver = names.resolver() // in your program it is the one of the machine

	port, err := freePort()
	if err != nil {
		return err
	}
	var all []*process
	defer func() {
		for _, p := range all {
			err = errors.Join(err, p.stop())
		}
	}()
	begin := func(addr string) error {
		p, err := start(addr, port)
		if err == nil {
			all = append(all, p)
		}
		return err
	}

	names.set("127.0.0.2", "127.0.0.3")
	for _, addr := range []string{"127.0.0.2", "127.0.0.3"} {
		if err := begin(addr); err != nil {
			return err
		}
	}
	if err := all[0].await(ctx, 2); err != nil {
		return err
	}
	_, _ = say("two processes have found each other")

	names.set("127.0.0.2", "127.0.0.3", "127.0.0.4")
	if err := begin("127.0.0.4"); err != nil {
		return err
	}
	if err := all[0].await(ctx, 3); err != nil {
		return err
	}
	_, _ = say("a third one has come")

	names.set("127.0.0.2", "127.0.0.4")
	leaver := all[1]
	all = append(all[:1], all[2])
	if err := leaver.stop(); err != nil {
		return err
	}
	if err := all[0].await(ctx, 2); err != nil {
		return err
	}
	_, _ = say("one has left")
	return nil
}

// A process is a member of the group.
type process struct {
	group   *covey.Group
	server  *http.Server
	members chan int // with each change of the view
}

func start(addr, port string) (*process, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(addr, port))
	if err != nil {
		return nil, err
	}
	p := &process{members: make(chan int, 100)}
	p.group, err = covey.NewGroup(covey.GroupOptions{
		Self:      "http://" + net.JoinHostPort(addr, port),
		Discovery: covey.DNSPeers("http://" + net.JoinHostPort(host, port)),
		Secrets:   [][]byte{[]byte("a secret of at least 16 bytes")},
		Logger:    slog.New(slog.DiscardHandler),
		Events: covey.GroupEvents{Changed: func(e covey.Event) {
			if e.Kind == covey.EventViewChanged {
				p.members <- e.Members
			}
		}},
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	p.server = &http.Server{Handler: p.group, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = p.server.Serve(l) }()
	return p, nil
}

// await waits until the group has so many members.
func (p *process) await(ctx context.Context, n int) error {
	for {
		select {
		case members := <-p.members:
			if members == n {
				return p.group.Ready(ctx)
			}
		case <-ctx.Done():
			return fmt.Errorf("the group has %d members, not %d: %w", p.group.Stats().Members, n, context.Cause(ctx))
		}
	}
}

func (p *process) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(p.group.Shutdown(ctx), p.server.Close())
}

// freePort returns a port that is free.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
