package covey

// snapshot_read.go has a new cache begin with what is in a snapshot. Whatever has happened since
// the cache was made is newer than that.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coveycache/covey/internal/snapfile"
)

// maxWrote is how many keys of a shard may have been written while the rest of the snapshot is
// read. After that nothing more is restored there.
const maxWrote = 1 << 16

// hasWritten notes that something was written, or loaded, for a key: what the snapshot has of it is
// older.
func (s *shard[V]) hasWritten(key string, hash uint32) {
	s.c.aside.drop(key)
	if s.wrote == nil {
		return
	}
	s.wrote[hash] = struct{}{}
	if len(s.wrote) > maxWrote {
		s.wrote = nil
	}
}

// leaveOut has nothing restored any more of the keys with a prefix. What has been restored is in the
// index, or aside.
func (s *snapshots[V]) leaveOut(prefix string) {
	s.c.store.mu.Lock()
	defer s.c.store.mu.Unlock()
	select {
	case <-s.restored:
	default:
		s.without = append(s.without, strings.Clone(prefix))
	}
}

// leavesOut reports whether a key has one of those prefixes. The policy lock is held.
func (s *snapshots[V]) leavesOut(key string) bool {
	return slices.ContainsFunc(s.without, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// Reasons not to use a file.
var (
	errOtherCache = errors.New("covey: it is of another cache")
	errOtherCodec = errors.New("covey: its values have another codec or Version")
	errFromFuture = errors.New("covey: it was written in the future, as the clock says, so nobody knows how old it is")
	errTooOld     = errors.New("covey: it is older than Snapshot.MaxAge")
)

// restore reads the file.
func (s *snapshots[V]) restore() {
	gen := s.c.store.gen.Load()
	var header *snapfile.Header
	r, err := s.open()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(s.path)); err != nil {
			s.c.log.logger.Warn("covey: the folder of the snapshot is not there", "path", s.path, "err", err)
		}
	case errors.Is(err, errOtherCodec), errors.Is(err, errTooOld):
		s.c.log.logger.Info("covey: the snapshot is not used", "path", s.path, "err", err)
	case err != nil:
		s.c.log.logger.Warn("covey: the snapshot is not used", "path", s.path, "err", err)
	default:
		h := r.Header()
		header = &h
		err := r.fill(gen)
		_ = r.Close()
		if err != nil || r.Damaged() > 0 {
			s.c.log.logger.Warn("covey: the snapshot is damaged, what is left of it is used", "path", s.path, "err", err, "blocks", r.Damaged())
		}
	}
	for i := range s.c.shards {
		sh := s.c.lockAt(i)
		sh.wrote = nil
		sh.unlock()
	}
	if s.c.peering != nil {
		s.c.peering.trust.restored(header)
	}
	close(s.restored)
}

// A snapshotReader is a file being read.
type snapshotReader[V any] struct {
	*snapshots[V]
	*snapfile.Reader
	base    int64 // the file's time, by the cache's clock
	entries []*entry[V]
}

// open opens the file if it may be used.
func (s *snapshots[V]) open() (*snapshotReader[V], error) {
	r, err := snapfile.Open(s.path)
	if err != nil {
		return nil, err
	}
	h := r.Header()
	age, err := s.ageOf(&h)
	switch {
	case h.Cache != s.c.name:
		err = fmt.Errorf("%w: %q", errOtherCache, h.Cache)
	case h.Codec != s.codec:
		err = fmt.Errorf("%w: %q", errOtherCodec, h.Codec)
	case err == nil && age > s.c.opt.Snapshot.MaxAge:
		err = fmt.Errorf("%w: %v", errTooOld, age)
	}
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return &snapshotReader[V]{snapshots: s, Reader: r, base: s.c.store.clock.now() - int64(age)}, nil
}

// ageOf returns how much time has passed since the file was written: by the wall clock or, if that
// was set back, by how long the machine has been running.
func (s *snapshots[V]) ageOf(h *snapfile.Header) (time.Duration, error) {
	age := time.Since(time.Unix(0, h.Written))
	if boot, up := bootTime(); boot != "" && boot == h.Boot {
		age = max(age, up-h.Uptime)
	}
	if age < 0 {
		return 0, fmt.Errorf("%w: %v", errFromFuture, time.Unix(0, h.Written))
	}
	return age, nil
}

// fill restores what fits, in the order of the file: what was used most comes first, and takes the
// place of nothing that is there. It returns what is wrong with the file.
func (r *snapshotReader[V]) fill(gen uint32) error {
	pace := pace{share: 2}               // the sooner it is there, the better
	hurry := time.Now().Add(restoreWait) // somebody waits in New
	for {
		records, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := r.decode(records); err != nil {
			r.c.log.warn("covey: the rest of the snapshot is not used", "", "path", r.path, "err", err)
			return nil
		}
		if !r.store(records, gen) {
			return nil
		}
		r.progress.Add(1)
		if time.Now().After(hurry) && !pace.step(r.ending) {
			return nil
		}
	}
}

// store stores the entries of records. It returns false if no more fit.
func (r *snapshotReader[V]) store(records []snapfile.Record, gen uint32) (more bool) {
	restored := int64(0)
	more = true
	for i := 0; i < len(r.entries) && more; i++ {
		if e := r.entries[i]; e != nil {
			var done bool
			if done, more = r.c.restore(e, gen, records[i].Uses, r.Records()); done {
				restored++
			}
		}
	}
	r.mu.Lock()
	r.on.Restored += restored
	r.mu.Unlock()
	return more
}

// restore stores an entry of a snapshot, or keeps it aside, if nothing is known of its key, under
// the generation that the cache had before anything could happen. There is no more to do if the
// cache is full or closed.
func (c *Cache[V]) restore(e *entry[V], gen uint32, uses uint8, of int) (done, more bool) {
	store := c.store
	store.mu.Lock()
	defer store.mu.Unlock()
	if store.closed || !store.fits(int64(e.size)) {
		return false, false
	}
	s := c.lock(e.hash)
	defer s.unlock()
	if s.wrote == nil || c.snapshots.leavesOut(e.key) {
		return false, true
	}
	if _, wrote := s.wrote[e.hash]; wrote || store.index.find(e.hash, e.key) != nil {
		return false, true
	}
	if c.peering != nil {
		c.aside.add(e)
		return true, true
	}
	e.gen.Store(gen)
	store.restore(s.segment, &e.node, uses, of)
	return true, true
}

// entry makes the entry of a record; nil if that is of no use any more.
func (r *snapshotReader[V]) entry(one *snapfile.Record) (*entry[V], error) {
	c, now := r.c, r.c.store.clock.now()
	limit := func(d time.Duration) int64 { return int64(max(-maxTTL, min(d, maxTTL))) }
	negative := one.Flags&snapfile.Negative != 0
	if negative && c.peering != nil { // nobody can confirm that
		return nil, nil
	}
	expires := int64(never)
	if one.Flags&snapfile.Forever == 0 {
		expires = r.base + limit(one.TTL)
		end := expires
		if !negative {
			end += c.store.staleFor
		}
		if end <= now {
			return nil, nil
		}
	}
	used := r.base - limit(one.Idle)
	if c.store.idleFor > 0 && used+c.store.idleFor <= now || checkKey(string(one.Key)) != nil {
		return nil, nil
	}
	key, value, size := string(one.Key), *new(V), 0
	if !negative {
		var err error
		if value, err = c.decode(one.Value); err != nil {
			return nil, err
		}
		if size = c.opt.Size(key, value); size < 0 {
			return nil, nil
		}
	}
	hash := c.store.hash(key)
	e := c.makeEntry(key, hash, size, value, r.base-limit(one.Age), used)
	if e == nil {
		return nil, nil
	}
	e.expires, e.cost = expires, costClass(one.Cost)
	switch {
	case negative:
		e.flags, e.guard = flagNegative, guardAlways
	default:
		e.guard = c.guardOf(&e.node, now)
	}
	e.stamp = one.Stamp
	if one.Flags&snapfile.Versioned != 0 {
		e.version = one.Version
		e.flags |= flagVersioned
	}
	if one.Flags&snapfile.Aside != 0 {
		e.flags |= flagUnsure
	}
	return e, nil
}

// decode returns the value that b encodes, which may be used again afterwards.
func (c *Cache[V]) decode(b []byte) (V, error) {
	if plain, ok := any(c.opt.Codec).(plainCodec[V]); ok {
		return plain.own(bytes.Clone(b)), nil
	}
	return c.opt.Codec.Decode(b)
}

// decode makes the entries of records, nil for those that are of no use any more.
func (r *snapshotReader[V]) decode(records []snapfile.Record) error {
	entries := make([]*entry[V], len(records))
	one := func(i int) (err error) {
		entries[i], err = r.entry(&records[i])
		return err
	}
	failed := func(i int, err error) {
		r.c.n.undecodable.Add(1)
		r.c.log.warn("covey: cannot decode a value of the snapshot", "", "key", string(records[i].Key), "err", err)
	}
	r.entries = entries
	if r.c.userCodec || r.c.userSize {
		return r.eachApart("Codec.Decode or Options.Size", len(records), one, failed)
	}
	for i := range records {
		if err := one(i); err != nil {
			failed(i, err)
		}
	}
	return nil
}
