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
	Get       Type = 0x01 + iota
	Put            // Value
	Delete         // perhaps Version
	Lookup         // a Get that never loads
	GetMany        // Items: one Get or Lookup for each key
	Clear          // remove everything, and take back what was lent
	Fill           // Token, and the outcome of a load as Result: Hit with Value, NotFound, Failed, or Done if nothing has changed
	Recall         // Key: give back what was lent; without a key, of the keys of Items, or everything
	Drop           // Key, Stamp, Ring: the sender, who owns the key by that view, writes it: forget it
	Peek           // a Lookup that is not counted
	Expire         // end the TTL
	Update         // a Put, a Delete or an addition, as Result says (Put, Delete, Update), under a condition; never sent twice
	Announce       // Ring: the sender goes by this view from now on
	Top            // the keys that are asked for most; of no cache
	Reload         // a Get that loads, whatever the cache has
	Await          // from an owner: the loads in Chain wait for the load of Key, under a right at the receiver, until it is cancelled
	Replicate      // from an owner to who keeps a replica: Stamp, Ring, and Key and Value, or Items: one such frame for each key
	Inspect        // for an operator: what is known of Key in a cache; without a cache, a report on the whole process
)

// Answers.
const (
	Hit         Type = 0x40 + iota // Value and what is known about it
	NotFound                       // the origin has no such key
	FillRight                      // Token: load it yourself and send a Fill; Value if there is a stale one
	Held                           // a load is under way, the answer follows; with NoKeep: a write has made it obsolete
	Failed                         // Code, Text
	NotOwner                       // nothing has been done: by this peer's view, whose epoch Ring is, another one owns the key
	Done                           // it has been done; to a Clear, Ring: the epoch of this peer's view all the while; 0: it has changed
	Unsupported                    // the request's type is not known here
	Many                           // Items: an answer for each of some keys
	Alone                          // this peer has no such cache, or another codec: load it yourself; with Loan, what you load may be kept for TTL, until it is recalled
)

// Frames about the link itself.
const (
	HelloFrame  Type = 0x80 + iota // who the client is
	Challenge                      // Value: the server's nonce, its first word of the handshake
	Proof                          // Value: the proof of what the sender has said
	Welcome                        // who the server is
	KeepAlive                      // asks for another lease; Items: hits on borrowed copies
	KeepAliveOK                    // TTL: grants it for that long; 0: none now, but the sender is there
	Chunk                          // the body is a piece of the value of stream op, without fields
	Credit                         // Size more bytes of chunks have been taken in
	Cancel                         // nobody waits for op any more
	GoAway                         // send no more requests
	Caches                         // Items: the names of the sender's caches, all of them; Text: the version of its covey
	View                           // Value: what one member of the group tells another about who its members are
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
	CanLoad    Flags = 1 << iota // the caller has a loader and takes a FillRight
	Borrow                       // the caller would keep a copy if it were lent
	Negative                     // of a Put, that there is no value
	NoStore                      // of a Fill: only for those who wait
	Closure                      // the loader was passed with the call: the owner's own will not do
	HasTTL                       // of a Put or Fill: TTL counts, even if it is 0 (for ever)
	Replicated                   // of a Put: the answer waits until there are replicas

	Aside = NoStore // of a Peek: it is about what a snapshot has brought; the answer's Token and Count are epochs
	Seal  = Closure // of such a Peek: it is about the snapshot's seal

	IfAbsent  = NoStore  // of an Update: there must be no fresh value
	IfVersion = Closure  // of an Update: there must be a fresh value, and Token is its version
	IfPresent = Negative // of an Update that adds: there must be a number, else the answer is NotFound
)

// Flags of answers.
const (
	Loan    Flags = 1 << iota // Token: the copy may be kept until it is recalled
	Refresh                   // the caller may load it anew, under Token
	Stale                     // the value is past its TTL
	NoKeep                    // the value, or what a Held is about, is only for those who wait; in a Top: too large for copies
)

// A Frame is one message. Fields that are zero are not sent, except a Version
// with HasVersion.
//
// Byte fields of a parsed frame, Key included, share the memory that they were
// parsed from: clone those that are to be kept longer.
type Frame struct {
	Type  Type
	Flags Flags
	Cache uint16 // the sender's number for the cache; of an answer: with a Token only, as is Key
	Op    uint32 // of a request and its answers; within Items the index of the key

	Key   string // of a Clear the prefix of the keys, if it is not about all
	Value []byte // the rest of the body, if Items is nil
	Items []byte // the rest of the body of a frame about many keys; see [Next]

	Stamp      uint64 // hybrid time: of a Drop or Replicate; in an answer, the latest that the sender knows
	Made       uint64 // stamp of the entry, if Stamp is that of the message; of an Update, what is there must have it
	Version    uint64 // the user's
	HasVersion bool

	TTL      time.Duration // what remains of it; 0: no expiry
	Age      time.Duration // since the load began
	LoadTime time.Duration // reserved: how long the load took
	Deadline time.Duration // what remains for the request; 0: no deadline

	Clear uint64 // of a Clear its number; of a Peek or Replicate the sum of those that the sender has carried out in its view
	Token uint64 // names a loan or a right
	Count uint64 // of hits, in the Items of a KeepAlive or the answer to a Recall; of a Top, the rate; of an Update, what it adds, or not 0 if a refusal is to be a Hit; in its answer the sum
	Ring  uint64 // stands for the sender's view of the members; in a NotOwner or Done its epoch

	Chain Chain  // the loads within which the request was made
	Trace []byte // what tells about the span of a request or, in an answer or a Fill, that of the load that has brought it

	Code   Code   // of a Failed
	Result Type   // of a Fill or an Update
	Text   string // of an error; in a Top, the name of the cache; in a Caches, a version

	Size   uint64 // of a value that follows in chunks; what a Credit grants
	Stream uint32 // in whose chunks it follows
}

// Clone returns f in memory of its own. A value that came in pieces (its Size
// is not 0) is in memory of its own already.
func (f *Frame) Clone() Frame {
	c := *f
	c.Key, c.Text = strings.Clone(f.Key), strings.Clone(f.Text)
	if f.Size == 0 {
		c.Value = bytes.Clone(f.Value)
	}
	c.Items, c.Chain, c.Trace = bytes.Clone(f.Items), bytes.Clone(f.Chain), bytes.Clone(f.Trace)
	return c
}

// A Chain holds the hashes of the keys whose loads the request was made within,
// the innermost first.
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
