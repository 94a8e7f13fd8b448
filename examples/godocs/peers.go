package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A process is a peer that this process has started.
type process struct {
	url string
	cmd *exec.Cmd
}

// serveAll starts n peers and waits until it is told to stop.
func serveAll(ctx context.Context, addr string, n int) error {
	peers, err := start(ctx, addr, n)
	if err != nil {
		return err
	}
	fmt.Printf("The standard library's documentation is at %s\nWhat the caches do is at %scache/\n", peers[0].url, peers[0].url)
	for _, p := range peers {
		_ = p.cmd.Wait()
	}
	return nil
}

// start starts n peers and waits until they are a group.
func start(ctx context.Context, addr string, n int) ([]*process, error) {
	addrs, err := addresses(addr, n)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	urls := make([]string, n)
	for i, a := range addrs {
		urls[i] = "http://" + a
	}
	var peers []*process
	for _, a := range addrs {
		cmd := exec.CommandContext(ctx, self, "-addr", a, "-peers", strings.Join(urls, ","))
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 10 * time.Second
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		first, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("the peer at %s has ended: %w", a, cmd.Wait())
		}
		fmt.Print(first)
		peers = append(peers, &process{url: "http://" + a + "/", cmd: cmd})
	}
	for _, p := range peers {
		if err := p.ready(ctx, n); err != nil {
			return nil, err
		}
	}
	return peers, nil
}

// addresses returns n addresses to listen on, from addr upwards, or free ones where those are
// taken.
func addresses(addr string, n int) (addrs []string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	from, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	for i := range n {
		next := 0
		if from != 0 {
			next = from + i
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(next)))
		if err != nil {
			log.Printf("%v: using a free port instead", err)
			if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
				return nil, err
			}
		}
		defer l.Close() // when all are chosen
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// ready waits until the peer takes its full part in a group of n members.
func (p *process) ready(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		members, err := p.number(ctx, "ready")
		if err == nil && members == n {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s is not in a group of %d: it answers %d, %w", p.url, n, members, errors.Join(err, ctx.Err()))
		}
	}
}

// patience is how long to wait for what takes milliseconds, unless the machine is very busy.
const patience = 2 * time.Minute

// number asks the peer for a page that is a number.
func (p *process) number(ctx context.Context, page string) (int, error) {
	body, err := get(ctx, p.url+page)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(body))
}

func get(ctx context.Context, url string) (string, error) { return request(ctx, http.MethodGet, url) }

func request(ctx context.Context, method, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, b)
	}
	return string(b), err
}

// check is what CI runs: real processes, real requests, one real kill.
func check(ctx context.Context, n int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	peers, err := start(ctx, "127.0.0.1:0", n)
	if err != nil {
		return err
	}
	defer func() {
		stop()
		for _, p := range peers {
			_ = p.cmd.Wait()
		}
	}()
	packages := []string{"bufio", "errors", "html", "io", "path", "slices", "sort", "strings"} // small ones
	if err := askAll(ctx, peers, packages); err != nil || n < 2 {
		return err
	}
	return killOne(ctx, peers, packages)
}

// askAll asks every peer for every package and sees each rendered once. That is promised as long as
// the group is whole. A peer that gets no processor for a lease, 2 s, loses its links, and others
// render for it. So a machine that is too busy gets several tries, each with empty caches, and may
// fail them all: only a count that is wrong though a try took much less than a lease is an error.
func askAll(ctx context.Context, peers []*process, packages []string) error {
	const tries, quick = 5, time.Second
	for try := 1; ; try++ {
		before, err := rendered(ctx, peers)
		if err != nil {
			return err
		}
		start := time.Now()
		for _, name := range packages {
			for _, p := range peers {
				if _, err := get(ctx, p.url+"pkg/"+name); err != nil {
					return err
				}
			}
		}
		took := time.Since(start)
		after, err := rendered(ctx, peers)
		if err != nil {
			return err
		}
		fmt.Printf("%d pages asked of each of %d peers in %v: %d rendered\n", len(packages), len(peers), took.Round(time.Millisecond), after-before)
		switch {
		case after-before == len(packages):
			return nil
		case try == tries && took < quick:
			return fmt.Errorf("%d pages were rendered %d times", len(packages), after-before)
		case try == tries:
			fmt.Println("this machine is too busy to tell whether each page is rendered once")
			return nil
		}
		if err := emptyCaches(ctx, peers); err != nil {
			return err
		}
	}
}

// rendered returns how many pages the peers have rendered.
func rendered(ctx context.Context, peers []*process) (sum int, err error) {
	for _, p := range peers {
		loads, err := p.number(ctx, "loads")
		if err != nil {
			return 0, err
		}
		sum += loads
	}
	return sum, nil
}

// emptyCaches clears the peers' caches as soon as the peers are a group again, and confirm it.
func emptyCaches(ctx context.Context, peers []*process) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		for _, p := range peers {
			if err := p.ready(ctx, len(peers)); err != nil {
				return err
			}
		}
		if _, err := request(ctx, http.MethodPost, peers[0].url+"cache/do?action=clear&cache=pages"); err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// killOne kills the last peer while clients ask the others, and counts what they lose. It waits for
// requests, not for so many seconds: on a busy machine there may be none in a second.
func killOne(ctx context.Context, peers []*process, packages []string) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	last := len(peers) - 1
	done := make(chan struct{})
	failed := make(chan error, 1) // the first
	var asked, failures atomic.Int64
	var wg sync.WaitGroup
	for client := range 8 {
		wg.Go(func() {
			for i := client; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				_, err := get(ctx, peers[i%last].url+"pkg/"+packages[i/last%len(packages)])
				asked.Add(1)
				if err != nil {
					failures.Add(1)
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	// The clients ask before the kill, until the others have noticed it, and afterwards.
	const enough = 200
	err := waitUntil(ctx, func() bool { return asked.Load() >= enough })
	err = errors.Join(err, peers[last].cmd.Process.Kill())
	for _, p := range peers[:last] {
		err = errors.Join(err, p.ready(ctx, last))
	}
	noticed := asked.Load()
	err = errors.Join(err, waitUntil(ctx, func() bool { return asked.Load() >= noticed+enough }))
	close(done)
	wg.Wait()
	fmt.Printf("one peer killed during %d requests to the others: %d failed\n", asked.Load(), failures.Load())
	if failures.Load() > 0 {
		err = errors.Join(err, <-failed)
	}
	return err
}

func waitUntil(ctx context.Context, cond func() bool) error {
	for !cond() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
