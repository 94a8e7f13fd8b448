package main

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/coveycache/covey"
)

func TestNoStalePrice(t *testing.T) {
	r, err := run(filepath.Join(t.TempDir(), "shop.db"), time.Second, 4, 2)
	if err != nil {
		t.Fatal(err)
	}
	if r.stale != 0 || r.writes == 0 || r.queries == 0 || r.queries >= r.reads {
		t.Errorf("got %+v; want no stale prices, and fewer queries than reads", r)
	}
}

func TestUnknownProduct(t *testing.T) {
	s, err := openShop(filepath.Join(t.TempDir(), "shop.db"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		if _, err := s.Product(t.Context(), 7); !errors.Is(err, covey.ErrNotFound) {
			t.Errorf("got %v; want ErrNotFound", err)
		}
	}
	if n := s.queries.Load(); n != 1 {
		t.Errorf("got %d queries; want 1, the second answer is remembered", n)
	}
}
