// Package wire is the language that peers speak: it turns frames into bytes
// and back and does nothing else, no I/O and no policy.
//
// A frame is a header of [HeaderSize] bytes and a body:
//
//	uint32 length of the body   uint8 type   uint8 flags   uint16 cache   uint32 op
//
// all little-endian. The body is a row of fields. A field is a tag and what
// follows it; the low two bits of the tag say what that is, so that a reader
// can skip a field it does not know:
//
//	0  a varint
//	1  8 bytes
//	2  a varint n and n bytes
//	3  the rest of the body
//
// The rest is the frame's value, or for a frame about many keys a row of
// frames, each with a header of its own: one for each key.
//
// Times travel as what remains of them, in nanoseconds, never as a reading
// of a clock. Everything with a length has a limit that is checked before
// anything is allocated or believed: see the Max constants.
//
// How the format grows: new fields and flags are ignored by old readers, a
// request of an unknown type is answered with [Unsupported], a link frame of
// an unknown type is skipped. A change that an old reader would misread takes
// a new protocol version, on which the two ends of a link agree in the [Hello].
package wire
