package covey

// peer_many_owner.go is the owner's side of a GetMany by another peer.

import (
	"context"
	"strings"
	"sync"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// serveMany answers a request for many keys. For keys that are here, or that the other end is to
// load, it answers at once; for keys that are being loaded it answers one by one, as they come.
// ctx is as serveGet's.
func (p *peering[V]) serveMany(ctx context.Context, r *link.Request) {
	buf := p.buffer()
	answers := &manyAnswers{left: 1, items: (*buf)[:0]}
	var req wire.Frame
	gen := p.c.store.gen.Load()
	v := p.tenures.view()
	var b *bulk[V]
	var cancels []func()
	within := contextOf(ctx, p.group, &r.Frame)
	for items, keys := r.Items, 0; len(items) > 0; keys++ {
		var err error
		if items, err = wire.Next(items, &req); err != nil || keys == wire.MaxItems {
			answers.add(r.Op, &wire.Frame{Type: wire.Failed, Code: wire.CodeMalformed})
			break
		}
		hash := p.c.store.hash(req.Key)
		p.countServed(req.Key)
		index := req.Op
		if n := p.c.store.index.find(hash, req.Key); n != nil && p.c.store.fresh(n) && n.flags&flagBorrowed == 0 && p.group.isActing() {
			p.c.store.touch(n)
			p.c.hits.inc()
			var f wire.Frame
			p.encodeHit(&f, n, r.Link())
			answers.add(index, &f)
			continue
		}
		if err := checkKey(req.Key); err != nil {
			answers.add(index, &wire.Frame{Type: wire.Failed, Code: wire.CodeMalformed, Text: err.Error()})
			continue
		}
		if answers.op == nil {
			answers.op = r.Keep(func(*link.Op) {
				for _, cancel := range cancels {
					cancel()
				}
			})
		}
		req.Flags, req.Chain = r.Flags, r.Chain
		key := strings.Clone(req.Key)
		wait := func(cancelled func()) answerer {
			cancels = append(cancels, cancelled)
			answers.expect()
			return manyItem{answers, index}
		}
		// If this process may not act for the key yet, what it loaded would not be stored and nobody
		// could join it later: answerGet waits for a moment.
		if p.c.opt.BulkLoader != nil && r.Flags&wire.Closure == 0 && p.acts(v, ringHash(key)) && !r.Link().Crowded() {
			if p.joinBulk(&b, &req, request[V]{ctx: within, key: key, hash: hash, gen: gen, keep: true}, wait) {
				if b != nil && len(b.flights) == p.c.opt.BulkSize {
					p.c.startBulk(b, p.c.opt.BulkLoader, nil)
					b = nil
				}
				continue
			}
		}
		if f := p.answerGet(ctx, &req, key, hash, r.Link(), wait); f != nil {
			answers.add(index, f)
		}
	}
	if b != nil {
		p.c.startBulk(b, p.c.opt.BulkLoader, nil)
	}
	answers.flush(r)
	if *buf = answers.items; cap(*buf) <= 4*maxRequest {
		p.buffers.Put(buf) // the link has copied them
	}
}

// joinBulk makes a key part of one bulk load with the others of the request, unless somebody is
// loading it. It returns false if the key is not missing, or for other reasons has to be looked at
// closely.
func (p *peering[V]) joinBulk(b **bulk[V], req *wire.Frame, q request[V], wait func(func()) answerer) bool {
	if p.c.judge(p.c.store.index.find(q.hash, q.key), p.c.store.clock.now()) != gone {
		return false
	}
	s := p.c.lock(q.hash)
	defer s.unlock()
	f, _, err := s.enrol(q, func(old *node) (*flight[V], error) { return s.addToBulk(q, b, old), nil })
	if f == nil || err != nil {
		return false
	}
	s.awaitHere(q.ctx, f, req.Flags&wire.CanLoad != 0, wait)
	return true
}

// manyAnswers are the answers to one request for many keys.
type manyAnswers struct {
	op *link.Op // nil: all could be answered at once

	mu    sync.Mutex
	left  int // answers that have not been sent; those at once count as one
	items []byte
}

// add adds an answer that is known at once.
func (a *manyAnswers) add(index uint32, f *wire.Frame) {
	if len(f.Value) > maxRequest || f.Size > 0 {
		f = &wire.Frame{Type: wire.Done}
	}
	f.Op = index
	a.items = wire.Append(a.items, f)
}

func (a *manyAnswers) expect() {
	a.mu.Lock()
	a.left++
	a.mu.Unlock()
}

// flush sends the answers that have been added.
func (a *manyAnswers) flush(r *link.Request) {
	if a.op == nil {
		frames := split(a.items)
		for i, items := range frames {
			f := wire.Frame{Type: wire.Many, Items: items}
			if i < len(frames)-1 {
				f.Flags = wire.More
			}
			r.Answer(&f)
		}
		return
	}
	a.mu.Lock()
	waits := a.left > 1
	a.mu.Unlock()
	if waits {
		a.op.Held()
	}
	for _, items := range split(a.items) {
		a.op.Answer(&wire.Frame{Type: wire.Many, Flags: wire.More, Items: items})
	}
	a.sendLast(nil)
}

// split cuts items into pieces that fit into frames.
func split(items []byte) (pieces [][]byte) {
	if len(items) <= 2*maxRequest {
		return append(pieces, items)
	}
	var f wire.Frame
	rest, size := items, 0
	for len(rest) > 0 {
		next, err := wire.Next(rest, &f)
		if err != nil {
			break
		}
		n := len(rest) - len(next)
		if size > 0 && size+n > 2*maxRequest {
			pieces = append(pieces, items[:size:size])
			items, size = items[size:], 0
		}
		size += n
		rest = next
	}
	return append(pieces, items)
}

// sendLast sends the answer for one key that had to wait. nil stands for all those that did not.
func (a *manyAnswers) sendLast(items []byte) (queued bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left--
	f := &wire.Frame{Type: wire.Many, Items: items}
	if items == nil {
		f.Items = []byte{}
	}
	if a.left > 0 {
		f.Flags = wire.More
	}
	return a.op.Answer(f)
}

// A manyItem is one key that waits.
type manyItem struct {
	answers *manyAnswers
	index   uint32
}

func (i manyItem) link() *link.Link { return i.answers.op.Link() }

func (i manyItem) void() {} // a GetMany keeps no newcomers waiting

func (i manyItem) answer(f *wire.Frame) bool {
	if len(f.Value) > maxRequest {
		f = &wire.Frame{Type: wire.Done}
	}
	f.Op, f.Trace = i.index, nil // nobody waits for what a GetMany has asked for
	return i.answers.sendLast(wire.Append(nil, f))
}
