package covey

// peer_update.go has the frames of conditional writes, Updates and Incrs, from both ends. They are
// frames of their own, so that a peer of an earlier release refuses them, where it would carry out
// a Put without looking at conditions that it does not know. peer_write.go does the rest: they take
// the same way as all writes.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// The caller's side.

// tellUpdate has a peer carry out a change that has a condition. The verdict is as attempt's.
func (p *peering[V]) tellUpdate(ctx context.Context, v *view, peer *link.Peer, l *link.Link, ch *change[V]) (verdict, error) {
	if !p.sharesWith(l) { // as it is only while a deploy lasts
		return elsewhere, p.unsharedWith(l)
	}
	up := ch.up
	f := wire.Frame{
		Type: wire.Update, Cache: p.id, Key: ch.key, Result: ch.kind,
		Version: ch.put.version, HasVersion: ch.put.hasVersion, Made: up.stamp,
	}
	switch {
	case up.absent:
		f.Flags |= wire.IfAbsent
	case up.hasVersion:
		f.Flags, f.Token = wire.IfVersion, up.version
	}
	if ch.put.hasTTL {
		f.Flags |= wire.HasTTL
		f.TTL = wireTTL(ch.put.ttl)
	}
	if ch.put.replicated {
		f.Flags |= wire.Replicated
	}
	switch {
	case ch.kind == wire.Update:
		f.Count = up.delta
		if up.ifPresent {
			f.Flags |= wire.IfPresent
		}
		return p.tellBy(ctx, v, peer, l, ch, &f)
	case ch.kind == wire.Delete:
		f.Version, f.HasVersion = ch.del.version, ch.del.hasVersion
	case ch.negative:
		f.Flags |= wire.Negative
	default:
		if err := p.encode(&f, ch.value); err != nil {
			return answered, fmt.Errorf("%w: cache %q, key %q: %w", ErrTooLarge, p.c.name, ch.key, err)
		}
	}
	if up.show {
		f.Count = 1
	}
	return p.tellBy(ctx, v, peer, l, ch, &f)
}

// readUpdated takes what an answer says besides whether the change has been carried out.
func (p *peering[V]) readUpdated(up *update[V], answer *wire.Frame) {
	up.sum, up.made, up.found = answer.Count, answer.Made, seen[V]{}
}

// otherwiseUpdated returns what an answer means that is not what other writes are answered with.
func (p *peering[V]) otherwiseUpdated(peer string, ch *change[V], answer *wire.Frame) (verdict, error) {
	switch {
	case answer.Type == wire.Hit: // the condition does not hold, and this is there
		v, err := p.decode(answer.Value)
		if err != nil {
			p.undecodable(peer, ch.key, err)
			return answered, fmt.Errorf("covey: cache %q, key %q: cannot decode what is there: %w", p.c.name, ch.key, err)
		}
		ch.up.found = seen[V]{value: v, ok: true, stamp: answer.Made}
		return answered, p.c.errConflict(ch.key)
	case answer.Type == wire.NotFound && ch.kind == wire.Update:
		return answered, errNoNumber
	case answer.Type == wire.Unsupported:
		return lost, &PeerError{Peer: peer, Code: PeerRefused, Err: errors.New("its release of covey has no conditional writes")}
	}
	return lost, &PeerError{Peer: peer, Code: PeerRefused, Err: fmt.Errorf("it answers with a frame of type %#x", uint8(answer.Type))}
}

// The owner's side.

// serveUpdate carries out a change that has a condition.
func (p *peering[V]) serveUpdate(r *link.Request) {
	if r.Codec() != p.codec { // nothing is stored here that whoever asks could go by
		r.Answer(&wire.Frame{Type: wire.Failed, Code: wire.CodeUnknownCache})
		return
	}
	ch := &change[V]{kind: r.Result, key: strings.Clone(r.Key), foreign: true, up: new(update[V])}
	ch.hash = p.c.store.hash(ch.key)
	up := ch.up
	up.absent, up.hasVersion = r.Flags&wire.IfAbsent != 0, r.Flags&wire.IfVersion != 0
	up.version, up.stamp = r.Token, r.Made
	up.show = r.Count != 0
	ch.put = PutOption{ttl: userTTL(r.TTL), hasTTL: r.Flags&wire.HasTTL != 0, version: r.Version, hasVersion: r.HasVersion, replicated: r.Flags&wire.Replicated != 0}
	up.keep = up.stamp != 0 && !ch.put.hasTTL
	var err error
	switch {
	case r.Result == wire.Update && p.c.add != nil:
		up.delta, up.ifPresent = r.Count, r.Flags&wire.IfPresent != 0
	case r.Result == wire.Delete:
		ch.del = DeleteOption{version: r.Version, hasVersion: r.HasVersion}
	case r.Result == wire.Put && r.Flags&wire.Negative != 0:
		ch.negative = true
	case r.Result == wire.Put:
		if ch.value, err = p.decode(ownValue(r)); err != nil {
			p.undecodable(r.Link().Name(), ch.key, err)
		}
	default:
		err = errors.New("covey: there is no such update")
	}
	if err != nil {
		r.Answer(&wire.Frame{Type: wire.Failed, Code: wire.CodeMalformed, Text: cut(err.Error())})
		return
	}
	p.serveChange(r, ch)
}

// updated returns the answer to the process at the other end of a link that has asked for a change
// with a condition.
func (p *peering[V]) updated(to *link.Link, ch *change[V], err error) *wire.Frame {
	f := written(err)
	switch up := ch.up; {
	case errors.Is(err, errNoNumber):
		f = &wire.Frame{Type: wire.NotFound}
	case err == nil || errors.Is(err, ErrNotReplicated):
		f.Made, f.Count = up.made, up.sum
	case errors.Is(err, ErrConflict) && up.found.ok:
		hit := wire.Frame{Type: wire.Hit, Made: up.found.stamp}
		if p.encodeFor(to, &hit, ch.key, up.found.value) == nil {
			f = &hit
		}
	}
	return f
}

// answerTo returns the answer to the process at the other end of a link that has asked for a change.
func (p *peering[V]) answerTo(to *link.Link, ch *change[V], err error) *wire.Frame {
	if ch.up != nil {
		return p.updated(to, ch, err)
	}
	return written(err)
}
