package main

// trial_covey.go is Covey in a trial.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/coveycache/covey"
)

// snapshotEvery is how often a snapshot is written.
const snapshotEvery = 2 * time.Second

type coveyTrial struct {
	config   trialConfig
	ledger   *ledger
	listener net.Listener
	self     string
	list     *listed
	group    *covey.Group
	cache    *covey.Cache[[]byte]
}

func newCoveyTrial(c trialConfig, l *ledger, listener net.Listener) *coveyTrial {
	return &coveyTrial{config: c, ledger: l, listener: listener, self: "http://" + listener.Addr().String() + covey.DefaultPath}
}

// listed is a Discovery whose list changes when the parent says so. A member of a name of its own is
// listed as NAME=URL.
type listed struct {
	mu      sync.Mutex
	members []covey.Member
	changed chan struct{}
}

func (l *listed) set(peers []string) {
	var members []covey.Member
	for _, p := range peers {
		m := covey.Member{URL: p}
		if name, url, ok := strings.Cut(p, "="); ok {
			m = covey.Member{Name: name, URL: url}
		}
		members = append(members, m)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members = members
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *listed) Watch(ctx context.Context, update func([]covey.Member)) error {
	for {
		l.mu.Lock()
		members, changed := l.members, l.changed
		l.mu.Unlock()
		update(members)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (t *coveyTrial) join(peers []string) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	if os.Getenv("COVEY_TRIAL_LOG") != "" {
		quiet = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("process", t.config.Place)
	}
	if !t.config.Alone {
		t.list = &listed{changed: make(chan struct{})}
		t.list.set(peers)
		o := covey.GroupOptions{Self: t.self, Name: t.config.Name, Discovery: t.list, Listener: t.listener, MinMembers: min(len(peers), 3), Logger: quiet}
		if d := t.config.Delay; d > 0 {
			o.Listener, o.Dial = delayedListener{t.listener, d}, dialDelayed(d)
		}
		if t.group, err = covey.NewGroup(o); err != nil {
			return err
		}
	}
	o := covey.Options[[]byte]{MaxBytes: 256 << 20, Group: t.group, Replicas: t.config.Replicas, Loader: t.load, Logger: quiet}
	if t.config.Snapshot != "" {
		o.Snapshot = covey.Snapshot{Path: t.config.Snapshot, Interval: snapshotEvery}
		if t.config.Trust {
			reflect.ValueOf(&o.Snapshot).Elem().FieldByName("Trust").SetBool(true)
		}
	}
	t.cache, err = covey.New("trial", o)
	return err
}

// hasTrust reports whether this version of Covey can trust the snapshots of a group.
func hasTrust() bool {
	_, ok := reflect.TypeFor[covey.Snapshot]().FieldByName("Trust")
	return ok
}

func (t *coveyTrial) load(ctx context.Context, name string) ([]byte, error) {
	var key int
	if _, err := fmt.Sscanf(name, "item:%d", &key); err != nil {
		return nil, err
	}
	info := covey.LoadInfo(ctx)
	known, knows := info.StaleVersion()
	version, ok := t.ledger.load(key, known, knows)
	if !ok {
		return nil, covey.ErrNotFound
	}
	info.SetVersion(version)
	if knows && known == version {
		return nil, covey.ErrUnchanged
	}
	return encodeTrial(key, version), nil
}

func (t *coveyTrial) relist(peers []string) { t.list.set(peers) }

func (t *coveyTrial) get(ctx context.Context, key int) (uint64, bool, error) {
	v, err := t.cache.Get(ctx, trialKey(key), nil)
	if errors.Is(err, covey.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return t.config.decode(t.ledger, key, v), true, nil
}

func (t *coveyTrial) lookup(ctx context.Context, key int) (uint64, bool, error) {
	e, ok, err := t.cache.Lookup(ctx, trialKey(key))
	if err != nil || !ok || e.NotFound {
		return 0, false, err
	}
	return t.config.decode(t.ledger, key, e.Value), true, nil
}

func (t *coveyTrial) getMany(ctx context.Context, keys []int) (map[int]uint64, error) {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = trialKey(key)
	}
	values, err := t.cache.GetMany(ctx, names, nil)
	versions := make(map[int]uint64, len(keys))
	for i, key := range keys {
		if v, ok := values[names[i]]; ok {
			versions[key] = t.config.decode(t.ledger, key, v)
		}
	}
	return versions, err
}

func (t *coveyTrial) put(ctx context.Context, key int, version uint64) error {
	err := t.cache.Put(ctx, trialKey(key), encodeTrial(key, version), covey.WithVersion(version))
	if errors.Is(err, covey.ErrOutdated) {
		return nil // a load was faster
	}
	return err
}

// delete: of every second key without a version.
func (t *coveyTrial) delete(ctx context.Context, key int, version uint64) error {
	if key/100%2 == 0 {
		return t.cache.Delete(ctx, trialKey(key))
	}
	return t.cache.Delete(ctx, trialKey(key), covey.DeletedAt(version))
}

func (t *coveyTrial) owner(key int) string { return t.group.Owner(trialKey(key)) }

func (t *coveyTrial) state() (int, uint64) {
	if t.config.Alone {
		return 1, 1
	}
	s := t.group.Stats()
	if !s.Acting || !s.Settled {
		return 0, s.Epoch
	}
	return s.Members, s.Epoch
}

func (t *coveyTrial) ready() error {
	if t.config.Alone {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return t.group.Ready(ctx)
}

func (t *coveyTrial) leave() error {
	var err error
	if !t.config.Alone {
		err = t.group.Shutdown(context.Background())
	}
	return errors.Join(err, t.cache.Close())
}
