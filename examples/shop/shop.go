package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey"
	_ "modernc.org/sqlite"
)

// A Product is a row of the database.
type Product struct {
	Name     string
	Cents    int64
	Revision int64 // of the price
}

// A shop reads products through a cache and writes them to the database.
type shop struct {
	db       *sql.DB
	products *covey.Cache[Product]
	queries  atomic.Int64
}

func openShop(file string, n int) (*shop, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)&_pragma=synchronous(normal)")
	if err != nil {
		return nil, err
	}
	s := &shop{db: db}
	if err := s.fill(n); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.products, err = covey.New("products", covey.Options[Product]{MaxBytes: 1 << 20, TTL: time.Minute, Loader: s.load})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *shop) fill(n int) error {
	if _, err := s.db.Exec(`create table product (id integer primary key, name text not null, cents integer not null, revision integer not null)`); err != nil {
		return err
	}
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	for id := range n {
		if _, err := tx.Exec(`insert into product values (?, ?, 100, 0)`, id, fmt.Sprintf("product %d", id)); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

// load is the cache's loader.
func (s *shop) load(ctx context.Context, key string) (Product, error) {
	s.queries.Add(1)
	var p Product
	err := s.db.QueryRowContext(ctx, `select name, cents, revision from product where id = ?`, key).Scan(&p.Name, &p.Cents, &p.Revision)
	if errors.Is(err, sql.ErrNoRows) {
		return p, covey.ErrNotFound
	}
	return p, err
}

// Product returns a product, from the cache if it can.
func (s *shop) Product(ctx context.Context, id int) (Product, error) {
	return s.products.Get(ctx, strconv.Itoa(id), nil)
}

// SetPrice changes a price and returns its revision. First the database, then the cache: a load
// that began before the Delete may have read the old price, and the Delete sees to it that it is
// not stored.
func (s *shop) SetPrice(ctx context.Context, id int, cents int64) (revision int64, err error) {
	err = s.db.QueryRowContext(ctx, `update product set cents = ?, revision = revision + 1 where id = ? returning revision`, cents, id).Scan(&revision)
	if err != nil {
		return 0, err
	}
	return revision, s.products.Delete(ctx, strconv.Itoa(id))
}

func (s *shop) Close() error { return errors.Join(s.products.Close(), s.db.Close()) }
