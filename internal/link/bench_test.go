package link_test

// bench_test.go measures a link between two processes on the loopback
// interface: the test binary runs itself as the other one.

import (
	"bufio"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

const serverEnv = "COVEY_LINK_BENCH_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		benchServer()
		return
	}
	os.Exit(m.Run())
}

// benchServer answers Gets until its standard input ends, and says then how
// much CPU time it has used.
func benchServer() {
	small, big := make([]byte, 100), make([]byte, 16<<20)
	n, err := link.NewNode(link.Config{Name: "server", Instance: 1, Serve: func(r *link.Request) {
		switch r.Type {
		case wire.Put:
			op := r.Keep(nil)
			go op.Answer(&wire.Frame{Type: wire.Done})
		case wire.Get:
			if r.Key == "slow" {
				r.Keep(func(op *link.Op) { op.Answer(&wire.Frame{Type: wire.Done}) }).Held()
				return
			}
			f := wire.Frame{Type: wire.Hit, Stamp: 1 << 50, TTL: time.Minute, Age: time.Second, Value: small}
			if r.Key == "big" {
				f.Value = big
			}
			r.Answer(&f)
		case wire.GetMany:
			var key, hit wire.Frame
			items := make([]byte, 0, 12<<10)
			for rest := r.Items; len(rest) > 0; {
				var err error
				if rest, err = wire.Next(rest, &key); err != nil {
					panic(err)
				}
				hit = wire.Frame{Type: wire.Hit, Op: key.Op, Stamp: 1 << 50, TTL: time.Minute, Age: time.Second, Value: small}
				items = wire.Append(items, &hit)
			}
			r.Answer(&wire.Frame{Type: wire.Many, Items: items})
		}
	}})
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() { _ = http.Serve(l, n) }()
	fmt.Println(l.Addr())
	in := bufio.NewReader(os.Stdin)
	for {
		if _, err := in.ReadString('\n'); err != nil {
			return
		}
		fmt.Println(int64(cpu()))
	}
}

// cpu returns the CPU time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// startBenchServer runs the other process and returns a link to it and how to
// ask it for its CPU time.
func startBenchServer(b *testing.B) (*link.Link, func() time.Duration) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serverEnv+"=1")
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	pipe, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	out := bufio.NewReader(pipe)
	addr, err := out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	n, err := link.NewNode(link.Config{Name: "client", Instance: 2})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(n.Close)
	p, err := n.Peer("server", "http://"+strings.TrimSpace(addr))
	if err != nil {
		b.Fatal(err)
	}
	l, err := p.Link(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return l, func() time.Duration {
		_, _ = fmt.Fprintln(in)
		var d int64
		_, _ = fmt.Fscanln(out, &d)
		return time.Duration(d)
	}
}

// latencies holds durations in buckets of a sixteenth of a power of two.
type latencies [40 * 16]atomic.Uint32

func (l *latencies) add(d time.Duration) {
	l[min(int(math.Log2(float64(max(d, 1)))*16), len(l)-1)].Add(1)
}

func (l *latencies) quantile(q float64) time.Duration {
	total := uint64(0)
	for i := range l {
		total += uint64(l[i].Load())
	}
	rank := uint64(q * float64(total))
	for i := range l {
		n := uint64(l[i].Load())
		if rank < n {
			return time.Duration(math.Exp2(float64(i+1) / 16))
		}
		rank -= n
	}
	return 0
}

// run calls op b.N times from the given number of callers and reports
// operations and CPU time, for units of work in each op.
func run(b *testing.B, callers, units int, serverCPU func() time.Duration, op func() error) {
	var lat latencies
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	before, begin := cpu()+serverCPU(), time.Now()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				start := time.Now()
				if err := op(); err != nil {
					b.Error(err)
					return
				}
				lat.add(time.Since(start))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	took := time.Since(begin)
	used := cpu() + serverCPU() - before
	n := float64(b.N * units)
	b.ReportMetric(n/took.Seconds(), "ops/s")
	b.ReportMetric(float64(used.Microseconds())/n, "cpu-µs/op")
	b.ReportMetric(float64(lat.quantile(0.5).Microseconds()), "p50-µs")
	b.ReportMetric(float64(lat.quantile(0.99).Microseconds()), "p99-µs")
}

func BenchmarkLinkGet(b *testing.B) {
	l, serverCPU := startBenchServer(b)
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			run(b, callers, 1, serverCPU, func() error {
				req := wire.Frame{Type: wire.Get, Cache: 1, Key: "user:1234567890"}
				answer, err := l.Call(b.Context(), &req)
				if err == nil && len(answer.Value) != 100 {
					err = fmt.Errorf("answer is %+v", answer)
				}
				return err
			})
		})
	}
}

func BenchmarkLinkGetMany(b *testing.B) {
	l, serverCPU := startBenchServer(b)
	const keys = 64
	var items []byte
	for i := range keys {
		items = wire.Append(items, &wire.Frame{Type: wire.Get, Op: uint32(i), Key: "user:1234567890"})
	}
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			run(b, callers, keys, serverCPU, func() error {
				answer, err := l.Call(b.Context(), &wire.Frame{Type: wire.GetMany, Cache: 1, Items: items})
				var hit wire.Frame
				for rest := answer.Items; err == nil && len(rest) > 0; {
					rest, err = wire.Next(rest, &hit)
					if len(hit.Value) != 100 {
						return fmt.Errorf("hit is %+v", hit)
					}
				}
				return err
			})
		})
	}
}

// BenchmarkLinkBesideBig measures small Gets while 16 MiB values come in on the same link.
func BenchmarkLinkBesideBig(b *testing.B) {
	l, serverCPU := startBenchServer(b)
	for _, callers := range []int{1, 16, 256} {
		for _, big := range []bool{false, true} {
			b.Run(fmt.Sprintf("callers=%d/big=%v", callers, big), func(b *testing.B) {
				stop := make(chan struct{})
				var wg sync.WaitGroup
				var moved atomic.Int64
				if big {
					wg.Go(func() {
						for {
							select {
							case <-stop:
								return
							default:
							}
							answer, err := l.Call(b.Context(), &wire.Frame{Type: wire.Get, Cache: 1, Key: "big"})
							if err != nil || len(answer.Value) != 16<<20 {
								b.Error(len(answer.Value), err)
								return
							}
							moved.Add(16)
						}
					})
				}
				run(b, callers, 1, serverCPU, func() error {
					_, err := l.Call(b.Context(), &wire.Frame{Type: wire.Get, Cache: 1, Key: "user:1234567890"})
					return err
				})
				b.ReportMetric(float64(moved.Load())/b.Elapsed().Seconds(), "MiB/s")
				close(stop)
				wg.Wait()
			})
		}
	}
}

// BenchmarkHeld compares a link on which 10,000 Gets are held with one without, in turns: the
// median and the 99th percentile of the time that Gets and Puts take, for 4 callers, of the median
// of 5 rounds.
func BenchmarkHeld(b *testing.B) {
	with, _ := startBenchServer(b)
	without, _ := startBenchServer(b)
	for range 10_000 {
		if _, err := with.Send(b.Context(), get("slow"), new(sink)); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	round := func(l *link.Link, kind wire.Type) (p50, p99 time.Duration) {
		const callers, calls = 4, 5000
		took := make([]time.Duration, callers*calls)
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				f := wire.Frame{Type: kind, Key: "k", Value: make([]byte, 100)}
				for i := range calls {
					begin := time.Now()
					if _, err := l.Call(b.Context(), &f); err != nil {
						b.Error(err)
						return
					}
					took[c*calls+i] = time.Since(begin)
				}
			})
		}
		wg.Wait()
		slices.Sort(took)
		return took[len(took)/2], took[len(took)*99/100]
	}
	for b.Loop() {
		for _, kind := range []struct {
			name string
			wire.Type
		}{{"hit", wire.Get}, {"put", wire.Put}} {
			var p50, p99 [2][]time.Duration
			for range 5 {
				for i, l := range []*link.Link{without, with} {
					median, tail := round(l, kind.Type)
					p50[i], p99[i] = append(p50[i], median), append(p99[i], tail)
				}
			}
			for i, held := range []string{"0", "10000"} {
				slices.Sort(p50[i])
				slices.Sort(p99[i])
				b.ReportMetric(float64(p50[i][2])/1000, kind.name+"-p50-us/held="+held)
				b.ReportMetric(float64(p99[i][2])/1000, kind.name+"-p99-us/held="+held)
			}
		}
	}
}
