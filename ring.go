package covey

// ring.go says who owns a key: consistent hashing (Karger et al. 1997) with virtual nodes.

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strings"
	"unsafe"

	"github.com/dgryski/go-farm"
)

// A Member is one process of a group.
type Member struct {
	// Name identifies the member: it has to be unique, and may have 255 bytes at most. Default: URL
	// with its path. See GroupOptions.Name.
	Name string
	// URL is where the member's Group is mounted: http or https, host, port and perhaps a path
	// (default [DefaultPath]). How it is spelled makes no difference; see GroupOptions.Self. It is
	// required unless Weight is negative.
	URL string
	// Weight is the member's share of the keys in relation to those of the others. 0 means 1.
	// Negative means that it owns no keys and only asks the others.
	Weight int
	// Zone is where the member runs, such as a data centre. Replicas are in other zones than their
	// owners, as far as there are others (see Options.Replicas).
	Zone string
}

const (
	// pointsPerWeight keeps the fullest of 1,000 equal peers within 15 % of its fair share in 99 of
	// 100 rings.
	pointsPerWeight = 1024
	// maxPoints bounds the memory of a ring, 12 bytes a point: with more, all members get
	// proportionally fewer.
	maxPoints = 1 << 22
)

// A ring maps hashes of keys to members: each member has points on a circle, and a hash belongs to
// the first point at or after it. A ring does not change, so that lookups need no lock; a change of
// members makes a new one.
type ring struct {
	members     []Member // by name, weights filled in
	perWeight   float64  // how many points a member has for each unit of weight
	fingerprint uint64   // of the members and of how points are made; 0 = no members
	hashes      []uint64 // of the points, ascending
	owners      []uint32 // of the points, indexes into members
	start       []uint32 // by a hash's top bits: the first point with these or higher ones
	shift       uint8    // hash >> shift are the top bits
	zones       int      // in which members are, "" among them
	zoned       bool     // they are in several
}

// newRing makes a ring of those members whose weight is not negative. Of several with one name the
// first counts.
func newRing(members []Member) *ring { return new(ring).with(members) }

// with returns the ring that newRing makes of members. The points that r has are not made and sorted
// again: in a ring of 1,000 members that would take 30 times as long.
func (r *ring) with(members []Member) *ring {
	next := &ring{}
	total := 0.0
	seen := make(map[string]bool, len(members))
	for _, m := range members {
		if m.Name == "" {
			m.Name = m.URL
		}
		if m.Weight < 0 || seen[m.Name] {
			continue
		}
		seen[m.Name] = true
		m.Weight = max(m.Weight, 1)
		total += float64(m.Weight)
		next.members = append(next.members, m)
	}
	if len(next.members) == 0 {
		return next
	}
	slices.SortFunc(next.members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	zones := make(map[string]bool)
	for _, m := range next.members {
		zones[m.Zone] = true
	}
	next.zones, next.zoned = len(zones), len(zones) > 1
	next.perWeight = min(pointsPerWeight, maxPoints/total)
	print := binary.LittleEndian.AppendUint64(nil, pointsPerWeight)
	for i, m := range next.members {
		print = binary.LittleEndian.AppendUint64(print, uint64(next.pointsOf(i)))
		print = binary.LittleEndian.AppendUint64(print, uint64(len(m.Name)))
		print = append(print, m.Name...)
	}
	next.fingerprint = max(1, farm.Fingerprint64(print))
	if next.fingerprint == r.fingerprint { // the names are the same, and so are the points
		next.hashes, next.owners, next.start, next.shift = r.hashes, r.owners, r.start, r.shift
		return next
	}
	next.place(r)
	return next
}

// pointsOf returns how many points a member has.
func (r *ring) pointsOf(i int) int {
	return max(1, int(math.Round(float64(r.members[i].Weight)*r.perWeight)))
}

// place makes the points of r. Those of members who have as many in old are taken from there.
func (r *ring) place(old *ring) {
	const gone = math.MaxUint32
	moved := make([]uint32, len(old.members)) // by their index in old, the members whose points stay
	for i := range moved {
		moved[i] = gone
	}
	type point struct {
		hash  uint64
		owner uint32
	}
	var fresh []point
	var buf []byte
	n := 0
	for i := range r.members {
		name, points := r.members[i].Name, r.pointsOf(i)
		n += points
		if at := old.index(name); at >= 0 && old.pointsOf(at) == points {
			moved[at] = uint32(i)
			continue
		}
		// A point is the hash of its number in 4 bytes and the name: no two of them are made of the
		// same bytes.
		for j := range points {
			buf = binary.LittleEndian.AppendUint32(buf[:0], uint32(j))
			buf = append(buf, name...)
			fresh = append(fresh, point{farm.Fingerprint64(buf), uint32(i)})
		}
	}
	slices.SortFunc(fresh, func(a, b point) int {
		switch {
		case a.hash < b.hash || a.hash == b.hash && a.owner < b.owner:
			return -1
		case a == b:
			return 0
		}
		return 1
	})
	hashes, owners, n := make([]uint64, n), make([]uint32, n), 0
	add := func(p point) {
		hashes[n], owners[n] = p.hash, p.owner
		n++
	}
	for i, hash := range old.hashes { // both are sorted, and members are in the same order in both rings
		owner := moved[old.owners[i]]
		if owner == gone {
			continue
		}
		for len(fresh) > 0 && (fresh[0].hash < hash || fresh[0].hash == hash && fresh[0].owner < owner) {
			add(fresh[0])
			fresh = fresh[1:]
		}
		hashes[n], owners[n] = hash, owner
		n++
	}
	for _, p := range fresh {
		add(p)
	}
	r.hashes, r.owners = hashes, owners
	top := bits.Len(uint(n))
	r.shift = uint8(64 - top)
	r.start = make([]uint32, 1<<top+1)
	for at, hash := range hashes {
		r.start[hash>>r.shift+1] = uint32(at + 1)
	}
	at := uint32(0)
	for i, after := range r.start { // no point has those bits: as before them
		at = max(at, after)
		r.start[i] = at
	}
}

// ringHash is the hash by which keys and points lie on the circle. It is the same in every process
// and version.
func ringHash(key string) uint64 {
	return farm.Fingerprint64(unsafe.Slice(unsafe.StringData(key), len(key)))
}

// point returns the index of the first point at or after hash. There is one.
func (r *ring) point(hash uint64) int {
	i := int(r.start[hash>>r.shift])
	for i < len(r.hashes) && r.hashes[i] < hash {
		i++
	}
	if i == len(r.hashes) {
		return 0
	}
	return i
}

// owner returns the index of the member that owns a key with that hash, -1 if there are no members.
func (r *ring) owner(hash uint64) int {
	if len(r.hashes) == 0 {
		return -1
	}
	return int(r.owners[r.point(hash)])
}

// find appends to found the owner and the next distinct members clockwise, n at most.
func (r *ring) find(hash uint64, n int, found []int) []int {
	n = min(n, len(r.members))
	if n <= 0 {
		return found
	}
	for i := r.point(hash); n > 0; i++ {
		if i == len(r.owners) {
			i = 0
		}
		if o := int(r.owners[i]); !slices.Contains(found, o) {
			found = append(found, o)
			n--
		}
	}
	return found
}

// custodians appends to found who has a key with that hash in custody, n members at most: the owner,
// and then the next ones clockwise, first those whose zones none of the others is in.
func (r *ring) custodians(hash uint64, n int, found []int) []int {
	n = min(n, len(r.members))
	if !r.zoned || n <= 1 {
		return r.find(hash, n, found)
	}
	from := len(found)
	for _, apart := range [...]bool{true, false} {
		i := r.point(hash)
		for range r.owners {
			if len(found)-from >= n {
				return found
			}
			o := int(r.owners[i])
			if !slices.ContainsFunc(found[from:], func(f int) bool {
				return f == o || apart && r.members[f].Zone == r.members[o].Zone
			}) {
				found = append(found, o)
			}
			if i++; i == len(r.owners) {
				i = 0
			}
			if apart && len(found)-from >= r.zones {
				break
			}
		}
	}
	return found
}

// index returns the index of the member of that name, -1 if there is none.
func (r *ring) index(name string) int {
	i, ok := slices.BinarySearchFunc(r.members, name, func(m Member, name string) int { return strings.Compare(m.Name, name) })
	if !ok {
		return -1
	}
	return i
}

// shares returns the part of the keys that each member owns.
func (r *ring) shares() []float64 {
	s := make([]float64, len(r.members))
	for i, o := range r.owners {
		before := r.hashes[(i+len(r.hashes)-1)%len(r.hashes)]
		arc := r.hashes[i] - before // modulo 2^64, as the circle is
		if len(r.hashes) == 1 {
			arc = math.MaxUint64
		}
		s[o] += float64(arc) / (1 << 64)
	}
	return s
}
