package freq

import "strings"

// counters is how many of them there are: an estimate is too high by at most 1/512 of all requests.
const counters = 512

// A counter is what is known of one key.
type counter struct {
	hash  uint64
	key   string
	count uint64
	err   uint64 // count is too high by this at most
	at    uint16 // where in the heap
}

// spaceSaving counts with Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient Computation of
// Frequent and Top-k Elements in Data Streams", 2005): a key without a counter takes over the
// smallest one. The counters stay where they are. A heap has their places, the one with the
// smallest count first: what moves is two bytes long.
type spaceSaving struct {
	counters []counter
	heap     []uint16       // of indices of counters
	index    map[uint64]int // of counters by hash
}

func (s *spaceSaving) add(hash uint64, key string, n uint64) {
	i, ok := s.index[hash]
	switch {
	case ok:
		s.counters[i].count += n
	case len(s.counters) < counters:
		if s.index == nil {
			s.index = make(map[uint64]int, counters)
		}
		i = len(s.counters)
		s.counters = append(s.counters, counter{hash: hash, key: clip(key), count: n})
		s.index[hash] = i
		s.heap = append(s.heap, uint16(i))
		s.up(i)
	default:
		i = int(s.heap[0])
		smallest := s.counters[i]
		delete(s.index, smallest.hash)
		s.counters[i] = counter{hash: hash, key: clip(key), count: smallest.count + n, err: smallest.count}
		s.index[hash] = i
	}
	s.down(int(s.counters[i].at))
}

// up moves what is new at a place of the heap to where it belongs.
func (s *spaceSaving) up(at int) {
	i := s.heap[at]
	for at > 0 && s.counters[i].count < s.counters[s.heap[(at-1)/2]].count {
		s.put(at, s.heap[(at-1)/2])
		at = (at - 1) / 2
	}
	s.put(at, i)
}

// down moves what has grown at a place of the heap to where it belongs.
func (s *spaceSaving) down(at int) {
	i := s.heap[at]
	for {
		child := 2*at + 1
		if child >= len(s.heap) {
			break
		}
		if child+1 < len(s.heap) && s.counters[s.heap[child+1]].count < s.counters[s.heap[child]].count {
			child++
		}
		if s.counters[s.heap[child]].count >= s.counters[i].count {
			break
		}
		s.put(at, s.heap[child])
		at = child
	}
	s.put(at, i)
}

func (s *spaceSaving) put(at int, i uint16) {
	s.heap[at] = i
	s.counters[i].at = uint16(at)
}

func clip(key string) string { return strings.Clone(key[:min(len(key), MaxKey)]) }
