// Postgres keeps a cache in step with a PostgreSQL database that others write to: a trigger NOTIFYs
// of each change, and a listener deletes its key. The connection of the listener is killed in the
// middle; what has changed while there was none is deleted when there is one again. The program
// starts a PostgreSQL of its own, in a temporary directory.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

func main() {
	flag.Bool("selftest", false, "do what it does anyway")
	flag.Parse()
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, fmt.Println); err != nil {
		log.Fatal(err)
	}
}

// run shows two changes: one of which the listener hears, and one that it cannot hear.
func run(ctx context.Context, say func(...any) (int, error)) (err error) {
	dsn, stop, err := startPostgres()
	if err != nil {
		return err
	}
	defer stop()
	others, err := pgx.Connect(ctx, dsn) // another program, which knows no cache
	if err != nil {
		return err
	}
	defer others.Close(ctx)
	if _, err := others.Exec(ctx, schema); err != nil {
		return err
	}

	var cut sync.Mutex // locked: the listener cannot connect
	s, err := openShop(ctx, dsn, func(ctx context.Context) (*pgx.Conn, error) {
		cut.Lock()
		defer cut.Unlock()
		return pgx.Connect(ctx, dsn)
	})
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.wait(ctx, "1", 100); err != nil {
		return err
	}
	say("tea costs 100")

	if _, err := others.Exec(ctx, `update product set cents = 120 where id = 1`); err != nil {
		return err
	}
	if err := s.wait(ctx, "1", 120); err != nil {
		return err
	}
	say("tea costs 120: the listener has heard of it")

	cut.Lock()
	gap := func() error {
		// The second statement waits until the listener's connection has gone for good.
		if _, err := others.Exec(ctx, `select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'listener'`); err != nil {
			return err
		}
		_, err := others.Exec(ctx, `update product set cents = 150 where id = 1`)
		return err
	}
	err = gap()
	if err == nil {
		err = s.wait(ctx, "1", 120) // until there is a listener again, or the TTL ends
	}
	cut.Unlock()
	if err != nil {
		return err
	}
	say("the listener's connection was killed, and tea has become dearer: the cache does not know")
	if err := s.wait(ctx, "1", 150); err != nil {
		return err
	}
	say("tea costs 150: the listener is back and has asked what it has missed")
	return nil
}
