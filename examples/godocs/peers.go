package main

import (
	"bufio"
	"context"
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
	fmt.Printf("The standard library's documentation is at %s\nWhat the caches do is at %scache\n", peers[0].url, peers[0].url)
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

// ready waits until the peer sees n members.
func (p *process) ready(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if body, err := get(ctx, p.url+"members"); err == nil && strings.TrimSpace(body) == strconv.Itoa(n) {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s has not found the other peers: %w", p.url, ctx.Err())
		}
	}
}

func get(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, b)
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
	packages := []string{"net/http", "strings", "go/ast", "time", "encoding/json", "os", "fmt", "sort"}
	for _, name := range packages {
		for _, p := range peers {
			if _, err := get(ctx, p.url+"pkg/"+name); err != nil {
				return err
			}
		}
	}
	rendered := 0
	for _, p := range peers {
		body, err := get(ctx, p.url+"loads")
		if err != nil {
			return err
		}
		loads, err := strconv.Atoi(strings.TrimSpace(body))
		if err != nil {
			return err
		}
		rendered += loads
	}
	fmt.Printf("%d pages asked of each of %d peers: %d rendered\n", len(packages), len(peers), rendered)
	if rendered != len(packages) {
		return fmt.Errorf("%d pages were rendered %d times", len(packages), rendered)
	}
	if n < 2 {
		return nil
	}
	return killOne(ctx, peers, packages)
}

// killOne kills the last peer while clients ask the others, and counts what they lose.
func killOne(ctx context.Context, peers []*process, packages []string) error {
	last := len(peers) - 1
	var wg sync.WaitGroup
	var mu sync.Mutex
	asked := 0
	var failed []error
	done := make(chan struct{})
	for client := range 8 {
		wg.Go(func() {
			for i := client; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				_, err := get(ctx, peers[i%last].url+"pkg/"+packages[i/last%len(packages)])
				mu.Lock()
				asked++
				if err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	if err := peers[last].cmd.Process.Kill(); err != nil {
		return err
	}
	time.Sleep(time.Second)
	close(done)
	wg.Wait()
	fmt.Printf("one peer killed during %d requests to the others: %d failed\n", asked, len(failed))
	if len(failed) > 0 {
		return failed[0]
	}
	return nil
}
