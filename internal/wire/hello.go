package wire

// hello.go has what the two ends of a link first tell each other.

import (
	"encoding/binary"
	"math"
)

// Versions of the protocol that this package speaks.
const (
	MinVersion = 1
	MaxVersion = 1
)

// magic is the first field of every hello.
const magic = 0x31_79_65_76_6f_63_00_ff // "\xff\x00covey1"

// NonceSize is the size of a nonce, in bytes.
const NonceSize = 32

// MaxName is the length of the longest name of a peer, cache or codec, in bytes.
const MaxName = 255

// A Hello introduces one end of a link to the other: the client's is a
// HelloFrame, the server answers with its own as a Welcome.
type Hello struct {
	MinVersion uint32 // of the protocol, that the sender speaks
	MaxVersion uint32
	Name       string // the sender's, as the ring hashes it
	Target     string // of a client: the name of the peer that it calls
	Instance   uint64 // a random number that the sender drew when it started
	Ring       uint64 // stands for the sender's view of the members
	Nonce      [NonceSize]byte
	MaxOps     uint32 // how many requests to the sender may be in flight
	MaxValue   uint32 // size of the largest value that the sender takes
	Seq        uint64 // over plain HTTP: the number of the hello among the sender's
	Since      uint64 // over plain HTTP: that of the first that the sender still waits for; 0: it does not say
	Called     uint64 // over plain HTTP, of a client: the instance of the peer that it calls
	Time       uint64 // over plain HTTP, of a client: when it was sent, in Unix milliseconds by the sender's clock
}

const (
	tagMagic      = 1<<2 + kindFixed
	tagMinVersion = 2<<2 + kindVarint
	tagMaxVersion = 3<<2 + kindVarint
	tagName       = 4<<2 + kindBytes
	tagTarget     = 5<<2 + kindBytes
	tagInstance   = 6<<2 + kindFixed
	tagHelloRing  = 7<<2 + kindFixed
	tagNonce      = 8<<2 + kindBytes
	tagMaxOps     = 9<<2 + kindVarint
	tagMaxValue   = 10<<2 + kindVarint
	tagSeq        = 11<<2 + kindVarint
	tagSince      = 12<<2 + kindVarint
	tagCalled     = 13<<2 + kindVarint
	tagTime       = 14<<2 + kindVarint
)

// AppendHello appends h as a frame of type t, which is HelloFrame or Welcome.
func AppendHello(dst []byte, t Type, h *Hello) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(t), 0, 0, 0, 0, 0, 0, 0)
	dst = appendFixed(dst, tagMagic, magic)
	dst = appendUint(dst, tagMinVersion, uint64(h.MinVersion))
	dst = appendUint(dst, tagMaxVersion, uint64(h.MaxVersion))
	dst = appendBytes(dst, tagName, h.Name)
	dst = appendBytes(dst, tagTarget, h.Target)
	dst = appendFixed(dst, tagInstance, h.Instance)
	dst = appendFixed(dst, tagHelloRing, h.Ring)
	dst = appendBytes(dst, tagNonce, h.Nonce[:])
	dst = appendUint(dst, tagMaxOps, uint64(h.MaxOps))
	dst = appendUint(dst, tagMaxValue, uint64(h.MaxValue))
	dst = appendUint(dst, tagSeq, h.Seq)
	dst = appendUint(dst, tagSince, h.Since)
	dst = appendUint(dst, tagCalled, h.Called)
	dst = appendUint(dst, tagTime, h.Time)
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-HeaderSize))
	return dst
}

// ParseHello makes h the hello that b holds as a frame of type t. h shares
// nothing with b.
func ParseHello(b []byte, t Type, h *Hello) error {
	if len(b) < HeaderSize+9 || Type(b[4]) != t || b[HeaderSize] != tagMagic ||
		binary.LittleEndian.Uint64(b[HeaderSize+1:]) != magic {
		return ErrMagic
	}
	body, err := open(b)
	if err != nil {
		return err
	}
	*h = Hello{}
	nonce := false
	for len(body) > 0 {
		tag, v, p, rest, ok := field(body)
		if !ok {
			return ErrMalformed
		}
		body = rest
		switch tag {
		case tagMinVersion:
			h.MinVersion, ok = uint32(v), v <= math.MaxUint32
		case tagMaxVersion:
			h.MaxVersion, ok = uint32(v), v <= math.MaxUint32
		case tagName:
			h.Name, ok = string(p), len(p) <= MaxName
		case tagTarget:
			h.Target, ok = string(p), len(p) <= MaxName
		case tagInstance:
			h.Instance = v
		case tagHelloRing:
			h.Ring = v
		case tagNonce:
			nonce = len(p) == NonceSize
			ok = nonce
			copy(h.Nonce[:], p)
		case tagMaxOps:
			h.MaxOps, ok = uint32(v), v <= math.MaxUint32
		case tagMaxValue:
			h.MaxValue, ok = uint32(v), v <= math.MaxInt32
		case tagSeq:
			h.Seq = v
		case tagSince:
			h.Since = v
		case tagCalled:
			h.Called = v
		case tagTime:
			h.Time = v
		}
		if !ok {
			return ErrMalformed
		}
	}
	if !nonce || h.MinVersion > h.MaxVersion || h.Name == "" {
		return ErrMalformed
	}
	return nil
}

// CommonVersion returns the highest version that both ends speak.
func CommonVersion(a, b *Hello) (version uint32, ok bool) {
	version = min(a.MaxVersion, b.MaxVersion)
	return version, version >= max(a.MinVersion, b.MinVersion)
}
