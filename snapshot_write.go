package covey

// snapshot_write.go writes a snapshot, without keeping anybody from using the cache.

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coveycache/covey/internal/snapfile"
)

// A snapshotSource is where the entries of a snapshot are.
type snapshotSource struct {
	table   func(i int) *table // that of the i-th shard; nil: it has none
	isValid func(n *node) bool // whether the entry still counted, when the cache was closed or now
}

// live is the cache as it is.
func (s *snapshots[V]) live() snapshotSource {
	return snapshotSource{func(i int) *table { return s.c.shards[i].table.Load() }, s.c.current}
}

// closed is what a cache that is closed has had, of a generation.
func (s *snapshots[V]) closed(dropped []*table, gen uint32) snapshotSource {
	isValid := s.c.current
	if s.c.peering == nil {
		isValid = func(n *node) bool { return n.gen.Load() == gen }
	}
	return snapshotSource{func(i int) *table {
		if dropped == nil {
			return nil
		}
		return dropped[i]
	}, isValid}
}

// A place is where an entry is found again: its node, with the value, must not be kept alive while
// a file is written, which takes long.
type place struct {
	order      uint64 // see policy.rank
	hash, slot uint32
}

var errNoTime = errors.New("covey: there was no time to write anything")

var errEnding = errors.New("covey: the cache is being closed")

// write writes a file. If until is nil it takes its time, and gives up with errEnding when the last
// file is due; else it hurries, and when until is closed the file has what has been written by
// then.
func (s *snapshots[V]) write(from snapshotSource, until <-chan struct{}) error {
	if s.isStuck() {
		return errHangs
	}
	p := snapshotWriter[V]{snapshots: s, until: until, from: from}
	places, err := p.places()
	if err != nil {
		return err
	}
	header := s.header()
	header.Records = uint64(len(places)) + uint64(s.c.store.asides.Load())
	p.at = s.c.store.clock.now()
	w, err := snapfile.Create(s.path, header)
	if err != nil {
		return err
	}
	defer w.Abort()
	p.Writer = w
	if err := p.fill(places); err != nil {
		return err
	}
	switch {
	case until == nil && s.c.closed.Load(): // meanwhile everything may have been taken out
		return errEnding
	case until != nil && w.Records() == 0 && len(places) > 0 && p.isOver():
		return errNoTime
	}
	if err := w.Commit(); err != nil {
		return err
	}
	s.mu.Lock()
	s.on.Entries, s.on.Bytes, s.on.At = w.Records(), w.Size(), time.Unix(0, header.Written)
	s.mu.Unlock()
	return nil
}

// A snapshotWriter is a file being written.
type snapshotWriter[V any] struct {
	*snapshots[V]
	*snapfile.Writer
	until <-chan struct{} // nil: there is time
	pace  pace
	from  snapshotSource
	at    int64 // the file's time, by the cache's clock
	nodes []*node
	uses  []uint8 // of each node: the low byte of its rank
	one   snapfile.Record
	held  int64 // bytes of their entries
	bytes []byte
	ends  []int // of each node's value in bytes; less than 0: it has none
	left  int   // entries that found no room
	aside bool  // they are those that have been kept aside
}

const (
	encodedAtOnce = 128      // values that are encoded at one go
	heldAtOnce    = 64 << 10 // bytes of them
)

// next is called between steps. The file ends here if it returns false.
func (p *snapshotWriter[V]) next() (on bool, err error) {
	p.progress.Add(1)
	if p.until != nil {
		return !p.isOver(), nil
	}
	if !p.pace.step(p.ending) {
		return false, errEnding
	}
	return true, nil
}

func (p *snapshotWriter[V]) isOver() bool {
	select {
	case <-p.until:
		return true
	default:
		return false
	}
}

// fill adds what is in those places.
func (p *snapshotWriter[V]) fill(places []place) error {
	if on, err := p.next(); !on {
		return err
	}
	for i, at := range places {
		if n := p.from.table(p.c.shardOf(at.hash)).resident(at.hash, at.slot, p.c.store.index.shift); n != nil && p.belongs(n) {
			p.nodes, p.uses = append(p.nodes, n), append(p.uses, uint8(at.order))
			p.held += int64(n.size)
		}
		if i == len(places)-1 || len(p.nodes) == encodedAtOnce || p.held >= heldAtOnce {
			if err := p.addAll(); err != nil || p.left > mostLeft {
				return err
			}
			if on, err := p.next(); !on {
				return err
			}
		}
	}
	// What nobody has asked for since it came from a snapshot may be asked for after the next
	// start.
	p.aside = true
	for i, more := 0, p.c.store.asides.Load() > 0; more; more = i > 0 {
		p.nodes, i = p.c.aside.some(i)
		p.uses = make([]uint8, len(p.nodes))
		if err := p.addAll(); err != nil || p.left > mostLeft {
			return err
		}
		if on, err := p.next(); !on {
			return err
		}
	}
	return nil
}

// places returns all entries, first those that should be kept longest.
func (p *snapshotWriter[V]) places() ([]place, error) {
	all := make([]place, 0, p.c.store.entries.Load())
	nodes := make([]*node, 0, batch)
	rank := func() {
		p.c.store.mu.Lock()
		for _, n := range nodes {
			all = append(all, place{p.c.store.policy.rank(n), n.hash, n.slot})
		}
		p.c.store.mu.Unlock()
		clear(nodes)
		nodes = nodes[:0]
	}
	for i := range p.c.shards {
		for n := range p.from.table(i).all {
			if !p.belongs(n) {
				continue
			}
			if nodes = append(nodes, n); len(nodes) == batch {
				rank()
				if on, err := p.next(); !on && err != nil {
					return nil, err
				}
			}
		}
	}
	rank()
	slices.SortFunc(all, func(a, b place) int { return cmp.Compare(b.order, a.order) })
	return all, nil
}

// belongs reports whether an entry is worth to be written.
func (p *snapshotWriter[V]) belongs(n *node) bool {
	return n.flags&flagBorrowed == 0 && p.from.isValid(n) && p.c.store.deadline(n) > p.c.store.clock.now()
}

// addAll adds the nodes.
func (p *snapshotWriter[V]) addAll() error {
	if err := p.encodeAll(); err != nil {
		return err
	}
	plain, isPlain := any(p.c.opt.Codec).(plainCodec[V])
	from := 0
	for i, n := range p.nodes {
		var value []byte
		switch {
		case n.flags&flagNegative != 0:
		case isPlain:
			value = plain.plain(entryOf[V](n).value)
		case p.ends[i] < 0:
			continue
		default:
			value, from = p.bytes[from:p.ends[i]], p.ends[i]
		}
		if limit := p.c.opt.Snapshot.MaxBytes; limit > 0 && p.Size()+snapfile.SizeOf(len(n.key), len(value)) > limit {
			p.left++
			continue
		}
		if err := p.Add(p.record(n, p.uses[i], value)); err != nil && !errors.Is(err, snapfile.ErrTooLarge) {
			return err
		}
	}
	clear(p.nodes)
	p.nodes, p.uses, p.held = p.nodes[:0], p.uses[:0], 0
	return nil
}

// mostLeft is how many entries may find no room in the file while it still looks for smaller ones.
const mostLeft = 100

// encodeAll encodes the values of the nodes by the user's codec.
func (p *snapshotWriter[V]) encodeAll() error {
	if !p.c.userCodec {
		return nil
	}
	p.bytes = p.bytes[:0]
	p.ends = slices.Grow(p.ends[:0], len(p.nodes))[:len(p.nodes)]
	for i := range p.ends {
		p.ends[i] = -1
	}
	// What is reached from here must not be used any more if the codec hangs.
	nodes, ends, buffer, codec := p.nodes, p.ends, p.bytes, p.c.opt.Codec
	err := p.eachApart("Codec.Append", len(nodes), func(i int) error {
		if nodes[i].flags&flagNegative != 0 {
			return nil
		}
		longer, err := codec.Append(buffer, entryOf[V](nodes[i]).value)
		if err == nil && len(longer) < len(buffer) {
			err = fmt.Errorf("covey: Codec.Append of %q returned less than it was given", codec.Name())
		}
		if err == nil {
			buffer, ends[i] = longer, len(longer)
		}
		return err
	}, func(i int, err error) {
		p.c.log.warn("covey: cannot encode a value for the snapshot", "", "key", nodes[i].key, "err", err)
	})
	if err == nil {
		p.bytes = buffer
	}
	return err
}

// record describes an entry.
func (p *snapshotWriter[V]) record(n *node, uses uint8, value []byte) *snapfile.Record {
	r := &p.one
	r.Key, r.Value = append(r.Key[:0], n.key...), value
	r.Flags, r.Uses = 0, uses
	r.TTL, r.Age, r.Idle, r.Cost = 0, time.Duration(p.at-n.born), 0, costOf(n.cost)
	r.Version, r.Stamp = n.version, n.stamp
	if n.expires == never {
		r.Flags |= snapfile.Forever
	} else {
		r.TTL = time.Duration(n.expires - p.at)
	}
	if p.aside {
		r.Flags |= snapfile.Aside
	}
	if n.flags&flagNegative != 0 {
		r.Flags |= snapfile.Negative
	}
	if n.flags&flagVersioned != 0 {
		r.Flags |= snapfile.Versioned
	}
	if p.c.store.idleFor > 0 {
		r.Idle = time.Duration(int32(idleUnits(p.at)-n.used.Load())) << idleBits
	}
	return r
}
