package docs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/coveycache/covey"
)

// A table is a database of products, which gives each change the next revision.
type table struct {
	mu       sync.Mutex
	products map[string]Product
	revision uint64
}

func (t *table) find(_ context.Context, id string) (Product, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.products[id]
	if !ok {
		return p, covey.ErrNotFound
	}
	return p, nil
}

func (t *table) rename(_ context.Context, id, name string) (Product, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revision++
	p := Product{Name: name, Revision: t.revision}
	t.products[id] = p
	return p, nil
}

// loadProduct returns the loader: it says which revision the product has.
func loadProduct(db *table) covey.Loader[Product] {
	return func(ctx context.Context, id string) (Product, error) {
		p, err := db.find(ctx, id)
		if err == nil {
			covey.LoadInfo(ctx).SetVersion(p.Revision)
		}
		return p, err
	}
}

// spend takes an amount from a budget that the cache keeps, unless too little is left.
func spend(ctx context.Context, budgets *covey.Cache[int], team string, amount int) (left int, err error) {
	return budgets.Update(ctx, team, func(left int, ok bool) (int, error) {
		if !ok || left < amount {
			return 0, errTooLittle
		}
		return left - amount, nil
	})
}

var errTooLittle = errors.New("too little is left")

// allow counts requests of a client in a window of a minute, in the whole group.
func allow(ctx context.Context, requests *covey.Cache[int64], client string) (bool, error) {
	n, err := covey.Incr(ctx, requests, client, 1, covey.WithTTL(time.Minute))
	return n <= 100, err
}

func TestConditionalWrites(t *testing.T) {
	budgets, err := covey.New("budgets", covey.Options[int]{MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer budgets.Close()
	if _, err := spend(t.Context(), budgets, "a", 1); !errors.Is(err, errTooLittle) {
		t.Error(err)
	}
	if err := budgets.Put(t.Context(), "a", 10); err != nil {
		t.Error(err)
	}
	if left, err := spend(t.Context(), budgets, "a", 7); err != nil || left != 3 {
		t.Error(left, err)
	}
	requests, err := covey.New("requests", covey.Options[int64]{MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer requests.Close()
	for i := range 101 {
		if ok, err := allow(t.Context(), requests, "c"); err != nil || ok != (i < 100) {
			t.Error(i, ok, err)
		}
	}
}

// rename changes the database and puts the result, so that nobody has to load it.
func rename(ctx context.Context, db *table, products *covey.Cache[Product], id, name string) error {
	p, err := db.rename(ctx, id, name) // gives the product its next revision, in one transaction
	if err != nil {
		return err
	}
	err = products.Put(ctx, id, p, covey.WithVersion(p.Revision))
	if errors.Is(err, covey.ErrOutdated) {
		return nil // the cache knows of a later change
	}
	return err
}

// A Change is what a feed says of a product. The last one says only that some have been lost.
type Change struct {
	ID      string
	Product Product // with its new revision
	Deleted bool
	Gap     bool
}

// follow passes a feed of changes on to the cache.
func follow(ctx context.Context, feed <-chan Change, products *covey.Cache[Product]) error {
	for c := range feed {
		var err error
		switch {
		case c.Gap:
			err = products.Clear(ctx)
		case c.Deleted:
			err = products.Delete(ctx, c.ID, covey.DeletedAt(c.Product.Revision))
		default:
			err = products.Put(ctx, c.ID, c.Product, covey.WithVersion(c.Product.Revision))
		}
		if err != nil && !errors.Is(err, covey.ErrOutdated) {
			return fmt.Errorf("feed of products, at %q: %w", c.ID, err) // go on from there
		}
	}
	return nil
}

func TestWrites(t *testing.T) {
	db := &table{products: make(map[string]Product)}
	products, err := covey.New("products", covey.Options[Product]{Loader: loadProduct(db)})
	if err != nil {
		t.Fatal(err)
	}
	defer products.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 100 {
				if err := rename(t.Context(), db, products, "1", fmt.Sprint("tea ", i)); err != nil {
					t.Error(err)
				}
				if _, err := products.Get(t.Context(), "1", nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if p, err := products.Get(t.Context(), "1", nil); err != nil || p != db.products["1"] {
		t.Errorf("the cache has %v, %v; the database %v", p, err, db.products["1"])
	}
}

func TestFollow(t *testing.T) {
	products, err := covey.New("products", covey.Options[Product]{})
	if err != nil {
		t.Fatal(err)
	}
	defer products.Close()
	send := func(changes ...Change) {
		t.Helper()
		feed := make(chan Change, len(changes))
		for _, c := range changes {
			feed <- c
		}
		close(feed)
		if err := follow(t.Context(), feed, products); err != nil {
			t.Fatal(err)
		}
	}
	has := func(id string, want uint64) {
		t.Helper()
		if e, _ := products.Peek(id); e.Value.Revision != want {
			t.Errorf("the cache has revision %d of %s, want %d", e.Value.Revision, id, want)
		}
	}
	send(Change{ID: "1", Product: Product{Revision: 2}}, Change{ID: "2", Product: Product{Revision: 3}}, Change{ID: "1", Product: Product{Revision: 1}})
	has("1", 2)
	send(Change{ID: "1", Product: Product{Revision: 5}, Deleted: true}, Change{ID: "1", Product: Product{Revision: 4}})
	has("1", 0)
	has("2", 3)
	send(Change{Gap: true})
	has("2", 0)
}
