package main

// scale_child.go is a process of the suite scale: a member of a group, many bare members, or all of a
// group in one process.

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey"
)

// scaleChild as the first argument makes the program such a process; the next ones are its kind and
// perhaps a number.
const scaleChild = "scale-child"

// A scaleState is what a process of the suite says about itself.
type scaleState struct {
	Members int // of the view, if it has settled and the process acts
	Epoch   uint64
	Links   int
	RSS     float64 // bytes
	Owners  []string
	Figures []measured
}

// A scaleProcess does what the commands say.
type scaleProcess interface {
	do(c command) (reply, error)
}

func scaleChildMain(args []string, in io.Reader, out io.Writer) error {
	var p scaleProcess
	var first reply
	switch args[0] {
	case "agreement", "groups":
		return measureInChild(args[0], args[1], json.NewEncoder(out))
	case "member":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		m := &wholeMember{listener: l, self: "http://" + l.Addr().String() + covey.DefaultPath}
		p, first.URL = m, m.self
	case "bare":
		p = &bareMembers{}
	}
	return obey(in, out, first, func(c command) (reply, error) {
		r, err := p.do(c)
		r.CPU = processCPU()
		return r, err
	})
}

// measureInChild measures a group of so many that are all in this process, and ends it.
func measureInChild(kind, number string, enc *json.Encoder) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	var r reply
	say := func(metric, who, unit string, value float64) {
		r.Figures = append(r.Figures, measured{metric, who, unit, value})
	}
	if kind == "groups" {
		inBubble(func() {
			if err := measureCrowd(n, say); err != nil {
				fatal(err)
			}
			if err := enc.Encode(r); err != nil {
				fatal(err)
			}
			os.Exit(0) // else all groups would have to end first
		})
	}
	if err := measureAgreement(n, say); err != nil {
		return err
	}
	return enc.Encode(r)
}

// A wholeMember is a process with a group and a cache.
type wholeMember struct {
	listener net.Listener
	self     string
	group    *covey.Group
	cache    *covey.Cache[string]
	mu       sync.Mutex
	loads    map[string]float64
}

func (m *wholeMember) do(c command) (r reply, err error) {
	switch c.Op {
	case "join":
		quiet := slog.New(slog.DiscardHandler)
		m.loads = make(map[string]float64)
		m.group, err = covey.NewGroup(covey.GroupOptions{Self: m.self, Discovery: covey.StaticPeers(c.Peers...), Secrets: [][]byte{crowdSecret}, Listener: m.listener, Logger: quiet})
		if err != nil {
			return r, err
		}
		m.cache, err = covey.New("scale", covey.Options[string]{MaxBytes: 16 << 20, Group: m.group, Loader: m.load, Logger: quiet})
	case "leave":
		err = m.group.Shutdown(context.Background())
	case "cpu": // each reply has it
	case "state":
		r.RSS = rss()
		if m.group != nil {
			s := m.group.Stats()
			r.Epoch, r.Links = s.Epoch, s.Links
			if s.Acting && s.Settled {
				r.Members = s.Members
			}
		}
	case "owners":
		for _, key := range c.Keys {
			r.Owners = append(r.Owners, m.group.Owner(key))
		}
	case "get": // each key at some time within the next c.Load.For
		var wg sync.WaitGroup
		var errs atomic.Int64
		for _, key := range c.Keys {
			wg.Go(func() {
				time.Sleep(time.Duration(rand.Int64N(int64(c.Load.For + 1))))
				if _, err := m.cache.Get(context.Background(), key, nil); err != nil {
					errs.Add(1)
					progress("scale: get: %v", err)
				}
			})
		}
		wg.Wait()
		r.Errors = errs.Load()
	case "loads": // since the last time
		m.mu.Lock()
		r.Rates, m.loads = m.loads, make(map[string]float64)
		m.mu.Unlock()
	default:
		err = errors.New("what is " + c.Op + "?")
	}
	return r, err
}

func (m *wholeMember) load(_ context.Context, key string) (string, error) {
	time.Sleep(10 * time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads[key]++
	return "value", nil
}

// bareMembers are many members in one process.
type bareMembers struct {
	all  []*bareMember
	last uint64
}

func (b *bareMembers) do(c command) (r reply, err error) {
	switch c.Op {
	case "join": // c.Count more, within c.Load.For
		for range c.Count {
			b.last++
			m, err := newBareMember(b.last, c.Peers)
			if err != nil {
				return r, err
			}
			b.all = append(b.all, m)
			r.URL = m.id.Name
			time.Sleep(c.Load.For / time.Duration(c.Count))
		}
	case "leave", "crash": // the youngest
		for range c.Count {
			m := b.all[len(b.all)-1]
			b.all = b.all[:len(b.all)-1]
			if c.Op == "leave" {
				m.leave()
			} else {
				go m.stop()
			}
		}
	case "cpu": // each reply has it
	case "state":
		for i, m := range b.all {
			n, epoch := m.members()
			if i == 0 {
				r.Members, r.Epoch = n, epoch
			} else if n != r.Members || epoch != r.Epoch {
				r.Members = 0
				break
			}
		}
	default:
		err = errors.New("what is " + c.Op + "?")
	}
	return r, err
}

// rss returns how much memory the process has, where the system tells.
func rss() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(kb)[0], 64)
			return n * 1024
		}
	}
	return 0
}
