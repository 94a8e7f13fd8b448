package covey

// snapshot_trust.go has a group that was down as a whole go on with its members' snapshots (see
// Snapshot.Trust).
//
// A process that leaves in good order seals its snapshot when it can write no more: a second file
// says as of which view the snapshot is true, and what this process knows of writes that may have
// outdated its own or another one's. The seal is taken away when it is read, before the process
// takes part in anything. So a process that was killed has none.
//
// An owner that has to load a key asks all members what they have of it in snapshots, and takes the
// newest value, if these are the seals of all who have been members of the group that was, or had
// left it before the snapshot was taken, and none of them knows of a later write. No clock is part
// of that: what comes later is told by the epochs of the views. Within one view a process that has a
// key in custody is told of each write before it is done, so it knows itself what its snapshot
// lacks; the writes of later views are known to those who have made them.
//
// What happens after the start counts, too: who has written or loaded a key, or cleared the cache,
// says so. That knowledge ends with a process, so once any member has ended, or anything may have
// been missed, seals are worth nothing any more.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/snapfile"
	agreed "github.com/coveycache/covey/internal/view"
	"github.com/coveycache/covey/internal/wire"
)

const (
	trustBits  = 16               // writes are remembered by so many bits of the key's place
	trustFor   = 10 * time.Minute // since the start loads ask
	trustPeers = 32               // so many members may be asked
	trustSeen  = 1024             // so many that have left are remembered
	sealSuffix = ".seal"
)

// A seal is what the process that has left it knew. Epochs are of views of its lineage.
type seal struct {
	by      agreed.ID
	lineage uint64
	asOf    uint64 // the view by which its snapshot is true; 0: nobody knows
	floor   uint64 // it does not know what was written by the views up to this one
	upTo    uint64 // the last view that it knew of
	seen    []sighting
	moments []uint64 // by bucket: when a key was last written; see trust.note
	taken   int64    // the snapshot's time
}

// A sighting is the last view of which somebody was a member, as far as a process knew.
type sighting struct {
	id    agreed.ID
	epoch uint64
}

// A trust is what a cache with Snapshot.Trust knows: from the seal that it has found, if any, and
// for the next one.
type trust struct {
	began int64 // by the clock's steady

	past  atomic.Pointer[seal] // nil: there is none, or it is worth nothing any more
	ready atomic.Bool          // the snapshot has been read

	epoch   atomic.Uint64 // of the view in force
	last    atomic.Bool   // the last snapshot has been begun
	moments [1 << trustBits]atomic.Uint64

	mu     sync.Mutex
	next   seal // without moments
	clears int
	asked  *view  // whose members' seals have been asked for
	from   uint64 // what is true as of an earlier view does not count by these; never: nothing does
}

const nothingCounts = 1<<64 - 1

func trustBucket(key string) int { return int(ringHash(key) >> (64 - trustBits)) }

// note remembers that a key was written here, loaded, or dropped as its owner is about to write it:
// by which view, and whether the last snapshot had been begun. A write's shard is locked; what is
// dropped is gone already.
func (t *trust) note(key string) {
	if t == nil {
		return
	}
	at := 2 * t.epoch.Load()
	if t.last.Load() {
		at++
	}
	at = max(at, 1)
	m := &t.moments[trustBucket(key)]
	for old := m.Load(); old < at && !m.CompareAndSwap(old, at); old = m.Load() {
	}
}

// cleared notes a Clear, which has ended the generation before. What is from before it counts no
// more.
func (t *trust) cleared() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.past.Store(nil)
	t.next.floor = t.epoch.Load()
	t.next.asOf = 0
	t.clears++
}

// follow notes who is a member now. If anew, this process may have missed what came before.
func (t *trust) follow(v *view, anew bool) {
	if t == nil {
		return
	}
	if v.ended {
		t.past.Store(nil)
	}
	if v.tag == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &t.next
	switch {
	case v.me >= 0 && (anew || v.lineage != n.lineage):
		n.lineage, n.floor, n.upTo, n.seen = v.lineage, v.epoch, 0, nil
	case v.lineage != n.lineage:
		return // it is of no concern to what this process has done
	}
	t.epoch.Store(v.epoch)
	n.see(v.epoch, v.members)
}

// see notes members of a view.
func (s *seal) see(epoch uint64, members []agreed.Member) {
	s.upTo = max(s.upTo, epoch)
	for i := range members {
		at := slices.IndexFunc(s.seen, func(one sighting) bool { return one.id == members[i].ID })
		if at < 0 {
			at = len(s.seen)
			s.seen = append(s.seen, sighting{id: members[i].ID})
		}
		s.seen[at].epoch = epoch
	}
	if len(s.seen) > trustSeen {
		s.floor = epoch
		s.seen = slices.DeleteFunc(s.seen, func(one sighting) bool { return one.epoch < epoch })
	}
}

// beginLast has what is noted from here on be later than the last snapshot, which is to be written
// now. What it returns is for the end of that.
func (p *peering[V]) beginLast() (ended func()) {
	t := p.trust
	if t == nil || t.last.Swap(true) {
		return func() {}
	}
	t.mu.Lock()
	clears := t.clears
	t.mu.Unlock()
	for i := range p.c.shards { // a write that has not seen that has ended
		p.c.lockAt(i).unlock()
	}
	asOf := uint64(0)
	switch v := p.tenures.view(); {
	case v.me < 0:
	case v.hasSettled():
		asOf = v.epoch
	case v.prev != nil && v.prev.lineage == v.lineage: // by which some may still write
		asOf = v.prev.epoch
	}
	return func() { p.endLast(asOf, clears) }
}

// endLast notes that the last snapshot has been written. It is true if this process acted in the end,
// and has missed nothing: so nobody had written behind its back what it found to be valid.
func (p *peering[V]) endLast(asOf uint64, clears int) {
	on := p.c.snapshots.stats()
	if on.Err != nil || !p.group.isActing() {
		return
	}
	t := p.trust
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clears == clears && t.next.floor <= asOf { // or else it has missed views
		t.next.asOf, t.next.taken = asOf, on.At.UnixNano()
	}
}

// seal writes the seal. The group's links are closed.
func (p *peering[V]) seal() {
	t := p.trust
	if t == nil || p.c.closed.Load() || p.group.replaced.Load() {
		return
	}
	for i := range p.c.shards { // a write that began while this process acted has ended
		p.c.lockAt(i).unlock()
	}
	accepted := p.group.agreement.Accepted()
	t.mu.Lock()
	s := t.next
	s.by = agreed.ID{Name: p.group.opt.Name, Instance: p.group.instance}
	s.seen = slices.Clone(s.seen)
	t.mu.Unlock()
	if s.lineage == 0 {
		return
	}
	if accepted != nil && accepted.Lineage == s.lineage { // it may be in force elsewhere, or another one
		for i := range s.seen {
			if s.seen[i].epoch == s.upTo {
				s.seen[i].epoch = accepted.Epoch
			}
		}
		s.see(accepted.Epoch, accepted.Members)
	}
	b := s.encode()
	for i := range t.moments {
		b = binary.AppendUvarint(b, t.moments[i].Load())
	}
	if err := p.c.snapshots.writeSeal(b); err != nil {
		p.c.log.warn("covey: cannot seal the snapshot", "", "path", p.c.snapshots.path, "err", err)
	}
}

func (s *snapshots[V]) writeSeal(b []byte) error {
	w, err := snapfile.Create(s.path+sealSuffix, s.header())
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := w.Add(&snapfile.Record{Value: b}); err != nil {
		return err
	}
	return w.Commit()
}

// breakSeal reads the seal and takes it away. It returns nil if there is none that counts. If it is
// still there, where the next process would take it for this one's, it returns an error.
func (s *snapshots[V]) breakSeal() (*seal, error) {
	path := s.path + sealSuffix
	b, err := readSeal(path, s.c.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var found *seal
	if err == nil {
		found, err = parseSeal(b)
	}
	if gone := snapfile.Remove(path); gone != nil {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the seal of Options.Snapshot cannot be taken away, and would be taken for this process's later, by Trust: %w", gone)
		}
		found, err = nil, gone // it may come back
	}
	if err != nil {
		s.c.log.logger.Warn("covey: the snapshot's seal is not used", "path", path, "err", err)
	}
	return found, nil
}

func readSeal(path, cache string) ([]byte, error) {
	r, err := snapfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	if r.Header().Cache != cache {
		return nil, errOtherCache
	}
	records, err := r.Next()
	if err != nil {
		return nil, err
	}
	if r.Damaged() > 0 {
		return nil, snapfile.ErrDamaged
	}
	return records[0].Value, nil
}

// encode encodes a seal without its moments.
func (s *seal) encode() []byte {
	b := appendID(nil, s.by)
	for _, n := range [...]uint64{s.lineage, s.asOf, s.floor, s.upTo, uint64(s.taken), uint64(len(s.seen))} {
		b = binary.AppendUvarint(b, n)
	}
	for _, one := range s.seen {
		b = binary.AppendUvarint(appendID(b, one.id), one.epoch)
	}
	return b
}

func appendID(b []byte, id agreed.ID) []byte {
	b = binary.AppendUvarint(b, uint64(len(id.Name)))
	b = append(b, id.Name...)
	return binary.AppendUvarint(b, id.Instance)
}

// parseSeal decodes a seal, with its moments if there are any.
func parseSeal(b []byte) (*seal, error) {
	bad := false
	number := func() uint64 {
		n, k := binary.Uvarint(b)
		if bad = bad || k <= 0; bad {
			return 0
		}
		b = b[k:]
		return n
	}
	id := func() agreed.ID {
		n := number()
		if bad = bad || n > uint64(len(b)); bad {
			return agreed.ID{}
		}
		name := string(b[:n])
		b = b[n:]
		return agreed.ID{Name: name, Instance: number()}
	}
	s := &seal{by: id(), lineage: number(), asOf: number(), floor: number(), upTo: number(), taken: int64(number())}
	for n := number(); n > 0 && !bad; n-- {
		s.seen = append(s.seen, sighting{id(), number()})
	}
	if len(b) > 0 && !bad {
		s.moments = make([]uint64, 1<<trustBits)
		for i := range s.moments {
			s.moments[i] = number()
		}
	}
	if bad || len(b) > 0 {
		return nil, snapfile.ErrDamaged
	}
	return s, nil
}

// restored notes that the snapshot has been read. h is what it says of itself, nil if there is none.
func (t *trust) restored(h *snapfile.Header) {
	if t == nil {
		return
	}
	if s := t.past.Load(); s != nil && (h == nil || h.Written != s.taken || h.Instance != s.by.Instance) {
		s.asOf = 0 // the seal is another one's; nobody has seen this yet
	}
	t.ready.Store(true)
}

// trusts reports whether the owner of the key at that place may find it in a snapshot.
func (p *peering[V]) trusts(v *view, place uint64) bool {
	t := p.trust
	if t == nil || t.past.Load() == nil {
		return false
	}
	if p.c.store.clock.steady()-t.began > int64(trustFor) {
		t.past.Store(nil)
	}
	return v.owns(place) && v.hasSettled() && len(v.peers) <= trustPeers
}

// takeAside ends the flight with the newest value that a member has of the key in its snapshot, if
// that counts, and reports whether there is one.
func (p *peering[V]) takeAside(ctx context.Context, f *flight[V]) bool {
	_, label, v := p.present()
	if !p.trusts(v, ringHash(f.key)) {
		return false
	}
	gen, looks := p.looks(f, v)
	if !looks {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, peekFor)
	defer cancel()
	from, ok := p.weighSeals(ctx, v, label)
	if !ok {
		return false
	}
	answers, ok := p.askAll(ctx, v, &wire.Frame{Type: wire.Peek, Flags: wire.Aside, Cache: p.id, Key: f.key, Ring: v.tag, Clear: label})
	if !ok {
		return false
	}
	for i := range answers {
		from = max(from, answers[i].Count)
	}
	best := -1
	for i := range answers {
		a := &answers[i]
		if a.Type == wire.Hit && a.Token >= from && (best < 0 || a.Made > answers[best].Made || a.Made == answers[best].Made && a.Token > answers[best].Token) {
			best = i
		}
	}
	if best < 0 || !p.group.isActing() {
		return false
	}
	b := parcel[V]{p: p, gen: gen, view: v, from: best, arrived: p.c.store.clock.now()}
	answers[best].Key = f.key
	e := b.entry(&answers[best])
	if e == nil {
		return false
	}
	p.take(f, e, &answers[best])
	p.c.n.trusted.Add(1)
	return true
}

// weighSeals returns as of which view a snapshot has to be true to count, by what is known of those
// who were members. It asks for the seals once for each view.
func (p *peering[V]) weighSeals(ctx context.Context, v *view, label uint64) (from uint64, ok bool) {
	t := p.trust
	t.mu.Lock()
	asked, from := t.asked, t.from
	t.mu.Unlock()
	if asked != v {
		// Keys are not empty, but this one counts for nothing.
		answers, ok := p.askAll(ctx, v, &wire.Frame{Type: wire.Peek, Flags: wire.Aside | wire.Seal, Cache: p.id, Key: "-", Ring: v.tag, Clear: label})
		if !ok {
			return 0, false
		}
		seals := make([]*seal, len(answers))
		for i := range answers {
			if seals[i], _ = parseSeal(answers[i].Value); seals[i] == nil {
				return 0, false
			}
		}
		if from = weigh(seals); p.group.lacks(v, seals) {
			from = nothingCounts
		}
		t.mu.Lock()
		t.asked, t.from = v, from
		t.mu.Unlock()
	}
	return from, from != nothingCounts
}

// weigh returns as of which view a snapshot has to be true, so that nobody has written since who has
// not left one of these seals.
func weigh(seals []*seal) (from uint64) {
	there := make(map[agreed.ID]bool)
	last := make(map[agreed.ID]uint64)
	upTo := uint64(0)
	for _, s := range seals {
		if s.lineage != seals[0].lineage {
			return nothingCounts
		}
		there[s.by] = true
		upTo = max(upTo, s.upTo)
		for _, one := range s.seen {
			last[one.id] = max(last[one.id], one.epoch)
		}
	}
	for id, epoch := range last {
		switch {
		case there[id]:
		case epoch == upTo: // it may have gone on
			return nothingCounts
		default:
			from = max(from, epoch)
		}
	}
	return from
}

// lacks reports whether anybody is listed, and no member of v, that was one when these seals were
// left: it may have founded another group meanwhile, and may not be running any more.
func (g *Group) lacks(v *view, seals []*seal) bool {
	g.mu.Lock()
	listed := names(g.listed)
	g.mu.Unlock()
	for _, s := range seals {
		for _, one := range s.seen {
			if v.indexOf(one.id.Name) < 0 && slices.Contains(listed, one.id.Name) {
				return true
			}
		}
	}
	return false
}

// askAll asks all members, this process, too, and returns their answers. It returns false if any of
// them has none.
func (p *peering[V]) askAll(ctx context.Context, v *view, f *wire.Frame) (answers []wire.Frame, ok bool) {
	type result struct {
		from   int
		answer wire.Frame
	}
	results := make(chan result, len(v.peers))
	for i := range v.peers {
		if i == v.me {
			results <- result{i, *p.aside(f, nil)}
			continue
		}
		one := *f
		p.c.wg.Go(func() { results <- result{i, p.askAside(ctx, v, i, &one)} })
	}
	answers = make([]wire.Frame, len(v.peers))
	for range v.peers {
		select {
		case r := <-results:
			if r.answer.Type != wire.Hit && r.answer.Type != wire.Done {
				return nil, false
			}
			answers[r.from] = r.answer
		case <-ctx.Done():
			return nil, false
		}
	}
	return answers, true
}

// askAside asks a member. An answer without a type is none.
func (p *peering[V]) askAside(ctx context.Context, v *view, i int, f *wire.Frame) (answer wire.Frame) {
	if v.peers[i] == nil {
		return answer
	}
	l, err := v.peers[i].Link(ctx)
	if err != nil || p.differsAt(l) {
		return answer
	}
	answer, _ = p.callIn(ctx, v, l, f)
	return answer
}

// serveAside answers what this process has of a key in its snapshot.
func (p *peering[V]) serveAside(r *link.Request) {
	_, label, v := p.present()
	if r.Ring != v.tag || r.Clear != label {
		r.Answer(notOwner(v))
		return
	}
	r.Answer(p.aside(&r.Frame, r.Link()))
}

// aside answers a Peek of that kind: with the seal; or with the value that the snapshot has and, as
// Token, the view as of which that is true, as Count the one by which the key may last have been
// written. A NotOwner says that nothing counts. to is nil for this process itself.
func (p *peering[V]) aside(r *wire.Frame, to *link.Link) *wire.Frame {
	t := p.trust
	no := &wire.Frame{Type: wire.NotOwner}
	if t == nil || !t.ready.Load() {
		return no
	}
	past := t.past.Load()
	if past == nil {
		return no
	}
	f := &wire.Frame{Type: wire.Done}
	if r.Flags&wire.Seal != 0 {
		f.Value = past.encode()
		return f
	}
	at := trustBucket(r.Key)
	if t.moments[at].Load() != 0 {
		return no
	}
	f.Count = max(past.floor, past.moments[at]/2)
	n, now := p.c.aside.find(r.Key), p.c.store.clock.now()
	if n == nil || n.flags&flagUnsure != 0 || past.asOf == 0 || past.moments[at] > 2*past.asOf || n.expires != never && n.expires <= now {
		return f
	}
	if to != nil {
		p.encodeHit(f, n, to)
	} else if p.encode(f, entryOf[V](n).value) == nil {
		f.Type = wire.Hit
	}
	if f.Type != wire.Hit {
		return &wire.Frame{Type: wire.Done, Count: f.Count}
	}
	p.meta(f, n, now)
	f.LoadTime, f.Token = costOf(n.cost), past.asOf
	return f
}
