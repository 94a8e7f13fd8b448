package covey

// source_test.go is an origin that knows who has loaded what.

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A source is an origin that the cache is in front of: what each key has, and how often it was
// asked for that.
type source struct {
	mu    sync.Mutex
	has   map[string]int
	loads map[string]map[string]int // by process and key
	takes time.Duration
}

func newSource() *source {
	return &source{has: make(map[string]int), loads: make(map[string]map[string]int)}
}

// write changes what a key has, before the cache is told.
func (s *source) write(key string) (now string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.has[key]++
	return fmt.Sprint(s.has[key])
}

// take sets how long a load takes that begins from now on.
func (s *source) take(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes = d
}

// loader returns a process's loader: what it returns is what the key had when it began.
func (s *source) loader(p *proc) Loader[string] {
	return func(ctx context.Context, key string) (string, error) {
		s.mu.Lock()
		if s.loads[p.name] == nil {
			s.loads[p.name] = make(map[string]int)
		}
		s.loads[p.name][key]++
		v, takes := fmt.Sprint(s.has[key]), s.takes
		s.mu.Unlock()
		select {
		case <-time.After(takes):
			return v, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

func (s *source) bulk(p *proc) BulkLoader[string] {
	one := s.loader(p)
	return func(ctx context.Context, keys []string) (map[string]string, error) {
		all := make(map[string]string)
		for _, k := range keys {
			v, err := one(ctx, k)
			if err != nil {
				return all, err
			}
			all[k] = v
		}
		return all, nil
	}
}

// loaded returns how often a process has loaded since the last time.
func (s *source) loaded(p *proc) (n int) {
	for _, of := range s.loadedKeys(p) {
		n += of
	}
	return n
}

func (s *source) loadedSoFar(p *proc) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range s.loads[p.name] {
		n += of
	}
	return n
}

// loadedKeys is loaded for each key.
func (s *source) loadedKeys(p *proc) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.loads[p.name]
	delete(s.loads, p.name)
	return n
}
