package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/coveycache/covey"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// schema is that of the database. Whatever changes a row, its transaction is noted in it, and
// listeners hear of it when that commits. A row must not be deleted, but marked: else nobody could
// find out later that it was there.
const schema = `
create table product (id bigint primary key, cents bigint not null, changed xid8 not null default pg_current_xact_id());
create index on product (changed);
create function tell() returns trigger language plpgsql as $$
begin
	new.changed := pg_current_xact_id();
	perform pg_notify('product', new.id::text);
	return new;
end $$;
create trigger tell before insert or update on product for each row execute function tell();
insert into product (id, cents) values (1, 100), (2, 200)`

// A shop reads products through a cache.
type shop struct {
	db        *pgxpool.Pool
	connect   func(ctx context.Context) (*pgx.Conn, error) // for the listener
	products  *covey.Cache[int64]                          // prices, in cents
	listening chan struct{}                                // closed when it is for the first time
	stop      context.CancelFunc
	stopped   chan struct{}
}

// openShop opens a shop. It waits for the listener: what is stored is followed from the first value
// on.
func openShop(ctx context.Context, dsn string, connect func(ctx context.Context) (*pgx.Conn, error)) (*shop, error) {
	db, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, err
	}
	s := &shop{db: db, connect: connect, listening: make(chan struct{}), stopped: make(chan struct{})}
	s.products, err = covey.New("products", covey.Options[int64]{TTL: time.Hour, LoadTimeout: 5 * time.Second, Loader: s.load})
	if err != nil {
		db.Close()
		return nil, err
	}
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() {
		defer close(s.stopped)
		s.follow(following)
	}()
	select {
	case <-s.listening:
		return s, nil
	case <-ctx.Done():
		s.close()
		return nil, context.Cause(ctx)
	}
}

func (s *shop) close() {
	s.stop()
	<-s.stopped
	_ = s.products.Close()
	s.db.Close()
}

func (s *shop) load(ctx context.Context, id string) (cents int64, err error) {
	err = s.db.QueryRow(ctx, `select cents from product where id = $1::text::bigint`, id).Scan(&cents)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, covey.ErrNotFound
	}
	return cents, err
}

// wait waits until the cache has that price.
func (s *shop) wait(ctx context.Context, id string, want int64) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		cents, err := s.products.Get(ctx, id, nil)
		if err != nil || cents == want {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("product %s still costs %d, want %d", id, cents, want)
		case <-time.After(time.Millisecond):
		}
	}
}

// follow deletes what has changed in the database, until ctx ends.
func (s *shop) follow(ctx context.Context) {
	var since string
	for {
		err := s.listen(ctx, &since)
		if ctx.Err() != nil {
			return
		}
		log.Printf("listener: %v, connecting again", err)
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// listen follows the changes as long as one connection lasts. All changes of transactions before
// since have been seen.
func (s *shop) listen(ctx context.Context, since *string) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// First the horizon, then LISTEN, then what was missed. Transactions before the horizon have
	// ended before LISTEN, so what was missed has all of them; of all others this connection hears
	// or, if it breaks, the next one asks.
	var horizon string
	if err := conn.QueryRow(ctx, `select pg_snapshot_xmin(pg_current_snapshot())::text`).Scan(&horizon); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `set application_name = listener; listen product`); err != nil {
		return err
	}
	if *since == "" {
		close(s.listening) // nothing is stored yet
	} else if err := s.deleteMissed(ctx, conn, *since); err != nil {
		return err
	}
	*since = horizon
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if err := s.products.Delete(ctx, n.Payload); err != nil {
			return err // connect again: that deletes it, too
		}
	}
}

// deleteMissed deletes what has changed since.
func (s *shop) deleteMissed(ctx context.Context, conn *pgx.Conn, since string) error {
	rows, err := conn.Query(ctx, `select id::text from product where changed >= $1::text::xid8`, since)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	return s.products.DeleteMany(ctx, ids)
}
