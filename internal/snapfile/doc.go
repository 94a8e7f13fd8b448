// Package snapfile writes and reads snapshots: files that have the entries of a cache. It deals
// with bytes only.
//
// A file is made of
//
//	magic, format     8 and 4 bytes
//	header block      whose cache it is, its codec, when it was written and by whom
//	entry blocks      each with some records, the ones that matter most first
//	trailer block     how many records there are: what has it is whole
//
// A block begins with a frame: the length of its payload, the CRC-32C of that, and the CRC-32C of
// these two numbers, of the block's number and of a salt, which is the header's checksum. So a
// block of another file, or in another place, is no more taken for one of this file than a damaged
// one.
//
// What is damaged is left out, and no more than that. A block whose payload is damaged is skipped:
// the others have checksums of their own, and as none depends on another, what can be read is as
// good as ever. If a frame is damaged nobody knows where the next block begins: the rest of the
// file is ignored. Either way the reader says so.
//
// Numbers are little-endian, or varints. Times are durations, relative to when the file was
// written; only the header has a reading of the wall clock.
package snapfile

import (
	"errors"
	"hash/crc32"
	"time"
)

const (
	magic      = "COVEYSNP"
	format     = 1
	prefixSize = len(magic) + 4
	frameSize  = 12

	blockSize = 256 << 10 // of the payload, once it is as long the block is complete
	// MaxValue is the size of the largest value that fits into a record.
	MaxValue = 64 << 20
	// MaxKey is the size of the longest key.
	MaxKey   = 1 << 16
	maxBlock = blockSize + MaxKey + MaxValue + maxFields
	// maxFields is more than what the fields of a record take besides key and value.
	maxFields = 128
	maxText   = 1 << 16 // of the strings in the header
)

// The kinds of blocks: the first byte of a payload.
const (
	kindHeader  = 'H'
	kindEntries = 'E'
	kindTrailer = 'T'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors of the reader. All but ErrFuture and ErrForeign may come after some records.
var (
	ErrForeign   = errors.New("snapfile: it is not a snapshot")
	ErrFuture    = errors.New("snapfile: its format is newer than this version of the library")
	ErrDamaged   = errors.New("snapfile: it is damaged")
	ErrTruncated = errors.New("snapfile: its end is missing")
)

// ErrTooLarge refuses a record with a key or a value of more than MaxKey or MaxValue.
var ErrTooLarge = errors.New("snapfile: the record is too large")

// A Header says what a file is.
type Header struct {
	Cache    string // its name
	Codec    string // by which the values are encoded, with its version
	Instance uint64 // of the process that has written it
	// Written is when, by the wall clock, in nanoseconds since 1970. The times in the records are
	// counted from here.
	Written int64
	// Boot names the run of the machine's kernel, Uptime is how long that had been running: so
	// a reader on the same machine knows how much time has passed even if the wall clock was set.
	// Boot is empty if they are not known.
	Boot   string
	Uptime time.Duration
	// Records is how many records there are at most.
	Records uint64
}

// A Record is an entry of a cache.
type Record struct {
	Key, Value []byte
	Flags      Flags
	TTL        time.Duration // until it stops being fresh, negative if it has; without meaning with Forever
	Age        time.Duration // since its load began; negative if that was after the file's time
	Idle       time.Duration // since its last use; negative as Age is
	Cost       time.Duration // of its load
	Version    uint64        // given by the user, if Versioned
	Stamp      uint64        // by the owner's clock; 0: it has none
	Uses       uint8         // how popular it was, by the measure of the cache's policy
}

// Flags say what a record is.
type Flags uint8

// The flags.
const (
	Negative  Flags = 1 << iota // there is no value: the origin has none
	Versioned                   // Version was given
	Forever                     // it never expires
	Aside                       // it came from a file itself, and nobody has confirmed it
	allFlags  = Negative | Versioned | Forever | Aside
)
