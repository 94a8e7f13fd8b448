// Shop sells from an SQLite database through a cache: reads go through Covey,
// a write goes to the database and then deletes the key. A load generator checks
// that nobody ever sees a price from before a change that was acknowledged.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	duration := flag.Duration("duration", 3*time.Second, "how long to run the load")
	readers := flag.Int("readers", 8, "customers who look at products")
	writers := flag.Int("writers", 2, "clerks who change prices")
	selftest := flag.Bool("selftest", false, "run for one second only")
	flag.Parse()
	log.SetFlags(0)
	if *selftest {
		*duration = time.Second
	}
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	r, err := run(filepath.Join(dir, "shop.db"), *duration, *readers, *writers)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d reads and %d price changes in %v\n", r.reads, r.writes, *duration)
	fmt.Printf("%d queries instead of %d: %.1f %% saved\n", r.queries, r.reads, 100*(1-float64(r.queries)/float64(r.reads)))
	fmt.Printf("%d stale prices\n", r.stale)
	if r.stale > 0 {
		os.Exit(1)
	}
}

// A report says what a run has come to.
type report struct{ reads, writes, queries, stale int64 }

// run has customers read and clerks write. Every price change gives the product a higher
// revision, so a reader knows the least one that it may see: what was
// acknowledged before it asked.
func run(file string, duration time.Duration, readers, writers int) (r report, err error) {
	const products = 200
	s, err := openShop(file, products)
	if err != nil {
		return r, err
	}
	defer func() {
		if e := s.Close(); err == nil {
			err = e
		}
	}()
	ctx, stop := context.WithTimeout(context.Background(), duration)
	defer stop()
	var acknowledged [products]atomic.Int64
	var reads, writes, stale atomic.Int64
	errs := make(chan error, readers+writers)
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for ctx.Err() == nil {
				id := int(rand.ExpFloat64()*products/10) % products // some products are more popular
				least := acknowledged[id].Load()
				p, err := s.Product(context.Background(), id)
				if err != nil {
					errs <- err
					return
				}
				reads.Add(1)
				if p.Revision < least {
					stale.Add(1)
				}
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			for ctx.Err() == nil {
				id := rand.IntN(products/writers)*writers + w // a product has one clerk
				revision, err := s.SetPrice(context.Background(), id, 100+rand.Int64N(900))
				if err != nil {
					errs <- err
					return
				}
				acknowledged[id].Store(revision)
				writes.Add(1)
				select {
				case <-ctx.Done():
				case <-time.After(2 * time.Millisecond):
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return r, err
	default:
	}
	return report{reads.Load(), writes.Load(), s.queries.Load(), stale.Load()}, nil
}
