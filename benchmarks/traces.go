package main

// traces.go reads access traces and makes some of its own.

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// A trace is a sequence of keys, numbered from 0; sizes has the bytes of each key, or is nil.
type trace struct {
	name  string
	keys  []uint32
	sizes []uint32
	n     int // distinct keys
}

// newTrace numbers the keys in the order in which they come.
func newTrace(name string, keys, sizes []uint64) *trace {
	t := &trace{name: name, keys: make([]uint32, len(keys))}
	number := make(map[uint64]uint32)
	for i, k := range keys {
		id, ok := number[k]
		if !ok {
			id = uint32(len(number))
			number[k] = id
			if sizes != nil {
				t.sizes = append(t.sizes, uint32(min(max(sizes[i], 1), math.MaxUint32)))
			}
		}
		t.keys[i] = id
	}
	t.n = len(number)
	return t
}

// loadTraces reads NAME.bin.gz (little-endian uint64 keys) and NAME.sized.bin.gz
// (pairs of key and size), or all of them in a folder.
func loadTraces(path string) ([]*trace, error) {
	files := []string{path}
	if fi, err := os.Stat(path); err != nil {
		return nil, err
	} else if fi.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.bin.gz")); err != nil {
			return nil, err
		}
	}
	var ts []*trace
	for _, file := range files {
		words, err := readWords(file)
		if err != nil {
			return nil, fmt.Errorf("trace %s: %w", filepath.Base(file), err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".bin.gz")
		if base, sized := strings.CutSuffix(name, ".sized"); sized {
			var keys, sizes []uint64
			for i := 0; i+1 < len(words); i += 2 {
				keys, sizes = append(keys, words[i]), append(sizes, words[i+1])
			}
			ts = append(ts, newTrace(base, keys, sizes))
		} else {
			ts = append(ts, newTrace(name, words, nil))
		}
	}
	return ts, nil
}

func readWords(file string) (words []uint64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(z, 1<<20)
	var b [8]byte
	for {
		if _, err := io.ReadFull(r, b[:]); errors.Is(err, io.EOF) {
			return words, nil
		} else if err != nil {
			return nil, err
		}
		words = append(words, binary.LittleEndian.Uint64(b[:]))
	}
}

// zipf draws from n keys with skew s; unlike math/rand's it knows s of 1 and below.
type zipf struct {
	r   *rand.Rand
	cdf []float64
}

func newZipf(r *rand.Rand, s float64, n int) *zipf {
	z := &zipf{r, make([]float64, n)}
	sum := 0.0
	for i := range z.cdf {
		sum += math.Pow(float64(i+1), -s)
		z.cdf[i] = sum
	}
	return z
}

func (z *zipf) next() uint64 {
	x := z.r.Float64() * z.cdf[len(z.cdf)-1]
	lo, hi := 0, len(z.cdf)-1
	for lo < hi {
		if mid := (lo + hi) / 2; z.cdf[mid] < x {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return uint64(lo)
}

// generated returns the built-in traces: the same ones every time.
func generated(length int) (ts []*trace) {
	make := func(name string, next func(r *rand.Rand) func(i int) uint64) {
		draw := next(rand.New(rand.NewPCG(1, uint64(len(ts)))))
		keys := make([]uint64, length)
		for i := range keys {
			keys[i] = draw(i)
		}
		ts = append(ts, newTrace(name, keys, nil))
	}
	const n = 20_000
	for _, s := range []float64{0.7, 0.9, 1.01, 1.2} {
		make(fmt.Sprintf("zipf-%g", s), func(r *rand.Rand) func(int) uint64 {
			z := newZipf(r, s, n)
			return func(int) uint64 { return z.next() }
		})
	}
	make("loop", func(*rand.Rand) func(int) uint64 {
		return func(i int) uint64 { return uint64(i % n) }
	})
	make("zipf+scan", func(r *rand.Rand) func(int) uint64 {
		z, at := newZipf(r, 1.01, n), uint64(n)
		return func(i int) uint64 {
			if i/1000%5 == 4 { // every fifth thousand reads keys never seen before
				at++
				return at
			}
			return z.next()
		}
	})
	make("zipf+loop", func(r *rand.Rand) func(int) uint64 {
		z := newZipf(r, 0.9, n)
		return func(i int) uint64 {
			if i%3 == 0 {
				return uint64(n + i/3%5000)
			}
			return z.next()
		}
	})
	make("phases", func(r *rand.Rand) func(int) uint64 {
		z := newZipf(r, 1.01, n)
		return func(i int) uint64 { return z.next() + uint64(i/(length/5))*n/2 }
	})
	make("drift", func(r *rand.Rand) func(int) uint64 {
		z := newZipf(r, 0.9, 3000) // a working set that moves on a little with every request
		return func(i int) uint64 { return z.next() + uint64(i/20) }
	})
	make("loop-then-drift", func(r *rand.Rand) func(int) uint64 {
		z := newZipf(r, 0.9, 3000)
		return func(i int) uint64 {
			if i/(length/4)%2 == 0 {
				return uint64(i % 8000)
			}
			return z.next() + uint64(i/20)
		}
	})
	return ts
}

// generatedSized is like a web cache's trace: popular objects of very different
// sizes, and a third of the requests for what is never asked for again.
func generatedSized(length int) *trace {
	r := rand.New(rand.NewPCG(2, 2))
	z := newZipf(r, 0.8, 50_000)
	keys, sizes := make([]uint64, length), make([]uint64, length)
	size := func(key uint64) uint64 { // log-normal, fixed by the key
		kr := rand.New(rand.NewPCG(key, 3))
		return uint64(math.Exp(9 + 1.8*kr.NormFloat64()))
	}
	for i := range keys {
		if r.IntN(3) == 0 {
			keys[i] = uint64(1_000_000 + i)
		} else {
			keys[i] = z.next()
		}
		sizes[i] = size(keys[i])
	}
	return newTrace("web-sized", keys, sizes)
}
