package main

// group_child.go is a process of the suite group: it does what the commands on its standard input
// say.

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// groupChild as the first argument makes the program such a process; the next ones are the system
// and what it needs to know.
const groupChild = "group-child"

// A load says what the askers do.
type load struct {
	For     time.Duration
	Callers int
	Value   int           // bytes
	Takes   time.Duration // to load one
	Batch   int           // keys of one call; 0 = gets of single keys
	Big     int           // bytes of a value that is got all the time beside the others
	Zipf    bool
	All     bool // all peers ask
	// Of a herd.
	Key    string // of a command for a key: how it begins
	Passed bool   // the loader is passed with the call
	Owner  int    // of a command for a key: the index of the peer that has to own it
}

type command struct {
	Op    string
	Load  load
	Peers []string
	File  string // shared memory for versions
	Keys  []string
	Count int
	Trial trialOrder
}

type reply struct {
	Err     string
	URL     string
	Key     string
	Ops     int64
	Errors  int64
	Stale   int64
	Loads   int64
	Served  int64
	CPU     float64 // seconds
	Seconds float64
	P50     float64 // us
	P90     float64
	P99     float64
	Rates   map[string]float64 // in a second, by key
	scaleState
	trialState
}

// A groupClient is one process's side of a system.
type groupClient interface {
	// join makes the process one of several.
	join(peers []string) error
	// remote reports whether another process holds the key.
	remote(key string) bool
	get(ctx context.Context, key string) ([]byte, error)
	getMany(ctx context.Context, keys []string) (found int, err error)
	put(ctx context.Context, key string, value []byte, version uint64) error
	served() int64
}

func groupChildMain(args []string, in io.Reader, out io.Writer) error {
	p := &groupProcess{started: time.Now()}
	var url string
	var err error
	if p.client, url, err = openGroupClient(args[0], args[1:], p); err != nil {
		return err
	}
	return obey(in, out, reply{URL: url}, p.do)
}

// obey says first what there is to say, and then does what the commands say until the parent has gone.
func obey(in io.Reader, out io.Writer, first reply, do func(command) (reply, error)) error {
	enc := json.NewEncoder(out)
	if err := enc.Encode(first); err != nil {
		return err
	}
	dec := json.NewDecoder(bufio.NewReader(in))
	for {
		var c command
		if err := dec.Decode(&c); err != nil {
			return nil // the parent has gone
		}
		r, err := do(c)
		if err != nil {
			r.Err = err.Error()
		}
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
}

type groupProcess struct {
	client  groupClient
	started time.Time
	loads   atomic.Int64 // of the present load
	delay   atomic.Int64 // that a load takes
	value   atomic.Int64 // bytes of loaded values

	keys     []string // that others hold
	all      []string // of the Zipf load
	zipf     int      // how many these are
	versions *versions
}

const (
	remoteKeys = 10_000
	zipfKeys   = 100_000 // at most
	bigKey     = "a big value"
)

// load is the origin: values begin with their version.
func (p *groupProcess) load(key string) []byte {
	p.loads.Add(1)
	time.Sleep(time.Duration(p.delay.Load()))
	n := int(p.value.Load())
	if len(key) >= len(bigKey) && key[:len(bigKey)] == bigKey {
		n = 16 << 20
	}
	v := make([]byte, max(n, 8))
	if p.versions != nil {
		if i, ok := zipfIndex(key); ok {
			binary.LittleEndian.PutUint64(v, p.versions.stored[i].Load())
		}
	}
	return v
}

func (p *groupProcess) do(c command) (r reply, err error) {
	switch c.Op {
	case "join":
		if p.versions, err = openVersions(c.File); err != nil {
			return r, err
		}
		p.zipf = c.Count
		return r, p.client.join(c.Peers)
	case "await":
		if c, ok := p.client.(*coveyPeer); ok {
			c.await()
		}
	case "value":
		p.value.Store(int64(c.Load.Value))
		p.delay.Store(int64(c.Load.Takes))
		p.loads.Store(0)
	case "prepare":
		return r, p.prepare(c.Load)
	case "run":
		return p.run(c.Load)
	case "key":
		r.Key = p.client.(*coveyPeer).ownedBy(c.Load.Owner, c.Load.Key)
	case "herd":
		return p.herd(c.Load)
	case "hot":
		return p.hot(c.Load)
	case "shown":
		return p.shown(), nil
	case "cpu":
		r.CPU = processCPU()
	case "profile":
		f, err := os.Create(fmt.Sprint(c.File, ".", os.Getpid()))
		if err != nil {
			return r, err
		}
		return r, pprof.StartCPUProfile(f)
	case "end":
		pprof.StopCPUProfile()
	case "served":
		r.Served = p.client.served()
	default:
		err = errors.New("what is " + c.Op + "?")
	}
	return r, err
}

// prepare makes the keys of a load resident.
func (p *groupProcess) prepare(l load) error {
	ctx := context.Background()
	if l.Zipf {
		for len(p.all) < p.zipf {
			p.all = append(p.all, zipfKey(len(p.all)))
		}
		return each(p.all, func(key string) error { _, err := p.client.get(ctx, key); return err })
	}
	p.keys = p.keys[:0]
	for i := 0; len(p.keys) < remoteKeys; i++ {
		if key := fmt.Sprintf("user:%d:%d", l.Value, i); p.client.remote(key) {
			p.keys = append(p.keys, key)
		}
	}
	if l.Big > 0 {
		if _, err := p.client.get(ctx, p.bigKey()); err != nil {
			return err
		}
	}
	return each(p.keys, func(key string) error { _, err := p.client.get(ctx, key); return err })
}

func (p *groupProcess) bigKey() string {
	for i := 0; ; i++ {
		if key := fmt.Sprint(bigKey, i); p.client.remote(key) {
			return key
		}
	}
}

// each calls f for all keys, some at a time.
func each[K any](keys []K, f func(K) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < len(keys); i += 64 {
				if err := f(keys[i]); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// run asks for keys in a loop for as long as the load says.
func (p *groupProcess) run(l load) (reply, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var stop atomic.Bool
	var total reply
	var mu sync.Mutex
	var wg sync.WaitGroup
	var took []float64
	var failure error
	start := time.Now()
	time.AfterFunc(l.For, func() { stop.Store(true) })
	for caller := range l.Callers {
		wg.Go(func() {
			ops, errs, stale, us, err := p.caller(ctx, l, uint64(caller), &stop)
			mu.Lock()
			defer mu.Unlock()
			total.Ops += ops
			total.Errors += errs
			total.Stale += stale
			took = append(took, us...)
			if err != nil {
				failure = err
			}
		})
	}
	if l.Big > 0 {
		go func() {
			key := p.bigKey()
			for ctx.Err() == nil {
				if v, err := p.client.get(ctx, key); err == nil && len(v) != l.Big {
					panic(fmt.Sprintf("the big value has %d bytes", len(v)))
				}
			}
		}()
	}
	wg.Wait()
	total.Seconds = time.Since(start).Seconds()
	if len(took) > 0 {
		slices.Sort(took)
		total.P50, total.P90, total.P99 = took[len(took)/2], took[len(took)*9/10], took[len(took)*99/100]
	}
	if total.Ops == 0 && failure != nil {
		return total, failure
	}
	return total, nil
}

// caller is one goroutine that asks. It times one call in eight.
func (p *groupProcess) caller(ctx context.Context, l load, id uint64, stop *atomic.Bool) (ops, errs, stale int64, us []float64, failure error) {
	ctx, cancel := context.WithCancel(ctx) // as each request to a server has one
	defer cancel()
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), id))
	zipf := newZipf(r, p.zipf)
	us = make([]float64, 0, 1<<14)
	for i := 0; !stop.Load(); i++ {
		timed := i%8 == 0
		var begin time.Time
		if timed {
			begin = time.Now()
		}
		var err error
		switch {
		case l.Zipf:
			var old bool
			old, err = p.zipfOp(ctx, zipf, r)
			if old {
				stale++
			}
			ops++
		case l.Batch > 0:
			at := r.IntN(len(p.keys) - l.Batch)
			var n int
			if n, err = p.client.getMany(ctx, p.keys[at:at+l.Batch]); err == nil && n != l.Batch {
				err = fmt.Errorf("%d of %d keys were found", n, l.Batch)
			}
			ops += int64(l.Batch)
		default:
			var v []byte
			if v, err = p.client.get(ctx, p.keys[r.IntN(len(p.keys))]); err == nil && len(v) != l.Value {
				err = fmt.Errorf("the value has %d bytes, not %d", len(v), l.Value)
			}
			ops++
		}
		if err != nil {
			errs++
			failure = err
		}
		if timed {
			us = append(us, float64(time.Since(begin).Nanoseconds())/1e3)
		}
	}
	return ops, errs, stale, us, failure
}

// zipfOp gets a key, or now and then writes one, and reports whether it got a value from before an
// acknowledged write.
func (p *groupProcess) zipfOp(ctx context.Context, zipf *rand.Zipf, r *rand.Rand) (old bool, err error) {
	i := int(zipf.Uint64())
	v := p.versions
	if r.IntN(100) == 0 {
		version := v.next[i].Add(1)
		value := make([]byte, 100)
		binary.LittleEndian.PutUint64(value, version)
		raise(&v.stored[i], version) // the database first
		err := p.client.put(ctx, p.all[i], value, version)
		if err == nil {
			raise(&v.acknowledged[i], version)
		}
		return false, err
	}
	least := v.acknowledged[i].Load()
	value, err := p.client.get(ctx, p.all[i])
	if err != nil {
		return false, err
	}
	return binary.LittleEndian.Uint64(value) < least, nil
}

func raise(to *atomic.Uint64, v uint64) {
	for {
		old := to.Load()
		if old >= v || to.CompareAndSwap(old, v) {
			return
		}
	}
}

func newZipf(r *rand.Rand, keys int) *rand.Zipf {
	return rand.NewZipf(r, 1.01, 1, uint64(max(keys-1, 1)))
}

func zipfKey(i int) string { return fmt.Sprintf("item:%06d", i) }

func zipfIndex(key string) (i int, ok bool) {
	_, err := fmt.Sscanf(key, "item:%d", &i)
	return i, err == nil && i < zipfKeys
}

// herd lets all callers of this process ask for one cold key.
func (p *groupProcess) herd(l load) (reply, error) {
	var wg sync.WaitGroup
	var errs atomic.Int64
	start := time.Now()
	for range l.Callers {
		wg.Go(func() {
			if _, err := p.client.(*coveyPeer).herd(context.Background(), l); err != nil {
				errs.Add(1)
				fmt.Fprintln(os.Stderr, err)
			}
		})
	}
	wg.Wait()
	return reply{Loads: p.loads.Load(), Errors: errs.Load(), Seconds: time.Since(start).Seconds()}, nil
}

func processCPU() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
