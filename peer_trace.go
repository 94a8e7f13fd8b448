package covey

// peer_trace.go is tracing between processes: a request carries what tells about its span, and so
// does the answer, or a Fill, about the load that has brought it.

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// spanOp returns by what name requests of a type are traced; "" if they are not.
func spanOp(t wire.Type) string {
	switch t {
	case wire.Get:
		return "get"
	case wire.GetMany:
		return "get_many"
	case wire.Lookup:
		return "lookup"
	case wire.Reload:
		return "refresh"
	case wire.Put:
		return "put"
	case wire.Delete:
		return "delete"
	case wire.Expire:
		return "expire"
	case wire.Update:
		return "update"
	case wire.Clear:
		return "clear"
	}
	return ""
}

// startRequest begins the span of a request to a peer, about so many keys, and has the request carry
// what tells about it.
func (p *peering[V]) startRequest(ctx context.Context, v *view, peer string, f *wire.Frame, keys int, replica bool) (context.Context, *span) {
	if p.c.tracer == nil {
		return ctx, nil
	}
	ctx, s := p.c.tracer.start(ctx, Span{
		Kind: SpanRequest, Op: spanOp(f.Type), Peer: peer, Replica: replica, Key: f.Key, Keys: keys, Epoch: v.epoch,
	})
	f.Trace = nil
	if s != nil {
		f.Trace = s.carried
	}
	return ctx, s
}

// answered ends the span of a request to a peer with its last answer, or err.
func (s *span) answered(peer string, f *wire.Frame, err error) {
	if s == nil {
		return
	}
	switch {
	case err == nil:
		s.end(endOfRequest(peer, f))
	case errors.Is(s.ctx.Err(), context.Canceled):
		s.end(SpanEnd{Result: "canceled"})
	default:
		s.end(SpanEnd{Result: "error", Err: err})
	}
}

// endOfRequest says how a request has ended with that last answer.
func endOfRequest(peer string, f *wire.Frame) SpanEnd {
	switch f.Type {
	case wire.Hit:
		return SpanEnd{Result: "hit"}
	case wire.NotFound:
		return SpanEnd{Result: "not_found"}
	case wire.Done, wire.Many:
		return SpanEnd{Result: "done"}
	case wire.FillRight:
		return SpanEnd{Result: "right"}
	case wire.NotOwner:
		return SpanEnd{Result: "moved"}
	case wire.Alone:
		return SpanEnd{Result: "alone"}
	case wire.Failed:
		switch f.Code {
		case wire.CodeCancelled:
			return SpanEnd{Result: "canceled"}
		case wire.CodeOutdated:
			return SpanEnd{Result: "outdated"}
		case wire.CodeConflict:
			return SpanEnd{Result: "conflict"}
		}
	}
	return SpanEnd{Result: "error", Err: answerError(peer, f)}
}

// call is link.Call within a span, for a request about one key or, if it has none, all.
func (p *peering[V]) call(ctx context.Context, v *view, l *link.Link, f *wire.Frame, replica bool) (wire.Frame, error) {
	ctx, s := p.startRequest(ctx, v, l.Name(), f, keysIn(f), replica)
	answer, err := l.Call(ctx, f)
	s.answered(l.Name(), &answer, err)
	return answer, err
}

// isTraced reports whether a request is served within a span.
func (p *peering[V]) isTraced(r *link.Request) bool {
	return p.c.tracer != nil && len(r.Trace) > 0 && spanOp(r.Type) != ""
}

// A serving is the span of a request that is served.
type serving struct {
	*span
	mu    sync.Mutex
	loads []*loadTrace // that it has waited for; of a GetMany perhaps many
}

type servingKey struct{}

// servingOf returns the span of the request that ctx belongs to; nil if it has none.
func servingOf(ctx context.Context) *serving {
	s, _ := ctx.Value(servingKey{}).(*serving)
	return s
}

// maxWaited is of how many loads a request is told that it has waited for them.
const maxWaited = 128

// waitedFor notes that the request has waited for a load, which others have joined, and has the answer
// tell about that. It may be called on the goroutine that reads a link, so the user is told later.
func (s *serving) waitedFor(l *loadTrace, joined bool, answer *wire.Frame) {
	if s == nil || l == nil {
		return
	}
	answer.Trace = l.load
	if !joined {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.loads) < maxWaited && !slices.Contains(s.loads, l) {
		s.loads = append(s.loads, l)
	}
}

// startServing begins the span of a request that is served apart. It ends with the last answer.
func (p *peering[V]) startServing(r *link.Request) context.Context {
	t := p.c.tracer
	ctx, one := t.start(context.Background(), Span{
		Kind: SpanServe, Op: spanOp(r.Type), Peer: r.Link().Name(), Key: r.Key, Keys: keysIn(&r.Frame), Epoch: p.tenures.view().epoch, Carried: r.Trace,
	})
	if one == nil {
		return ctx
	}
	s := &serving{span: one}
	r.WhenAnswered(func(f wire.Frame) {
		e := endOfRequest(p.group.opt.Name, &f)
		end := func() {
			s.mu.Lock()
			loads := s.loads
			s.mu.Unlock()
			for _, l := range loads {
				t.waited(s.ctx, l)
			}
			s.end(e)
		}
		if !p.c.spawn(end) {
			go end()
		}
	})
	return context.WithValue(ctx, servingKey{}, s)
}

// keysIn returns how many keys a request is about; 0: all.
func keysIn(f *wire.Frame) (n int) {
	switch f.Type {
	case wire.GetMany:
	case wire.Clear: // its key is a prefix
		return 0
	default:
		return min(len(f.Key), 1)
	}
	var one wire.Frame
	for items, err := f.Items, error(nil); len(items) > 0 && n < wire.MaxItems; n++ {
		if items, err = wire.Next(items, &one); err != nil {
			break
		}
	}
	return n
}
