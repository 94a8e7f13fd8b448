package covey

// snapshot.go keeps a cache warm through a restart: it writes what the cache has to a file, and
// begins with what it finds there. internal/snapfile knows the file, snapshot_write.go and
// snapshot_read.go fill and read it.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/snapfile"
)

// A Snapshot has a cache write what it holds to a file, every Interval and when it is closed, and
// begin with it when it is made anew: a process that was restarted answers from memory again from
// its first request on.
//
// [New] reads the file, for 2 s at most; what is left after that follows in the background, what
// was used most first. Whatever is written, deleted, cleared or loaded meanwhile is newer: it stays
// as it is. The bounds of the cache hold all the time. A file that is too old, belongs to another
// cache or was written with another codec or Version is not read, nor is one from a later version
// of this package, or one whose time lies in the future. That is logged, as are damaged files, of
// which the sound parts are used.
//
// What comes back serves until the end of its TTL, for which the time that the process was down
// counts. (If the wall clock was set meanwhile, it counts as far as can be known; on Linux, as long
// as the machine was not started anew, all of it does.) But the cache cannot know what has changed
// at the origin while there was no process, nor, if the process was killed, what was written to the
// cache or deleted from it since the file was written, for Interval at most: that is undone. So
// give such values a TTL or, with MaxAge, a bound. Versions of what was deleted (see [DeletedAt])
// are forgotten.
//
// In a group others may have written and deleted what the file has. So nobody is served from it.
// But where this process loads a key that it owns with Options.Loader or Options.BulkLoader, or one
// that was passed to a call here, the old value is known to the loader ([Load.StaleVersion]), which
// may return [ErrUnchanged]: loads after a restart are conditional ones. (Those that another process
// runs, with the loader that was passed to its call, are not.) A write of the key and a Clear end that. What is kept for it counts towards the
// bounds, and is the first to leave. The last file is written when [Group.Shutdown] begins.
//
// The file is replaced as a whole: whenever the process or the machine ends, there is the new one
// or the one before. Only the user of the process may read it. It takes the room of two while it is
// written. Values that cannot be encoded, or have more than 64 MiB, are not in it.
type Snapshot struct {
	// Path is the name of the file. Its folder has to exist. Each cache needs a file of its own:
	// New fails if another cache of this process uses it. Two processes must not share it either.
	// It must not end in .seal. "" means that there are no snapshots.
	Path string
	// Interval is how often the file is written. This takes a quarter of one processor's time, and
	// no lock for long. 0 means 5 minutes. Negative is an error.
	Interval time.Duration
	// MaxBytes bounds the length of the file: it has what is used most. 0 means no bound. Negative
	// is an error.
	MaxBytes int64
	// MaxAge is how old the file may be when it is read. 0 means 1 hour. Negative is an error.
	MaxAge time.Duration
	// Trust has a group that was down as a whole go on with what its members' files have: in the
	// first 10 minutes an owner that would have to load a key asks all members, and takes the newest
	// value that nobody has replaced since, as far as they know together. If that is not enough to be
	// sure, it loads, conditionally, as without Trust. So nobody is served what an acknowledged Put,
	// Delete, Expire or Clear had replaced, however the processes have ended; as to changes at the
	// origin, it is as with a process that is alone.
	//
	// It takes effect if all who were members in the end have left by [Group.Shutdown], with time
	// enough for their files, and all are back, each with its files, under whatever names, and so are
	// those who had left before and are still listed; and until any of them ends again, or the cache
	// is cleared. All members, 32 at most, need Trust. If one was killed or is missing, or a file of
	// one is not its last, nothing is trusted. Of a group that others have founded meanwhile, who are
	// not listed any more, nobody knows: have no other processes run in between. What was written
	// while the others were ending is loaded, and so are some other keys, one in 65,536 for each.
	//
	// There is a second file, Path with ".seal" at its end, of 0.4 MB at most, which New removes, and
	// fails if it cannot: keep the two together, and restore them from no backup, as nobody can tell
	// that from a restart if all members' are. In memory it takes 1 MB. Without a group it changes
	// nothing.
	Trust bool
}

const (
	defaultSnapshotInterval = 5 * time.Minute
	defaultSnapshotAge      = time.Hour

	// restoreWait is how long New waits for what is in the file.
	restoreWait = 2 * time.Second
	// lastSnapshot is how long Close and Shutdown write. Then the file ends with what it has.
	lastSnapshot = 10 * time.Second
)

// snapshots are a cache's.
type snapshots[V any] struct {
	c        *Cache[V]
	path     string // absolute
	codec    string // the codec's name, with Options.Version
	restored chan struct{}
	done     chan struct{} // closed when the last file has been written
	progress atomic.Int64  // grows while anything gets done
	stuck    chan struct{} // closed when the codec returns that did not; nil: it always has

	once   sync.Once
	ending chan struct{} // closed by end
	last   lastWrite     // set before that

	without []string // prefixes of keys that are not restored (any more); guarded by the policy lock

	mu sync.Mutex
	on SnapshotStats
}

// lastWrite is what has to be written at the end.
type lastWrite struct {
	ctx  context.Context
	from snapshotSource
}

// SnapshotStats say what became of a cache's snapshots. The zero value is that of a cache without
// any.
type SnapshotStats struct {
	Restored int64     // entries that came from the file when the cache was made
	Aside    int64     // those of them, in a group, that nobody has asked for yet; a gauge
	Written  int64     // files written
	Failed   int64     // files that could not be written
	Entries  int64     // in the last one that was written
	Bytes    int64     // of it
	At       time.Time // when it was written; zero: none was
	Err      error     `json:"-"` // why the last attempt to write failed; nil if it did not
}

// snapshotPaths are those in use in this process.
var snapshotPaths sync.Map

// newSnapshots reserves the file.
func (c *Cache[V]) newSnapshots(codec string) (*snapshots[V], error) {
	path, err := filepath.Abs(c.opt.Snapshot.Path)
	if err != nil {
		return nil, fmt.Errorf("covey: cache %q: Options.Snapshot.Path: %w", c.name, err)
	}
	if folder, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(folder, filepath.Base(path))
	}
	if strings.HasSuffix(path, sealSuffix) {
		return nil, fmt.Errorf("covey: cache %q: Options.Snapshot.Path is %q: it must not end in %s, as the files beside snapshots do (see Snapshot.Trust)", c.name, c.opt.Snapshot.Path, sealSuffix)
	}
	if _, used := snapshotPaths.LoadOrStore(path, nil); used {
		return nil, fmt.Errorf("covey: cache %q: Options.Snapshot.Path is %q, which another cache uses", c.name, c.opt.Snapshot.Path)
	}
	for i := range c.shards {
		c.shards[i].wrote = make(map[uint32]struct{})
	}
	return &snapshots[V]{
		c: c, path: path, codec: codec,
		restored: make(chan struct{}), done: make(chan struct{}), ending: make(chan struct{}),
	}, nil
}

// release gives the file back.
func (s *snapshots[V]) release() { snapshotPaths.Delete(s.path) }

// start reads the file and has others written from now on. It returns when the file has been read,
// or after a while.
func (s *snapshots[V]) start() {
	s.c.wg.Go(s.run)
	timer := time.NewTimer(restoreWait)
	defer timer.Stop()
	select {
	case <-s.restored:
	case <-timer.C:
	}
}

func (s *snapshots[V]) run() {
	defer s.release()
	defer close(s.done)
	s.restore()
	ticker := time.NewTicker(s.c.opt.Snapshot.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-s.ending:
			ctx, cancel := context.WithTimeout(s.last.ctx, lastSnapshot)
			s.note(s.write(s.last.from, ctx.Done()))
			cancel()
			s.c.aside.clear()
			return
		case <-ticker.C:
			if err := s.write(s.live(), nil); !errors.Is(err, errEnding) {
				s.note(err)
			}
		}
	}
}

// end has a last file written, from what there is, until ctx ends at most. Only the first call
// counts.
func (s *snapshots[V]) end(ctx context.Context, from snapshotSource) {
	s.once.Do(func() {
		s.last = lastWrite{ctx, from}
		close(s.ending)
	})
}

// wait waits for the last file. It returns an error if nothing gets done.
func (s *snapshots[V]) wait() error {
	for {
		seen := s.progress.Load()
		timer := time.NewTimer(closeGrace)
		select {
		case <-s.done:
			timer.Stop()
			return nil
		case <-timer.C:
			if s.progress.Load() == seen {
				return fmt.Errorf("covey: cache %q: its snapshot has not been written: nothing got done for %v", s.c.name, closeGrace)
			}
		}
	}
}

// note takes down what has become of a file.
func (s *snapshots[V]) note(err error) {
	s.mu.Lock()
	s.on.Err = err
	if err != nil {
		s.on.Failed++
	} else {
		s.on.Written++
	}
	s.mu.Unlock()
	if err != nil {
		s.c.log.warn("covey: cannot write the snapshot", "", "path", s.path, "err", err)
	}
}

// stats returns a copy.
func (s *snapshots[V]) stats() SnapshotStats {
	if s == nil {
		return SnapshotStats{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	on := s.on
	on.Aside = s.c.store.asides.Load()
	return on
}

// hangAfter is how long the codec may take for one value, and Size: then it hangs.
const hangAfter = closeGrace

var errHangs = fmt.Errorf("covey: a function of Options.Codec, or Options.Size, has not returned for %v", hangAfter)

// eachApart calls f, which calls what, functions of the user's, for 0 to n-1 in order, on another
// goroutine. If f fails, panics or calls Goexit for one of them, failed is called and the next one
// follows. If f takes too long for one, eachApart returns errHangs: then f still runs.
func (s *snapshots[V]) eachApart(what string, n int, f func(i int) error, failed func(i int, err error)) error {
	var begun atomic.Int64
	timer := time.NewTimer(hangAfter)
	defer timer.Stop()
	for int(begun.Load()) < n {
		done := make(chan error, 1)
		returned := make(chan struct{})
		go call(what, func() (struct{}, error) {
			for {
				i := int(begun.Add(1)) - 1
				if i >= n {
					return struct{}{}, nil
				}
				if err := f(i); err != nil {
					return struct{}{}, err
				}
			}
		}, func(_ struct{}, err error) {
			done <- err
			close(returned)
		})
		for waits := true; waits; {
			seen := begun.Load()
			timer.Reset(hangAfter)
			select {
			case err := <-done:
				if err != nil {
					failed(int(begun.Load())-1, err)
				}
				waits = false
			case <-timer.C:
				if begun.Load() == seen {
					s.stuck = returned
					return errHangs
				}
			}
		}
	}
	return nil
}

// isStuck reports whether a function of the user's that hangs still does.
func (s *snapshots[V]) isStuck() bool {
	if s.stuck == nil {
		return false
	}
	select {
	case <-s.stuck:
		s.stuck = nil
		return false
	default:
		return true
	}
}

// A pace takes a part of the time only.
type pace struct {
	begun time.Time
	busy  time.Duration
	share time.Duration // of the time, one part is work; 0: paceShare
}

const (
	paceAfter = 5 * time.Millisecond // of work comes a pause
	paceShare = 4                    // of the time, one part is work, where nobody waits for it
)

// step is called between steps of the work. It returns false if stop is closed.
func (p *pace) step(stop <-chan struct{}) bool {
	now := time.Now()
	if !p.begun.IsZero() {
		p.busy += now.Sub(p.begun)
	}
	p.begun = now
	if p.busy < paceAfter {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(p.busy * (cmp.Or(p.share, paceShare) - 1))
	defer timer.Stop()
	p.busy = 0
	select {
	case <-stop:
		return false
	case <-timer.C:
		p.begun = time.Now()
		return true
	}
}

// bootTime returns which run of the machine's kernel this is, and how long it has lasted, suspended
// times included; "" where that is not known.
func bootTime() (boot string, up time.Duration) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0
	}
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return "", 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return "", 0
	}
	return strings.TrimSpace(string(id)), time.Duration(seconds * 1e9)
}

// header returns what a file that is written now says of itself.
func (s *snapshots[V]) header() snapfile.Header {
	h := snapfile.Header{Cache: s.c.name, Codec: s.codec, Written: time.Now().UnixNano()}
	h.Boot, h.Uptime = bootTime()
	if p := s.c.peering; p != nil {
		h.Instance = p.group.instance
	}
	return h
}
