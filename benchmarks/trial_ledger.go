package main

// trial_ledger.go is what all processes of a trial know together: memory that they share. So a read
// is compared with what had been acknowledged, by whomever, when it began; and what a process has
// counted outlives it.

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	maxTrialKeys = 1 << 16
	trialPlaces  = 4                      // processes at one time
	slotLength   = 100 * time.Millisecond // of the time line
	trialSlots   = 6000
)

// A ledger has the origin and what was counted. It begins as zeros.
type ledger struct {
	began atomic.Int64 // when the first slot began, since 1970 in ns
	takes atomic.Int64 // what a load takes, in ns

	// The origin, by key.
	next   [maxTrialKeys]atomic.Uint64 // version that was given out last
	stored [maxTrialKeys]atomic.Uint64 // version in the origin
	gone   [maxTrialKeys]atomic.Uint64 // version as of which the key does not exist; 0 = it does
	// What the cache has acknowledged.
	acknowledged [maxTrialKeys]atomic.Uint64

	loads [maxTrialKeys]atomic.Uint32
	slots [trialSlots]originSlot
	of    [trialPlaces]account
}

// An originSlot is what the origin has seen in a slot of the time line. Loads of keys that do not exist
// are no loads: whoever asks for those has to ask the origin.
type originSlot struct {
	loads       atomic.Uint32
	conditional atomic.Uint32 // of them: whoever asked had a version
}

// An account is what one process has counted.
type account struct {
	stale   atomic.Uint64 // reads of a value below the version that was acknowledged before they began
	undead  atomic.Uint64 // of them: of keys whose deletion was
	wrong   atomic.Uint64 // values of another key, or mutilated
	skipped atomic.Uint64 // operations that were due while the process stood still
	slots   [trialSlots]slot
}

// A slot is what a process has done of what was due in a slot of the time line.
type slot struct {
	keys   atomic.Uint32 // read, so far as they came from a call that returned no error
	misses atomic.Uint32 // Lookups that found nothing
	passed atomic.Uint32 // failures of a server that the caller has made up for by a load
	errors [opKinds][failureKinds]atomic.Uint32
	took   [opKinds]latencies
}

// openLedger maps a file into memory. Its pages take room once they are used.
func openLedger(file string) (*ledger, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := int(unsafe.Sizeof(ledger{}))
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*ledger)(unsafe.Pointer(&b[0])), nil
}

func (l *ledger) close() error {
	return syscall.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(l)), unsafe.Sizeof(*l)))
}

// slotAt returns the slot of the time line in which t falls.
func (l *ledger) slotAt(t time.Time) int {
	return int(max(0, min(trialSlots-1, (t.UnixNano()-l.began.Load())/int64(slotLength))))
}

// load returns the version of a key in the origin, and false if there is no such key. What it returns
// is what was there when it began: the worst for a cache. known is the version that the caller has, if
// it says so.
func (l *ledger) load(key int, known uint64, knows bool) (version uint64, ok bool) {
	at := &l.slots[l.slotAt(time.Now())]
	version, ok = l.stored[key].Load(), l.gone[key].Load() == 0
	if ok {
		l.loads[key].Add(1)
		at.loads.Add(1)
	}
	if ok && knows {
		at.conditional.Add(1)
	}
	time.Sleep(time.Duration(l.takes.Load()))
	return version, ok
}
