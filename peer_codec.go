package covey

// peer_codec.go encodes values, and times, for other peers.

import (
	"fmt"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// encodeFor is encode for the peer at the other end of l, which has to do without the value if that
// fails: it is logged.
func (p *peering[V]) encodeFor(l *link.Link, f *wire.Frame, key string, v V) error {
	err := p.encode(f, v)
	if err != nil {
		p.c.log.warn("covey: cannot encode a value for a peer, which loads it for itself on every Get", l.Name(), "key", key, "peer", l.Name(), "err", err)
	}
	return err
}

// encode puts the encoding of v into f. Its memory must not be modified.
func (p *peering[V]) encode(f *wire.Frame, v V) error {
	var b []byte
	if plain, ok := any(p.c.opt.Codec).(plainCodec[V]); ok {
		b = plain.plain(v)
	} else {
		err := guard("Codec.Append", func() (err error) {
			b, err = p.c.opt.Codec.Append(nil, v)
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(b) > maxWireValue {
		return fmt.Errorf("%w: it has %d bytes, the limit between processes is %d", ErrTooLarge, len(b), maxWireValue)
	}
	f.Value = b
	return nil
}

// decode returns the value that b encodes. The value may keep b.
func (p *peering[V]) decode(b []byte) (V, error) {
	if plain, ok := any(p.c.opt.Codec).(plainCodec[V]); ok {
		v := plain.own(b)
		p.c.seal(&v)
		return v, nil
	}
	var v V
	err := guard("Codec.Decode", func() (err error) {
		v, err = p.c.opt.Codec.Decode(b)
		return err
	})
	p.c.seal(&v)
	return v, err
}

// maxWireValue is the size of the largest value that goes from peer to peer.
const maxWireValue = defaultMaxValueBytes

// undecodable counts and logs a value of key from a peer that the codec does not understand.
func (p *peering[V]) undecodable(peer, key string, err error) {
	p.c.n.undecodable.Add(1)
	p.c.log.warn("covey: cannot decode a value from a peer; it is loaded anew on every Get", peer, "key", key, "peer", peer, "err", err)
}

func (p *peering[V]) number() uint16 { return p.id }

// duration returns a remaining time as it goes on the wire, where 0 means that there is no end.
func duration(ns int64) time.Duration {
	if ns == 0 {
		return -1
	}
	return time.Duration(ns)
}

// wireTTL returns a user's TTL as it goes on the wire, where 0 means that there is no end.
func wireTTL(ttl time.Duration) time.Duration {
	if ttl == Forever {
		return 0
	}
	return ttl
}

// userTTL is the reverse of wireTTL.
func userTTL(ttl time.Duration) time.Duration {
	if ttl == 0 {
		return Forever
	}
	return ttl
}
