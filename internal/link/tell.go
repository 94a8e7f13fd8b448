package link

// tell.go is what one end tells the other without an answer, ahead of all requests and whatever
// there is no room for: that is how the members of a group agree on who they are.
//
// A link with a connection delivers in order, or goes down. Over plain HTTP one body with such
// frames is on its way at a time, and is sent again when it has got no answer; a body that comes
// after a later one tells nothing. So there, too, everything arrives in order while the link is up,
// but what the last body before a failure has told may come twice. The way back is in accepted.go.

import (
	"github.com/coveycache/covey/internal/wire"
)

// maxTold is how many bytes of such frames may wait for an end that does not read.
const maxTold = 256 << 10

// Tell sends the other end a frame of type View for its Config.Told. It never waits, and may be
// called under any lock. There is no answer; the frame is lost if the link goes down. If the other
// end does not keep up the link ends. A process that asks over plain HTTP is told in the responses
// to its bodies: there frames may be lost, the oldest first if it does not keep up. f is free again
// when Tell returns, with all that it refers to.
func (l *Link) Tell(f *wire.Frame) error {
	f.Type, f.Op, f.Size, f.Stream = wire.View, 0, 0, 0
	switch {
	case l.plain != nil:
		return l.plain.tell(f)
	case l.accepted != nil:
		return l.accepted.tell(f)
	case l.served != nil && l.served.from != nil:
		return l.served.from.accepted.tell(f)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	had := len(l.out.ctl)
	ctl, err := appendTold(l.out.ctl, f, l.out.told)
	if err == ErrSlowPeer {
		l.failLocked(err)
	}
	if err != nil {
		return err
	}
	l.out.ctl = ctl
	l.out.told += len(ctl) - had
	l.out.bytes += len(ctl) - had
	l.rouse()
	return nil
}

// appendTold appends f to b, where so many bytes wait already.
func appendTold(b []byte, f *wire.Frame, waiting int) ([]byte, error) {
	if err := f.Check(wire.MaxBody); err != nil {
		return nil, err
	}
	longer := wire.Append(b, f)
	switch n := len(longer) - len(b); {
	case n > wire.HeaderSize+wire.MaxBody:
		return nil, wire.ErrTooLarge
	case waiting > 0 && waiting+n > maxTold:
		return nil, ErrSlowPeer
	}
	return longer, nil
}

// told passes on what the other end tells.
func (l *Link) told(f *wire.Frame) error {
	switch {
	case !l.in.ready:
		return ErrProtocol
	case l.exchange != nil:
		l.exchange.plain.passOn(l.exchange.answer, f)
		return nil
	case l.served == nil:
		l.node.cfg.Told(l, f)
		return nil
	}
	c, from := l.served.caller, l.served.from
	c.telling.Lock()
	defer c.telling.Unlock()
	if from == nil {
		from = l
	}
	if err := from.Err(); err != nil && err != ErrGoingAway { // whose last words may come later
		return nil
	}
	if l.served.seq >= c.told { // else its sender has given it up, and has told the same again
		c.told = l.served.seq
		if from.accepted != nil {
			from.accepted.carryIn(l) // what it is told back waits for no other body
		}
		l.node.cfg.Told(from, f)
	}
	return nil
}

// passOn passes on what an answer tells of which the hello has that number.
func (p *plain) passOn(number uint64, f *wire.Frame) {
	p.hearing.Lock()
	defer p.hearing.Unlock()
	p.passOnLocked(number, f)
}

func (p *plain) passOnLocked(number uint64, f *wire.Frame) {
	switch {
	case p.link.dialer == nil: // the link is not up yet
		if early, err := appendTold(p.early, f, len(p.early)); err == nil {
			p.early = early
		}
	case number >= p.heard: // else it has been overtaken by a later one
		p.heard = number
		p.link.node.cfg.Told(p.link, f)
	}
}

// passOnEarly passes on what the other end has told in its answer when this one met it. hearing is
// held.
func (p *plain) passOnEarly(met *exchange) {
	var f wire.Frame
	for early := met.plain.early; len(early) > 0; {
		var err error
		if early, err = wire.Next(early, &f); err != nil {
			return
		}
		p.passOnLocked(met.answer, &f)
	}
}

// tell is Link.Tell.
func (p *plain) tell(f *wire.Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.link.Err(); err != nil {
		return err
	}
	told, err := appendTold(p.told, f, len(p.told))
	if err == ErrSlowPeer {
		p.link.fail(err)
	}
	if err != nil {
		return err
	}
	p.told = told
	p.goOnTelling()
	return nil
}

// goOnTelling sends what there is to tell, unless something is on its way. The plain is locked.
func (p *plain) goOnTelling() {
	if p.telling == nil && len(p.told) > 0 && p.link.Err() == nil {
		p.telling = p.begin(prompt, p.told...)
		p.told = nil
	}
}

// endTelling is called when an exchange has ended. The plain is locked.
func (p *plain) endTelling(e *exchange) {
	if p.telling != e {
		return
	}
	p.telling = nil
	if !e.whole {
		p.told = append(e.told, p.told...)
	}
	p.goOnTelling()
}
