package main

// group_systems.go puts what can hold values for other processes behind one small interface.

import (
	"context"
	"errors"
	"fmt"

	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/coveycache/covey"
	"github.com/golang/groupcache"
	pb "github.com/golang/groupcache/groupcachepb"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// openGroupClient makes this process one of a system. url is where the others reach it.
func openGroupClient(name string, args []string, p *groupProcess) (c groupClient, url string, err error) {
	switch name {
	case "covey":
		c, url, err = newCoveyPeer(p)
	case "groupcache", "groupcache-tuned":
		c, url, err = newGroupcachePeer(p, name == "groupcache-tuned")
	case "redis+rueidis", "redis+rueidis-mget":
		c, err = newRueidis(p, args[0], name == "redis+rueidis-mget")
	case "redis+go-redis":
		c = &goRedis{p, redis.NewClient(&redis.Options{Addr: args[0], PoolSize: 64})}
	case "memcached+gomemcache":
		client := memcache.New(args[0])
		client.MaxIdleConns, client.Timeout = 256, 10*time.Second
		c = &gomemcache{p, client}
	default:
		err = fmt.Errorf("there is no system %q", name)
	}
	return c, url, err
}

// coveyPeer: L1 holds a fifth of the keys of the Zipf load.
type coveyPeer struct {
	p        *groupProcess
	self     string
	listener net.Listener
	group    *covey.Group
	remotes  *covey.Cache[[]byte] // without local copies
	shared   *covey.Cache[[]byte] // with
	passed   *covey.Cache[[]byte] // without a loader of its own
}

func newCoveyPeer(p *groupProcess) (*coveyPeer, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	c := &coveyPeer{p: p, listener: l, self: "http://" + l.Addr().String()}
	return c, c.self, nil
}

func (c *coveyPeer) join(peers []string) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	c.group, err = covey.NewGroup(covey.GroupOptions{Self: c.self, Discovery: covey.StaticPeers(peers...), Listener: c.listener, Logger: quiet})
	if err != nil {
		return err
	}
	load := func(_ context.Context, key string) ([]byte, error) { return c.p.load(key), nil }
	o := covey.Options[[]byte]{MaxBytes: 256 << 20, TTL: time.Hour, Group: c.group, L1: -1, Loader: load, Logger: quiet}
	if c.remotes, err = covey.New("remotes", o); err != nil {
		return err
	}
	o.Loader = nil
	if c.passed, err = covey.New("passed", o); err != nil {
		return err
	}
	o.Loader, o.L1 = load, int64(c.p.zipf/5*zipfCopy)
	c.shared, err = covey.New("shared", o)
	return err
}

// zipfCopy is about what a local copy of the Zipf load takes: 11 bytes of key, 100 of value, entry,
// index and loan.
const zipfCopy = 285

// await waits until the group is complete.
func (c *coveyPeer) await() {
	for c.group.Stats().Members < groupPeers {
		time.Sleep(10 * time.Millisecond)
	}
	_ = c.group.Ready(context.Background())
}

func (c *coveyPeer) remote(key string) bool {
	return c.group.Owner(key) != c.group.Name()
}

func (c *coveyPeer) get(ctx context.Context, key string) ([]byte, error) {
	if len(key) > 5 && key[:5] == "item:" {
		return c.shared.Get(ctx, key, nil)
	}
	return c.remotes.Get(ctx, key, nil)
}

func (c *coveyPeer) getMany(ctx context.Context, keys []string) (int, error) {
	m, err := c.remotes.GetMany(ctx, keys, nil)
	return len(m), err
}

func (c *coveyPeer) put(ctx context.Context, key string, value []byte, version uint64) error {
	err := c.shared.Put(ctx, key, value, covey.WithVersion(version))
	if errors.Is(err, covey.ErrOutdated) {
		return nil // somebody was faster, with a newer one
	}
	return err
}

func (c *coveyPeer) served() int64 {
	return c.remotes.Stats().Served + c.shared.Stats().Served
}

// herd gets the key of the load.
func (c *coveyPeer) herd(ctx context.Context, l load) ([]byte, error) {
	if !l.Passed {
		return c.remotes.Get(ctx, l.Key, nil)
	}
	return c.passed.Get(ctx, l.Key, func(_ context.Context, key string) ([]byte, error) { return c.p.load(key), nil })
}

func (c *coveyPeer) ownedBy(index int, prefix string) string {
	peers := c.group.Peers()
	for i := 0; ; i++ {
		if key := fmt.Sprint(prefix, "-", i); c.group.Owner(key) == peers[index].Name {
			return key
		}
	}
}

// groupcachePeer keeps nothing of what others own, so that every get goes to the owner.
type groupcachePeer struct {
	p     *groupProcess
	self  string
	pool  *groupcache.HTTPPool
	group *groupcache.Group
}

func newGroupcachePeer(p *groupProcess, tuned bool) (*groupcachePeer, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	c := &groupcachePeer{p: p, self: "http://" + l.Addr().String()}
	c.pool = groupcache.NewHTTPPoolOpts(c.self, &groupcache.HTTPPoolOptions{})
	if tuned {
		transport := &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 512, DisableCompression: true}
		c.pool.Transport = func(context.Context) http.RoundTripper { return transport }
	}
	c.group = groupcache.NewGroup("bench", 256<<20, groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
		return dest.SetBytes(p.load(key))
	}))
	mux := http.NewServeMux()
	mux.Handle("/", c.pool)
	go func() { _ = http.Serve(l, mux) }()
	return c, c.self, nil
}

func (c *groupcachePeer) join(peers []string) error {
	c.pool.Set(peers...)
	return nil
}

func (c *groupcachePeer) remote(key string) bool {
	_, ok := c.pool.PickPeer(key)
	return ok
}

func (c *groupcachePeer) get(ctx context.Context, key string) (v []byte, err error) {
	// Past the hot cache, which would keep a tenth of what others own.
	peer, ok := c.pool.PickPeer(key)
	if !ok {
		err = c.group.Get(ctx, key, groupcache.AllocatingByteSliceSink(&v))
		return v, err
	}
	group := "bench"
	var answer pb.GetResponse
	err = peer.Get(ctx, &pb.GetRequest{Group: &group, Key: &key}, &answer)
	return answer.Value, err
}

func (c *groupcachePeer) getMany(context.Context, []string) (int, error) {
	return 0, errors.ErrUnsupported
}

func (c *groupcachePeer) put(context.Context, string, []byte, uint64) error {
	return errors.ErrUnsupported
}

func (c *groupcachePeer) served() int64 { return c.group.Stats.ServerRequests.Get() }

// What follows fills itself: a key that is missing is set.

type rueidisClient struct {
	p    *groupProcess
	c    rueidis.Client
	mget bool // many keys in one command, else in one batch of commands
}

func newRueidis(p *groupProcess, addr string, mget bool) (*rueidisClient, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	return &rueidisClient{p, c, mget}, err
}

func (r *rueidisClient) join([]string) error { return nil }
func (r *rueidisClient) remote(string) bool  { return true }
func (r *rueidisClient) served() int64       { return 0 }

func (r *rueidisClient) get(ctx context.Context, key string) ([]byte, error) {
	v, err := r.c.Do(ctx, r.c.B().Get().Key(key).Build()).AsBytes()
	if rueidis.IsRedisNil(err) {
		v = r.p.load(key)
		err = r.c.Do(ctx, r.c.B().Set().Key(key).Value(rueidis.BinaryString(v)).Build()).Error()
	}
	return v, err
}

func (r *rueidisClient) getMany(ctx context.Context, keys []string) (int, error) {
	if !r.mget {
		return r.getBatch(ctx, keys)
	}
	values, err := r.c.Do(ctx, r.c.B().Mget().Key(keys...).Build()).ToArray()
	found := 0
	for _, v := range values {
		if b, err := v.AsBytes(); err == nil && len(b) > 0 {
			found++
		}
	}
	return found, err
}

func (r *rueidisClient) getBatch(ctx context.Context, keys []string) (found int, err error) {
	commands := make(rueidis.Commands, len(keys))
	for i, key := range keys {
		commands[i] = r.c.B().Get().Key(key).Build()
	}
	for _, answer := range r.c.DoMulti(ctx, commands...) {
		b, err := answer.AsBytes()
		if err != nil {
			return found, err
		}
		if len(b) > 0 {
			found++
		}
	}
	return found, nil
}

func (r *rueidisClient) put(ctx context.Context, key string, value []byte, _ uint64) error {
	return r.c.Do(ctx, r.c.B().Set().Key(key).Value(rueidis.BinaryString(value)).Build()).Error()
}

type goRedis struct {
	p *groupProcess
	c *redis.Client
}

func (r *goRedis) join([]string) error { return nil }
func (r *goRedis) remote(string) bool  { return true }
func (r *goRedis) served() int64       { return 0 }

func (r *goRedis) get(ctx context.Context, key string) ([]byte, error) {
	v, err := r.c.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		v = r.p.load(key)
		err = r.c.Set(ctx, key, v, 0).Err()
	}
	return v, err
}

func (r *goRedis) getMany(ctx context.Context, keys []string) (int, error) {
	values, err := r.c.MGet(ctx, keys...).Result()
	found := 0
	for _, v := range values {
		if s, ok := v.(string); ok && len(s) > 0 {
			found++
		}
	}
	return found, err
}

func (r *goRedis) put(ctx context.Context, key string, value []byte, _ uint64) error {
	return r.c.Set(ctx, key, value, 0).Err()
}

type gomemcache struct {
	p *groupProcess
	c *memcache.Client
}

func (m *gomemcache) join([]string) error { return nil }
func (m *gomemcache) remote(string) bool  { return true }
func (m *gomemcache) served() int64       { return 0 }

func (m *gomemcache) get(_ context.Context, key string) ([]byte, error) {
	item, err := m.c.Get(key)
	if errors.Is(err, memcache.ErrCacheMiss) {
		v := m.p.load(key)
		return v, m.c.Set(&memcache.Item{Key: key, Value: v})
	}
	if err != nil {
		return nil, err
	}
	return item.Value, nil
}

func (m *gomemcache) getMany(_ context.Context, keys []string) (int, error) {
	items, err := m.c.GetMulti(keys)
	return len(items), err
}

func (m *gomemcache) put(_ context.Context, key string, value []byte, _ uint64) error {
	return m.c.Set(&memcache.Item{Key: key, Value: value})
}
