package covey_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/coveycache/covey"
)

func open(o covey.Options[string]) *covey.Cache[string] {
	c, err := covey.New("users", o)
	if err != nil {
		panic(err)
	}
	return c
}

func Example() {
	users, err := covey.New("users", covey.Options[string]{MaxBytes: 256 << 20, TTL: 10 * time.Minute})
	if err != nil {
		panic(err)
	}
	defer users.Close()
	name, err := users.Get(context.Background(), "42", func(ctx context.Context, id string) (string, error) {
		return "user " + id, nil // the query that you would rather not repeat
	})
	fmt.Println(name, err)
	// Output: user 42 <nil>
}

func ExampleNew_mistakes() {
	_, err := covey.New("users", covey.Options[string]{MaxBytes: -1, TTL: -time.Second})
	fmt.Println(err)
	// Output:
	// covey: cache "users": Options.MaxBytes is -1, it must not be negative
	// covey: cache "users": Options.TTL is -1s, it must not be negative
}

func ExampleOptions_loader() {
	users := open(covey.Options[string]{
		Loader: func(_ context.Context, id string) (string, error) {
			fmt.Println("loading", id)
			return "user " + id, nil
		},
	})
	defer users.Close()
	for range 2 {
		name, _ := users.Get(context.Background(), "42", nil)
		fmt.Println(name)
	}
	// Output:
	// loading 42
	// user 42
	// user 42
}

func ExampleCache_Get_notFound() {
	users := open(covey.Options[string]{NegativeTTL: 5 * time.Second})
	defer users.Close()
	load := func(_ context.Context, id string) (string, error) {
		fmt.Println("loading", id)
		return "", covey.ErrNotFound
	}
	for range 2 {
		_, err := users.Get(context.Background(), "42", load)
		fmt.Println(errors.Is(err, covey.ErrNotFound))
	}
	// Output:
	// loading 42
	// true
	// true
}

func ExampleCache_GetMany() {
	users := open(covey.Options[string]{})
	defer users.Close()
	ctx := context.Background()
	_ = users.Put(ctx, "1", "Ada")
	found, err := users.GetMany(ctx, []string{"1", "2", "3"}, func(_ context.Context, ids []string) (map[string]string, error) {
		fmt.Println("loading", ids)
		return map[string]string{"2": "Grace"}, nil // there is no user 3
	})
	fmt.Println(found, err)
	// Output:
	// loading [2 3]
	// map[1:Ada 2:Grace] <nil>
}

func ExampleCache_Lookup() {
	users := open(covey.Options[string]{TTL: time.Hour})
	defer users.Close()
	ctx := context.Background()
	_ = users.Put(ctx, "1", "Ada", covey.WithVersion(7))
	e, ok, err := users.Lookup(ctx, "1")
	fmt.Println(e.Value, e.Version, e.Stale, ok, err)
	_, ok, err = users.Lookup(ctx, "2")
	fmt.Println(ok, err)
	// Output:
	// Ada 7 false true <nil>
	// false <nil>
}

func ExampleCache_Put() {
	users := open(covey.Options[string]{})
	defer users.Close()
	ctx := context.Background()
	fmt.Println(users.Put(ctx, "1", "Ada", covey.WithVersion(2), covey.WithTTL(time.Minute)))
	err := users.Put(ctx, "1", "an older row", covey.WithVersion(1))
	fmt.Println(errors.Is(err, covey.ErrOutdated))
	// Output:
	// <nil>
	// true
}

func ExampleCache_PutMany() {
	users := open(covey.Options[string]{})
	defer users.Close()
	err := users.PutMany(context.Background(), map[string]string{"1": "Ada", "2": "Grace"}, covey.WithTTL(time.Minute))
	fmt.Println(users.Stats().Entries, err)
	// Output: 2 <nil>
}

func ExampleCache_Delete() {
	users := open(covey.Options[string]{})
	defer users.Close()
	ctx := context.Background()
	_ = users.Put(ctx, "1", "Ada")
	// First change the row in the database, then:
	fmt.Println(users.Delete(ctx, "1"))
	_, ok, _ := users.Lookup(ctx, "1")
	fmt.Println(ok)
	fmt.Println(users.DeleteMany(ctx, []string{"1", "2"}))
	// Output:
	// <nil>
	// false
	// <nil>
}

func ExampleCache_Expire() {
	users := open(covey.Options[string]{TTL: time.Hour, StaleIfError: time.Hour})
	defer users.Close()
	ctx := context.Background()
	_ = users.Put(ctx, "1", "Ada")
	_ = users.Expire(ctx, "1")
	name, err := users.Get(ctx, "1", func(context.Context, string) (string, error) { return "", errors.New("the database is down") })
	fmt.Println(name, err)
	// Output: Ada <nil>
}

func ExampleCache_Clear() {
	users := open(covey.Options[string]{})
	defer users.Close()
	_ = users.Put(context.Background(), "1", "Ada")
	fmt.Println(users.Clear(context.Background()), users.Stats().Entries)
	// Output: <nil> 0
}

func ExampleCache_All() {
	users := open(covey.Options[string]{})
	defer users.Close()
	_ = users.PutMany(context.Background(), map[string]string{"1": "Ada", "2": "Grace"})
	all := maps.Collect(users.All())
	fmt.Println(slices.Sorted(maps.Values(all)))
	// Output: [Ada Grace]
}

func ExampleCache_Stats() {
	users := open(covey.Options[string]{})
	defer users.Close()
	load := func(_ context.Context, id string) (string, error) { return "user " + id, nil }
	for range 4 {
		_, _ = users.Get(context.Background(), "42", load)
	}
	s := users.Stats()
	fmt.Println(s.Loads, s.Hits, s.HitRatio())
	// Output: 1 3 0.75
}

func ExampleCache_SetMaxBytes() {
	users := open(covey.Options[string]{MaxBytes: 1 << 20})
	defer users.Close()
	for i := range 1000 {
		_ = users.Put(context.Background(), fmt.Sprint(i), "somebody")
	}
	fmt.Println(users.SetMaxBytes(10_000), users.Stats().Bytes <= 10_000)
	// Output: <nil> true
}

func ExampleLoadInfo() {
	tokens := open(covey.Options[string]{TTL: time.Hour})
	defer tokens.Close()
	ctx := context.Background()
	_, _ = tokens.Get(ctx, "service", func(ctx context.Context, _ string) (string, error) {
		covey.LoadInfo(ctx).SetTTL(time.Minute) // the token itself says how long it lasts
		return "secret", nil
	})
	e, _, _ := tokens.Lookup(ctx, "service")
	fmt.Println(e.TTL <= time.Minute)
	// Output: true
}

func ExampleEvents() {
	users := open(covey.Options[string]{
		MaxEntries: 1,
		Events: covey.Events[string]{
			Removed: func(r covey.Removal[string]) { fmt.Println(r.Key, r.Value, r.Cause) },
		},
	})
	defer users.Close()
	ctx := context.Background()
	_ = users.Put(ctx, "1", "Ada")
	_ = users.Put(ctx, "1", "Ada Lovelace")
	_ = users.Put(ctx, "2", "Grace")
	_ = users.Delete(ctx, "2")
	// Output:
	// 1 Ada replaced
	// 1 Ada Lovelace evicted
	// 2 Grace deleted
}

// A cache has strings as keys. Give each kind of key a type, and each cache a type that takes it:
// then no call can mix them up, and the way a key is spelt is in one place.
func Example_typedKeys() {
	users := userCache{open(covey.Options[string]{TTL: time.Minute})}
	defer users.c.Close()
	name, err := users.get(context.Background(), userID{tenant: "acme", n: 42})
	fmt.Println(name, err)
	// Output: user 42 of acme <nil>
}

type userID struct {
	tenant string
	n      int
}

// key spells the ID: the part that may contain anything comes last, so that no two IDs have the
// same key.
func (id userID) key() string { return strconv.Itoa(id.n) + "/" + id.tenant }

type userCache struct{ c *covey.Cache[string] }

func (u userCache) get(ctx context.Context, id userID) (string, error) {
	return u.c.Get(ctx, id.key(), func(context.Context, string) (string, error) {
		return fmt.Sprintf("user %d of %s", id.n, id.tenant), nil
	})
}

func ExampleLoaderTTL() {
	tokens := open(covey.Options[string]{})
	defer tokens.Close()
	load := covey.LoaderTTL(func(context.Context, string) (string, time.Duration, error) {
		return "a token", time.Hour, nil // the token says how long it lasts
	})
	token, _ := tokens.Get(context.Background(), "api", load)
	e, _ := tokens.Peek("api")
	fmt.Println(token, e.TTL > 50*time.Minute)
	// Output: a token true
}

func ExampleSnapshot() {
	dir, err := os.MkdirTemp("", "covey")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	o := covey.Options[string]{
		TTL:      10 * time.Minute,
		Snapshot: covey.Snapshot{Path: filepath.Join(dir, "users.snapshot")},
	}
	users := open(o)
	_, _ = users.Get(context.Background(), "42", func(context.Context, string) (string, error) { return "user 42", nil })
	_ = users.Close()

	users = open(o) // in the next process
	defer users.Close()
	name, err := users.Get(context.Background(), "42", nil) // without a loader
	fmt.Println(name, err)
	// Output: user 42 <nil>
}
