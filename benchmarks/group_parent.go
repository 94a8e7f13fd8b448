package main

// group_parent.go starts the processes of the suite group and speaks with them.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A child is a process under this one's command.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	enc *json.Encoder
	dec *json.Decoder
	url string
	pid int // of a server that is no child of this kind; it takes no commands
}

// withPeers starts the processes of a system, whose Zipf load has so many keys, runs f, and ends them.
func withPeers(s groupSystem, zipf int, f func([]*child) error) (err error) {
	dir, err := os.MkdirTemp("", "covey-group-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var peers []*child
	defer func() {
		for _, p := range peers {
			p.stop()
		}
	}()
	n, args := groupPeers, []string{groupChild, s.name}
	var server *child
	if s.server != "" {
		n = 1
		if server, err = startServer(s.server, dir); err != nil {
			return err
		}
		defer server.stop()
		args = append(args, server.url)
	}
	var urls []string
	for range n {
		p, err := startChild(args)
		if err != nil {
			return err
		}
		peers = append(peers, p)
		urls = append(urls, p.url)
	}
	for _, p := range peers {
		if _, err := p.call(command{Op: "join", Peers: urls, File: filepath.Join(dir, "versions"), Count: zipf}); err != nil {
			return err
		}
	}
	if _, err := callAll(peers, command{Op: "await"}); err != nil {
		return err
	}
	if server != nil {
		peers[0].pid = server.cmd.Process.Pid
	}
	return f(peers)
}

func startChild(args []string) (*child, error) {
	c, _, err := startChildOf(args)
	return c, err
}

// startChildOf also returns what the process says first.
func startChildOf(args []string) (c *child, first reply, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, first, err
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, first, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, first, err
	}
	if err := cmd.Start(); err != nil {
		return nil, first, err
	}
	c = &child{cmd: cmd, in: in, enc: json.NewEncoder(in), dec: json.NewDecoder(out)}
	if err := c.dec.Decode(&first); err != nil {
		c.stop()
		return nil, first, fmt.Errorf("a process has not started: %w", err)
	}
	c.url = first.URL
	return c, first, nil
}

// startServer starts a server on a port of its own, without persistence.
func startServer(program, dir string) (*child, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_ = l.Close()
	return startServerAt(program, dir, l.Addr().String())
}

func startServerAt(program, dir, addr string) (*child, error) {
	_, port, _ := net.SplitHostPort(addr)
	args := []string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", dir}
	if program == "memcached" {
		args = []string{"-l", "127.0.0.1", "-p", port, "-m", "512", "-I", "32m", "-u", "nobody", "-t", "2"}
	}
	cmd := exec.Command(program, args...)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, url: addr}
	for range 200 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return c, nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	c.stop()
	return nil, fmt.Errorf("%s does not listen on %s", program, addr)
}

func (c *child) stop() {
	if c.in != nil {
		_ = c.in.Close()
	}
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func (c *child) call(cmd command) (r reply, err error) {
	if err := c.enc.Encode(cmd); err != nil {
		return r, err
	}
	if err := c.dec.Decode(&r); err != nil {
		return r, err
	}
	if r.Err != "" {
		return r, errors.New(r.Err)
	}
	return r, nil
}

// callAll gives all of them the command at once.
func callAll(children []*child, cmd command) ([]reply, error) {
	return callAllWith(children, func(c *child) (reply, error) { return c.call(cmd) })
}

// callAllWith calls all of them at once.
func callAllWith(children []*child, call func(*child) (reply, error)) ([]reply, error) {
	replies, errs := make([]reply, len(children)), make([]error, len(children))
	var wg sync.WaitGroup
	for i, c := range children {
		wg.Go(func() { replies[i], errs[i] = call(c) })
	}
	wg.Wait()
	return replies, errors.Join(errs...)
}

// cpuOf returns the CPU seconds that all processes have used.
func cpuOf(children []*child) (seconds float64, err error) {
	for _, c := range children {
		r, err := c.call(command{Op: "cpu"})
		if err != nil {
			return 0, err
		}
		seconds += r.CPU
		if c.pid != 0 {
			s, err := cpuOfPID(c.pid)
			if err != nil {
				return 0, err
			}
			seconds += s
		}
	}
	return seconds, nil
}

// cpuOfPID reads another process's CPU seconds from /proc, in hundredths.
func cpuOfPID(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(b), ") ") // the name may hold anything
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100, errors.Join(err1, err2)
}

func servedBy(children []*child) (n int64, err error) {
	for _, c := range children {
		r, err := c.call(command{Op: "served"})
		if err != nil {
			return 0, err
		}
		n += r.Served
	}
	return n, nil
}
