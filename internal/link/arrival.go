package link

// arrival.go takes in values that come in pieces. Their memory grows as the
// pieces come, whatever the other end has announced, and all links of a process
// share one bound for it. Over the bound a link that has much waits: it gives the
// other end no credit for more pieces, and everything else on the link goes on.
// Since links that all wait with half a value would wait for ever, the first of
// them goes on until it has little.

import (
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/coveycache/covey/internal/wire"
)

// An arrival is a frame whose value comes in pieces. They are gathered in a
// strings.Builder because its memory is not cleared first: to clear 16 MiB
// would hold up everything else on the link for milliseconds.
type arrival struct {
	frame wire.Frame
	value *strings.Builder
	room  int // bytes of memory
}

const (
	firstRoom  = 64 << 10 // for a value, in bytes
	roomGrowth = 4        // by this factor, so that little is copied twice

	littleRoom = maxBulkWindow // for all values of a link: as much as may come without credit
)

// growth returns by how many bytes the memory has to grow for n bytes more.
func (a *arrival) growth(n int) int {
	need := a.value.Len() + n
	if need <= a.room {
		return 0
	}
	return min(int(a.frame.Size), max(roomGrowth*a.room, firstRoom, need)) - a.room
}

// write adds part of the value, after the memory has grown by that many bytes.
func (a *arrival) write(b []byte, growth int) {
	if growth > 0 {
		a.room += growth
		bigger := new(strings.Builder)
		bigger.Grow(a.room)
		bigger.WriteString(a.value.String())
		a.value = bigger
	}
	a.value.Write(b)
}

// arrive begins to take in a value that comes in pieces.
func (l *Link) arrive(f *wire.Frame) error {
	cfg := &l.node.cfg
	if f.Size == 0 || f.Size > uint64(cfg.MaxValue) || len(l.in.streams) >= cfg.maxStreams || l.in.streams[f.Stream] != nil ||
		!f.Type.IsRequest() && !f.Type.IsAnswer() {
		return ErrProtocol
	}
	if l.in.streams == nil {
		l.in.streams = make(map[uint32]*arrival)
	}
	l.in.streams[f.Stream] = &arrival{frame: f.Clone(), value: new(strings.Builder)}
	return nil
}

// piece begins to take in a piece of n bytes.
func (l *Link) piece(stream uint32, n int) error {
	a := l.in.streams[stream]
	if a == nil || n == 0 || n > int(a.frame.Size)-a.value.Len() {
		return ErrProtocol
	}
	l.in.arrival, l.in.left = a, n
	return nil
}

// gather takes in the next bytes of a piece.
func (l *Link) gather(b []byte) error {
	a := l.in.arrival
	grown := a.growth(len(b))
	if l.exchange != nil {
		if err := l.exchange.memory.take(l.exchange.ctx, grown); err != nil {
			return err
		}
	}
	a.write(b, grown)
	l.in.left -= len(b)
	whole := a.value.Len() == int(a.frame.Size)
	if whole {
		delete(l.in.streams, a.frame.Stream)
		grown -= a.room // it is the handler's from here on
	}
	switch {
	case l.exchange != nil:
		if whole {
			l.exchange.memory.give(a.room)
		}
	case l.served == nil: // else the body that it comes in is counted
		if err := l.node.arrivals.took(l, len(b), grown); err != nil {
			return err
		}
	}
	if !whole {
		return nil
	}
	value := a.value.String() // nobody else has it
	a.frame.Value = unsafe.Slice(unsafe.StringData(value), len(value))
	return l.dispatch(&a.frame)
}

// arrivals is what all links of a node are taking in. Its mutex is taken before
// a link's.
type arrivals struct {
	max int

	mu      sync.Mutex
	bytes   int     // of memory
	waiting []*Link // over max: the one that goes on, and those that wait behind it
}

// share is a link's part in the arrivals of its node, guarded by their mutex.
type share struct {
	bytes int   // of memory
	owed  int   // credit not given for what has come
	since int64 // when something came or was credited last
}

// took takes note that n bytes of pieces have come over l, whose memory has
// grown by that many bytes.
func (s *arrivals) took(l *Link, n, grown int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += grown
	l.share.bytes += grown
	l.share.owed += n
	l.share.since = l.node.now()
	if l.share.owed > maxBulkWindow { // it sends without credit
		return ErrProtocol
	}
	if !slices.Contains(s.waiting, l) {
		s.waiting = append(s.waiting, l)
	}
	s.goOn()
	return nil
}

// leave forgets a link that is down.
func (s *arrivals) leave(l *Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= l.share.bytes
	l.share = share{}
	if i := slices.Index(s.waiting, l); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	s.goOn()
}

// stalled reports whether l could go on with a value, and nothing has come of it
// for a whole OpTimeout.
func (s *arrivals) stalled(l *Link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.share.bytes > 0 && l.share.owed == 0 && l.node.now()-l.share.since > int64(l.node.cfg.OpTimeout)
}

// goOn gives credit to those who wait: to all within the bound, else up to the
// first that has much. The arrivals are locked.
func (s *arrivals) goOn() {
	for len(s.waiting) > 0 {
		first := s.waiting[0]
		first.giveCredit()
		if s.bytes > s.max && first.share.bytes > littleRoom {
			return
		}
		s.waiting = slices.Delete(s.waiting, 0, 1)
	}
}

// giveCredit lets the other end send as many bytes of pieces as have come. The
// arrivals are locked.
func (l *Link) giveCredit() {
	if l.share.owed == 0 {
		return
	}
	l.mu.Lock()
	l.out.control(&wire.Frame{Type: wire.Credit, Size: uint64(l.share.owed)})
	l.rouse()
	l.mu.Unlock()
	l.share.owed, l.share.since = 0, l.node.now()
}
