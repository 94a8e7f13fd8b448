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
	// Name identifies the member on the ring: it has to be unique and the same after a restart, and
	// may have 255 bytes at most. Default: URL with its path.
	Name string
	// URL is where the member's Group is mounted: http or https, host, port and perhaps a path
	// (default [DefaultPath]). How it is spelled makes no difference; see GroupOptions.Self. It is
	// required unless Weight is negative.
	URL string
	// Weight is the member's share of the keys in relation to those of the others. 0 means 1.
	// Negative means that it owns no keys and only asks the others.
	Weight int
	// Zone is where the member runs, for your information: nothing depends on it.
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
	fingerprint uint64   // of the members and of how points are made; 0 = no members
	hashes      []uint64 // of the points, ascending
	owners      []uint32 // of the points, indexes into members
	start       []uint32 // by a hash's top bits: the first point with these or higher ones
	shift       uint8    // hash >> shift are the top bits
}

// newRing makes a ring of those members whose weight is not negative. Of several with one name the
// first counts.
func newRing(members []Member) *ring {
	r := &ring{}
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
		r.members = append(r.members, m)
	}
	if len(r.members) == 0 {
		return r
	}
	slices.SortFunc(r.members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	perWeight := min(pointsPerWeight, maxPoints/total)

	type point struct {
		hash  uint64
		owner uint32
	}
	var points []point
	var buf []byte
	print := binary.LittleEndian.AppendUint64(nil, pointsPerWeight)
	for i, m := range r.members {
		n := max(1, int(math.Round(float64(m.Weight)*perWeight)))
		// A point is the hash of its number in 4 bytes and the name: no two of them are made of the
		// same bytes.
		for j := range n {
			buf = binary.LittleEndian.AppendUint32(buf[:0], uint32(j))
			buf = append(buf, m.Name...)
			points = append(points, point{farm.Fingerprint64(buf), uint32(i)})
		}
		print = binary.LittleEndian.AppendUint64(print, uint64(n))
		print = binary.LittleEndian.AppendUint64(print, uint64(len(m.Name)))
		print = append(print, m.Name...)
	}
	r.fingerprint = max(1, farm.Fingerprint64(print))
	slices.SortFunc(points, func(a, b point) int {
		switch {
		case a.hash < b.hash || a.hash == b.hash && a.owner < b.owner:
			return -1
		case a == b:
			return 0
		}
		return 1
	})
	r.hashes = make([]uint64, len(points))
	r.owners = make([]uint32, len(points))
	for i, p := range points {
		r.hashes[i], r.owners[i] = p.hash, p.owner
	}
	top := bits.Len(uint(len(points)))
	r.shift = uint8(64 - top)
	r.start = make([]uint32, 1<<top+1)
	at := 0
	for prefix := range r.start {
		for at < len(points) && r.hashes[at]>>r.shift < uint64(prefix) {
			at++
		}
		r.start[prefix] = uint32(at)
	}
	return r
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
