package wire

// frame.go names the parts of a frame: its type, its flags and its fields.

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"
)

// HeaderSize is the size of a frame's header, in bytes.
const HeaderSize = 12

// Limits. A frame that breaks one is malformed.
const (
	MaxBody  = 256 << 10 // bytes of a frame after its header
	MaxKey   = 1<<16 - 1 // bytes of a key
	MaxText  = 4 << 10   // bytes of an error's text, or of a name
	MaxTrace = 4 << 10   // bytes of trace context
	MaxChain = 16        // loads in a chain
	MaxItems = 4096      // frames within a frame
)

// A Type says what a frame is for.
type Type uint8

// Requests.
const (
	Get      Type = 0x01 + iota
	Put           // Value
	Delete        //
	Lookup        // a Get that never loads
	GetMany       // Items: one Get or Lookup for each key
	Clear         // Clear: the number proposed
	Fill          // Token, and what a load came to: Value, or NotFound or Failed as Result
	Recall        // Token or Key: give back what was lent
	Confirm       // do the owner's whole work for this write and pass nothing on
	Peek          // a Lookup in memory that counts for nothing
	Expire        //
	Update        // reserved: one atomic update at the owner
	Announce      // Ring: the sender goes by this ring from now on
	Top           // the keys that are asked for most; of no cache
)

// Answers.
const (
	Hit         Type = 0x40 + iota // Value and what is known about it
	NotFound                       // the origin has no such key
	FillRight                      // Token: load it yourself and send a Fill; Value if there is a stale one
	Held                           // a load is under way, the answer follows
	Failed                         // Code, Text
	NotOwner                       // Text: who is, by the answering peer's ring
	Done                           // it has been done
	Unsupported                    // the request's type is not known here
	Many                           // Items: an answer for each of some keys
)

// Frames about the link itself.
const (
	HelloFrame  Type = 0x80 + iota // the client's first
	Challenge                      // the server's answer to it, with its proof
	Proof                          // the client's proof
	Welcome                        // the server's last word of the handshake
	KeepAlive                      // asks for another lease; Items: hits on borrowed copies
	KeepAliveOK                    // grants it
	Chunk                          // the body is a piece of the value of stream op, without fields
	Credit                         // Size more bytes of chunks have been taken in
	Cancel                         // nobody waits for op any more
	GoAway                         // send no more requests
	Caches                         // the names of the sender's caches, all of them
)

// IsRequest reports whether frames of type t ask for something.
func (t Type) IsRequest() bool { return t < 0x40 }

// IsAnswer reports whether frames of type t answer a request.
func (t Type) IsAnswer() bool { return t >= 0x40 && t < 0x80 }

// Flags say yes or no about a frame. Some bits mean different things on
// requests and answers.
type Flags uint8

// More says on an answer that it is not the last one to its request, and on a
// Chunk that it is not the last of its stream.
const More Flags = 1 << 7

// Flags of requests.
const (
	CanLoad  Flags = 1 << iota // the caller has a loader and takes a FillRight
	Borrow                     // the caller would keep a copy if it were lent
	Negative                   // of a Put or Fill: the value is that there is none
	NoStore                    // of a Fill: for those who wait only
	Closure                    // the loader was passed with the call: the owner's own will not do
	HasTTL                     // of a Put or Fill: TTL counts, also when it is 0 (for ever)
)

// Flags of answers.
const (
	Loan    Flags = 1 << iota // Token: the copy may be kept until it is recalled
	Refresh                   // the caller may load it anew, under Token
	Stale                     // the value is past its TTL
	NoKeep                    // the value is for those who wait only
)

// Fields of a frame. Zero values are not sent, but for the version.
//
// Byte fields of a parsed frame, Key included, share the memory that they
// were parsed from: who keeps one longer than that lasts clones it.
type Frame struct {
	Type  Type
	Flags Flags
	Cache uint16 // the sender's number for the cache; of an answer: with a Token only, as is Key
	Op    uint32 // of a request and its answers; within Items the index of the key

	Key   string
	Value []byte // the rest of the body, if Items is nil
	Items []byte // the rest of the body of a frame about many keys; see [Next]

	Stamp      uint64 // hybrid time of the write or fill
	Origin     uint64 // instance that made the stamp; 0: the sender of the frame
	Version    uint64 // the user's
	HasVersion bool

	TTL      time.Duration // that remains; 0: no expiry
	Age      time.Duration // since the load began
	LoadTime time.Duration // that the load took
	Deadline time.Duration // that remains for the request; 0: none

	Clear uint64 // the cache's clear number under which the load began
	Token uint64 // names a loan or a right
	Count uint64 // of hits, in the Items of a KeepAlive
	Ring  uint64 // the sender's ring, as a fingerprint

	Chain Chain  // the loads that the request comes from
	Trace []byte // the caller's trace context

	Code   Code   // of a Failed
	Result Type   // of a Fill: Hit, NotFound or Failed
	Text   string // of an error; the name of the owner in a NotOwner

	Size   uint64 // of a value that follows in chunks; what a Credit grants
	Stream uint32 // in whose chunks it follows
}

// Clone returns f in memory of its own. A value that came in pieces, which f
// tells by its Size, is in memory of its own already.
func (f *Frame) Clone() Frame {
	c := *f
	c.Key, c.Text = strings.Clone(f.Key), strings.Clone(f.Text)
	if f.Size == 0 {
		c.Value = bytes.Clone(f.Value)
	}
	c.Items, c.Chain, c.Trace = bytes.Clone(f.Items), bytes.Clone(f.Chain), bytes.Clone(f.Trace)
	return c
}

// A Chain holds the hashes of the keys that are being loaded by those whose
// request this is, the innermost last.
type Chain []byte

// Len returns the number of loads in c.
func (c Chain) Len() int { return len(c) / 8 }

// At returns the i-th hash of c.
func (c Chain) At(i int) uint64 { return binary.LittleEndian.Uint64(c[8*i:]) }

// Has reports whether hash is in c.
func (c Chain) Has(hash uint64) bool {
	for i := range c.Len() {
		if c.At(i) == hash {
			return true
		}
	}
	return false
}

// With returns c with hash at its end, in new memory. A chain that is full
// stays as it is.
func (c Chain) With(hash uint64) Chain {
	if c.Len() >= MaxChain {
		return c
	}
	return binary.LittleEndian.AppendUint64(c[:len(c):len(c)], hash)
}
