// Package trace holds sequences of requests to a cache: read from files or generated.
package trace

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Trace is a sequence of requested keys, numbered from 0 in the order of
// their first request, so that arrays can stand in for maps.
type Trace struct {
	Name   string
	Keys   []uint32
	Unique int
	Sizes  []uint32 // bytes of each key's object; nil if sizes play no part
}

// TotalBytes is the size of all objects together.
func (t *Trace) TotalBytes() (sum int64) {
	for _, s := range t.Sizes {
		sum += int64(s)
	}
	return sum
}

// New makes a trace. Sizes has one element for each request, or is nil; the
// size of a key's first request holds for all, at least 1 byte.
func New(name string, keys, sizes []uint64) *Trace {
	t := &Trace{Name: name, Keys: make([]uint32, len(keys))}
	ids := make(map[uint64]uint32)
	for i, k := range keys {
		id, ok := ids[k]
		if !ok {
			id = uint32(len(ids))
			ids[k] = id
			if sizes != nil {
				t.Sizes = append(t.Sizes, uint32(min(max(sizes[i], 1), math.MaxUint32)))
			}
		}
		t.Keys[i] = id
	}
	t.Unique = len(ids)
	return t
}

const (
	extension      = ".bin.gz"
	sizedExtension = ".sized.bin.gz"
)

// Load reads trace files, and all of them in each folder, one level deep.
// README.md describes the two formats.
func Load(paths []string) (traces []*Trace, err error) {
	for _, path := range paths {
		files := []string{path}
		if fi, err := os.Stat(path); err != nil {
			return nil, err
		} else if fi.IsDir() {
			if files, err = filepath.Glob(filepath.Join(path, "*"+extension)); err != nil {
				return nil, err
			}
			if len(files) == 0 {
				return nil, fmt.Errorf("no trace in %s: none of its files is called NAME%s", path, extension)
			}
		}
		for _, file := range files {
			t, err := read(file)
			if err != nil {
				return nil, fmt.Errorf("trace %s: %w", filepath.Base(file), err)
			}
			traces = append(traces, t)
		}
	}
	return traces, nil
}

func read(file string) (*Trace, error) {
	words, err := readWords(file)
	if err != nil {
		return nil, err
	}
	base := filepath.Base(file)
	name, sized := strings.CutSuffix(base, sizedExtension)
	if !sized {
		return New(strings.TrimSuffix(base, extension), words, nil), nil
	}
	if len(words)%2 != 0 {
		return nil, errors.New("the last key has no size")
	}
	var keys, sizes []uint64
	for pair := range slices.Chunk(words, 2) {
		keys, sizes = append(keys, pair[0]), append(sizes, pair[1])
	}
	return New(name, keys, sizes), nil
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
	r := bufio.NewReaderSize(z, 1<<16)
	var b [8]byte
	for {
		switch _, err := io.ReadFull(r, b[:]); {
		case err == io.EOF:
			return words, nil
		case err != nil:
			return nil, err
		}
		words = append(words, binary.LittleEndian.Uint64(b[:]))
	}
}
