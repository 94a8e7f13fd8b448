package main

// trial_clients.go puts what a trial compares behind one small interface. Values are a kilobyte that
// begins with the version and the key.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/golang/groupcache"
	"github.com/golang/groupcache/consistenthash"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// A trialClient is one process's side of a system. Keys are numbers, values are versions.
type trialClient interface {
	// join makes the process one of several, by URL.
	join(peers []string) error
	// relist says that these are there now.
	relist(peers []string)
	get(ctx context.Context, key int) (version uint64, ok bool, err error)
	lookup(ctx context.Context, key int) (version uint64, ok bool, err error)
	getMany(ctx context.Context, keys []int) (versions map[int]uint64, err error)
	put(ctx context.Context, key int, version uint64) error
	delete(ctx context.Context, key int, version uint64) error
	// owner returns the URL of the process that holds the key.
	owner(key int) string
	// state returns how many members there are, if the process is one of them, and a number of the list.
	state() (members int, epoch uint64)
	// ready waits until the process may have callers.
	ready() error
	// leave ends it in good order.
	leave() error
}

// A trialConfig says what a process of a trial is.
type trialConfig struct {
	System   string
	Place    int
	Ledger   string // file
	Address  string // to listen on
	Name     string // as a member; "" = its URL
	Server   string // of a system that has one
	Keys     int
	Replicas int
	Writes   bool
	Empty    bool          // begin without keys in the cache
	Delay    time.Duration // of what goes from one process to another
	Alone    bool          // without a group
	Snapshot string        // file; "" = none
	Trust    bool          // in the snapshot, if all others have ended, too
}

const trialValue = 1 << 10

func encodeTrial(key int, version uint64) []byte {
	v := make([]byte, trialValue)
	binary.LittleEndian.PutUint64(v, version)
	binary.LittleEndian.PutUint64(v[8:], uint64(key))
	return v
}

// decode returns the version of a value, and counts one that is not the key's.
func (c *trialConfig) decode(l *ledger, key int, v []byte) uint64 {
	if len(v) != trialValue || binary.LittleEndian.Uint64(v[8:]) != uint64(key) {
		l.of[c.Place].wrong.Add(1)
		return 1 << 63
	}
	return binary.LittleEndian.Uint64(v)
}

func openTrialClient(c trialConfig, l *ledger) (trialClient, string, error) {
	var listener net.Listener
	if c.Server == "" {
		if c.Address == "" {
			c.Address = "127.0.0.1:0"
		}
		var err error
		if listener, err = net.Listen("tcp", c.Address); err != nil {
			return nil, "", err
		}
	}
	switch c.System {
	case "covey", "covey-replicas":
		t := newCoveyTrial(c, l, listener)
		return t, t.self, nil
	case "groupcache":
		t := &groupcacheTrial{config: c, ledger: l, listener: listener, self: "http://" + listener.Addr().String()}
		return t, t.self, nil
	case "redis+rueidis":
		r, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{c.Server}, DisableCache: true})
		return &asideTrial{c, l, rueidisStore{r}}, "", err
	case "redis+go-redis":
		redis.SetLogger(noRedisLog{}) // else each dial that fails is a line
		return &asideTrial{c, l, goRedisStore{redis.NewClient(&redis.Options{Addr: c.Server, PoolSize: 64})}}, "", nil
	}
	return nil, "", fmt.Errorf("there is no system %q for a trial", c.System)
}

// groupcacheTrial is golang/groupcache as it comes, with its hot cache. It has no writes.
type groupcacheTrial struct {
	config   trialConfig
	ledger   *ledger
	listener net.Listener
	self     string
	pool     *groupcache.HTTPPool
	group    *groupcache.Group
	ring     *consistenthash.Map
}

func (t *groupcacheTrial) join(peers []string) error {
	t.pool = groupcache.NewHTTPPoolOpts(t.self, &groupcache.HTTPPoolOptions{})
	t.group = groupcache.NewGroup("trial", 256<<20, groupcache.GetterFunc(func(_ context.Context, name string, dest groupcache.Sink) error {
		var key int
		if _, err := fmt.Sscanf(name, "item:%d", &key); err != nil {
			return err
		}
		version, ok := t.ledger.load(key, 0, false)
		if !ok {
			return errMissing
		}
		return dest.SetBytes(encodeTrial(key, version))
	}))
	t.relist(peers)
	go func() { _ = http.Serve(t.listener, t.pool) }()
	return nil
}

func (t *groupcacheTrial) relist(peers []string) {
	t.pool.Set(peers...)
	t.ring = consistenthash.New(50, nil) // as the pool has it
	t.ring.Add(peers...)
}

func (t *groupcacheTrial) get(ctx context.Context, key int) (uint64, bool, error) {
	var v []byte
	if err := t.group.Get(ctx, trialKey(key), groupcache.AllocatingByteSliceSink(&v)); err != nil {
		return 0, false, err
	}
	return t.config.decode(t.ledger, key, v), true, nil
}

func (t *groupcacheTrial) lookup(ctx context.Context, key int) (uint64, bool, error) {
	return t.get(ctx, key)
}

func (t *groupcacheTrial) getMany(ctx context.Context, keys []int) (map[int]uint64, error) {
	return one(keys, func(key int) (uint64, bool, error) { return t.get(ctx, key) })
}

func (t *groupcacheTrial) put(context.Context, int, uint64) error    { return errors.ErrUnsupported }
func (t *groupcacheTrial) delete(context.Context, int, uint64) error { return errors.ErrUnsupported }
func (t *groupcacheTrial) owner(key int) string                      { return t.ring.Get(trialKey(key)) }
func (t *groupcacheTrial) state() (int, uint64)                      { return 0, 0 }
func (t *groupcacheTrial) ready() error                              { return nil }
func (t *groupcacheTrial) leave() error                              { return t.listener.Close() }

// one gets many keys one after another.
func one(keys []int, get func(int) (uint64, bool, error)) (map[int]uint64, error) {
	versions := make(map[int]uint64, len(keys))
	for _, key := range keys {
		version, ok, err := get(key)
		if err != nil {
			return nil, err
		}
		if ok {
			versions[key] = version
		}
	}
	return versions, nil
}

// asideTrial is a cache beside the database, on a server: who misses loads and stores; who writes
// stores in the database and then in the cache. If the server fails a read, the value is loaded.
type asideTrial struct {
	config trialConfig
	ledger *ledger
	store  asideStore
}

// An asideStore holds values; nil is one that it does not have.
type asideStore interface {
	get(ctx context.Context, key string) ([]byte, error)
	getMany(ctx context.Context, keys []string) ([][]byte, error)
	set(ctx context.Context, key string, v []byte) error
	delete(ctx context.Context, key string) error
}

func (t *asideTrial) join([]string) error  { return nil }
func (t *asideTrial) relist([]string)      {}
func (t *asideTrial) owner(int) string     { return "" }
func (t *asideTrial) state() (int, uint64) { return 0, 0 }
func (t *asideTrial) ready() error         { return nil }
func (t *asideTrial) leave() error         { return nil }

func (t *asideTrial) get(ctx context.Context, key int) (uint64, bool, error) {
	v, err := t.store.get(ctx, trialKey(key))
	return t.finish(ctx, key, v, err)
}

// finish loads what the server did not give.
func (t *asideTrial) finish(ctx context.Context, key int, v []byte, failure error) (uint64, bool, error) {
	if v != nil {
		return t.config.decode(t.ledger, key, v), true, nil
	}
	version, ok := t.ledger.load(key, 0, false)
	if ok && failure == nil {
		failure = t.store.set(ctx, trialKey(key), encodeTrial(key, version))
	}
	if failure != nil {
		t.ledger.of[t.config.Place].slots[t.ledger.slotAt(time.Now())].passed.Add(1)
	}
	return version, ok, nil
}

func (t *asideTrial) lookup(ctx context.Context, key int) (uint64, bool, error) {
	v, err := t.store.get(ctx, trialKey(key))
	if v == nil || err != nil {
		return 0, false, err
	}
	return t.config.decode(t.ledger, key, v), true, nil
}

func (t *asideTrial) getMany(ctx context.Context, keys []int) (map[int]uint64, error) {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = trialKey(key)
	}
	values, failure := t.store.getMany(ctx, names)
	if failure != nil {
		values = make([][]byte, len(keys))
	}
	at := 0
	return one(keys, func(key int) (uint64, bool, error) {
		at++
		return t.finish(ctx, key, values[at-1], failure)
	})
}

func (t *asideTrial) put(ctx context.Context, key int, version uint64) error {
	return t.store.set(ctx, trialKey(key), encodeTrial(key, version))
}

func (t *asideTrial) delete(ctx context.Context, key int, _ uint64) error {
	return t.store.delete(ctx, trialKey(key))
}

type rueidisStore struct{ c rueidis.Client }

func (s rueidisStore) get(ctx context.Context, key string) ([]byte, error) {
	v, err := s.c.Do(ctx, s.c.B().Get().Key(key).Build()).AsBytes()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return v, err
}

func (s rueidisStore) getMany(ctx context.Context, keys []string) ([][]byte, error) {
	answers, err := s.c.Do(ctx, s.c.B().Mget().Key(keys...).Build()).ToArray()
	values := make([][]byte, len(answers))
	for i, a := range answers {
		values[i], _ = a.AsBytes()
	}
	return values, err
}

func (s rueidisStore) set(ctx context.Context, key string, v []byte) error {
	return s.c.Do(ctx, s.c.B().Set().Key(key).Value(rueidis.BinaryString(v)).Build()).Error()
}

func (s rueidisStore) delete(ctx context.Context, key string) error {
	return s.c.Do(ctx, s.c.B().Del().Key(key).Build()).Error()
}

type noRedisLog struct{}

func (noRedisLog) Printf(context.Context, string, ...any) {}

type goRedisStore struct{ c *redis.Client }

func (s goRedisStore) get(ctx context.Context, key string) ([]byte, error) {
	v, err := s.c.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return v, err
}

func (s goRedisStore) getMany(ctx context.Context, keys []string) ([][]byte, error) {
	answers, err := s.c.MGet(ctx, keys...).Result()
	values := make([][]byte, len(answers))
	for i, a := range answers {
		if v, ok := a.(string); ok {
			values[i] = []byte(v)
		}
	}
	return values, err
}

func (s goRedisStore) set(ctx context.Context, key string, v []byte) error {
	return s.c.Set(ctx, key, v, 0).Err()
}

func (s goRedisStore) delete(ctx context.Context, key string) error {
	return s.c.Del(ctx, key).Err()
}
