package covey

// options.go holds what can be set on a cache, its defaults and its limits:
// defaults are applied in withDefaults, mistakes are found in validate, both only there.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/coveycache/covey/internal/sizeof"
	"github.com/coveycache/covey/internal/wire"
)

// A Loader fetches the value of key from the origin. It returns [ErrNotFound] if
// there is none, and may return [ErrUnchanged]. [LoadInfo] lets it set the TTL and
// the version of what it returns. See [Cache.Get] for its context and how long it may
// live. A loader may be called concurrently, for different keys.
//
// What it returns is kept: it must not be modified afterwards, and strings and slices that were
// cut from larger ones have to be cloned before (see [Cache]).
type Loader[V any] func(ctx context.Context, key string) (V, error)

// A BulkLoader fetches the values of several keys. If it returns a nil error, keys
// that are absent from the map are taken as not found. If it returns an error, the map may
// still hold those that were found; the others have failed with that error. Keys that
// were not asked for are ignored and counted in Stats.ExtraKeys. [Load.For] gives
// access to one key of the load. Otherwise it is like a [Loader].
type BulkLoader[V any] func(ctx context.Context, keys []string) (map[string]V, error)

// Options configure a cache. The zero value is a cache of 64 MiB without expiry. Durations of more
// than 100 years are errors.
type Options[V any] struct {
	// MaxBytes bounds the bytes that are accounted for: keys, values, entries, index and the
	// versions of what was deleted. In a group it is the bound of this process alone. 0 means no
	// bound if MaxEntries is set, else 64 MiB. Negative is an error.
	MaxBytes int64
	// MaxEntries bounds the number of entries, copies (see L1) not included. 0 means no bound.
	// Negative is an error.
	MaxEntries int
	// MaxValueBytes is the size (see Size) of the largest value that is stored. Values over 64 MiB
	// do not travel between processes. 0 means an eighth of MaxBytes, but at least 4 KiB and at
	// most 64 MiB. Negative is an error, as is 2 GiB or more.
	MaxValueBytes int64
	// Eviction is the policy by which a full cache chooses what leaves. The zero value is LFU.
	Eviction Eviction
	// Size returns how many bytes a value holds beyond the V itself, for MaxBytes. It runs once for
	// each value stored and must be safe for concurrent use; a value of negative size is not
	// stored, nor is one for which it panics, which is logged. nil means: exact for []byte and
	// string, 0 for a V without pointers, otherwise what a walk by reflection finds. That is exact
	// for up to 10,000 references (strings, pointers, slices, maps, interfaces) and an estimate
	// from a sample beyond that.
	Size func(key string, v V) int

	// Loader loads what a Get with a nil loader misses. In a group it runs at the owner of the key,
	// so set it in every process. nil means none.
	Loader Loader[V]
	// BulkLoader loads what a GetMany with a nil loader misses. nil means Loader, once for each
	// key.
	BulkLoader BulkLoader[V]
	// BulkSize bounds how many keys one call of a bulk loader is given, and how many keys that are
	// missing a GetMany asks other peers for at once. What is more goes in further batches. 0 means
	// 1,000. Negative is an error.
	BulkSize int
	// LoadTimeout bounds a load, from the miss on: then its context is cancelled and everybody who
	// waits gets ErrLoadTimeout, even if the loader does not return. 0 means 30 s, negative means
	// no timeout.
	LoadTimeout time.Duration
	// SoftTimeout is how long a Get waits for a load if it has a stale value to fall back on (see
	// StaleIfError). Then it returns that, and the load goes on. In a group this is so for keys
	// that this process owns. 0 or negative means as long as the load takes.
	SoftTimeout time.Duration
	// FinishAbandoned lets a load go on, and its value be stored, when everybody who waited for it
	// has left. By default its context is cancelled then.
	FinishAbandoned bool

	// TTL is how long a value is fresh, from its Put or the end of its load. 0 means Forever.
	// Negative is an error.
	TTL time.Duration
	// TTLJitter shortens each key's TTL by a share between 0 and TTLJitter, always the same one for
	// a key, so that what was loaded together does not expire together. 0 means 0.1, negative means
	// no jitter; more than 0.9 is an error.
	TTLJitter float64
	// IdleTTL removes entries that nobody has used for that long, to within a twentieth of it or of
	// a second, whichever is more. It needs TTL as the absolute bound. 0 means off. Negative is an
	// error.
	IdleTTL time.Duration
	// NegativeTTL is how long a loader's ErrNotFound is remembered. 0 means 10 s, or TTL if that is
	// shorter; negative means not at all.
	NegativeTTL time.Duration
	// StaleWhileRevalidate is how long after the end of its TTL a value is still served at once,
	// while a refresh runs in the background. 0 or negative means not at all.
	StaleWhileRevalidate time.Duration
	// StaleIfError is how long after the end of its TTL a value is still served if its load fails
	// or exceeds SoftTimeout. It counts from the same point as StaleWhileRevalidate. 0 or negative
	// means not at all.
	StaleIfError time.Duration
	// ErrorThrottle is how long after a load of a key that failed, or was refused, the next one has
	// to wait, as long as the old value can be served. 0 means 1 s, negative means no pause.
	ErrorThrottle time.Duration
	// EarlyRefresh is β of the XFetch rule: a hit starts a refresh in the background with a
	// probability that grows towards the end of the TTL; the longer the load took, the sooner. 0
	// means 1, larger means sooner, negative means never before the end of the TTL; more than 100
	// is an error.
	EarlyRefresh float64
	// MaxRefreshes bounds how many refreshes run in the background at once; further ones are
	// skipped, not queued. 0 means 16. Negative means no background refresh at all.
	MaxRefreshes int

	// MaxLoads bounds how many loaders run at once in this process. Further loads wait for their
	// turn, until LoadTimeout, and then fail with ErrOverloaded. A load that a running loader waits
	// for, here or at a peer, has its turn at once, beyond the bound, as that loader could not go
	// on otherwise. The cache knows by the context that the loader passes to Get. What waits
	// through three or more processes is not always known: then LoadTimeout ends it. Background
	// refreshes do not wait: they are skipped. 0 means no bound. Negative is an error.
	MaxLoads int
	// LoadRate bounds the loads a second in this process, LoadBurst how many of them may start at
	// once. A load waits for its turn if that comes within LoadTimeout; otherwise it fails with
	// ErrOverloaded at once. LoadRate 0 means no bound, and LoadBurst is an error then. LoadBurst 0
	// means max(1, LoadRate). Negative is an error.
	LoadRate  float64
	LoadBurst int
	// Breaker stops asking an origin that keeps failing. nil means no breaker. It is copied.
	Breaker *Breaker

	// Group shares the cache with the caches of the same name in the other processes of the group.
	// nil means that this process is alone. Every member that owns keys should have the cache, with
	// a codec of the same name and the same Version. Where one does not, as during a deploy, each
	// process loads what that one owns for itself, once, and keeps it for 10 s at most; a Put of it
	// stores nothing. All that is promised of writes holds there, too: they reach all processes that
	// have a cache of that name, whatever its codec.
	Group *Group
	// Replicas is how many processes have each value in the end: its owner, and Replicas-1 others, in
	// other zones (see Member) as far as there are any. They get it after it was stored or loaded, in
	// the background, and serve it to their own callers; if the owner crashes one of them takes its
	// place, and nothing need be loaded. Each write is confirmed by them before it takes effect, so
	// they are as true as the owner; that takes one more round trip. Replicas leave the cache before
	// anything that the process owns, and count towards MaxBytes. All members should have the same
	// number: as long as they differ each sends its values to as many as it wants, and writes wait for
	// the greatest number, of any cache of the group. A process that has one of the copies and cannot
	// be reached holds writes of those keys up until the others go on without it, some 3 s. 0 means 1,
	// the owner alone; without a Group it has no effect. Negative is an error, as is more than 8.
	Replicas int
	// ReadFrom says whom to ask for a key that another process owns: its owner, or any process that
	// has the value, in this one's zone if there is one. Either answer is true (see Replicas). The
	// zero value is ReadFromOwner.
	ReadFrom ReadFrom
	// SelfCheck is how many replicas and copies (see L1) that were used lately this process compares
	// with what their owners have, each second in the background. What differs for longer than a lease is counted
	// (Stats.Mismatches), logged and dropped. 0 means none. Negative is an error, as is more than
	// 10,000.
	SelfCheck int
	// L1 bounds the bytes, out of MaxBytes, that copies of other peers' hot keys may take in this
	// process. 0 means a quarter of MaxBytes, or 16 MiB if there is no MaxBytes; more than half of
	// MaxBytes is an error; negative means no copies but of keys whose owners do not share the
	// cache (see Group), for which there is a sixteenth of MaxBytes then.
	L1 int64
	// Codec turns values into bytes where they leave the process, for another one or a Snapshot; its
	// name and Version have to be the same in all processes that share the cache. nil means the
	// bytes themselves for a V that is a string or a []byte (nil arrives as an empty one) and
	// encoding/json for all other types.
	//
	// The name of that JSON has a hash of what V looks like in it: the names of the fields and the
	// kinds of what they hold, and the names of types that encode themselves by MarshalJSON or
	// MarshalText. So while a deploy changes V, old and new processes do not share the cache,
	// instead of reading what the others do not have as zero. The names of other types, the order of
	// fields, and what comes of MarshalJSON count for nothing; see Version.
	//
	// A value comes back from another process as it was, or it does not go there. In a group New
	// returns an error that names what of V JSON would lose, such as fields that are not exported,
	// and logs what may concern some values: empty slices that omitempty makes nil, and interfaces.
	// Values with strings that are not UTF-8, floats that are no numbers, or something else than
	// JSON's own types (nil, bool, float64, string, []any, map[string]any) in an interface are
	// refused; see [Codec]. [JSONCodec] takes all this as it comes. Of types with methods of their
	// own, what these keep comes back: of a time.Time, that is the time.
	Codec Codec[V]
	// Version tells values apart that look the same and mean something else, such as an amount in
	// cents that was one in euros: change it together with the meaning, or with what a MarshalJSON
	// writes. Processes with different versions share no values, but a Put or Delete by one of them
	// removes what the others have (see Group). It may be any text; with the codec's name it may
	// have 254 bytes. It has no effect without a Group or a Snapshot.
	Version string
	// Snapshot has the cache written to a file, and begin with what is there. The zero value means no
	// file. Values need a Codec then, as in a group.
	Snapshot Snapshot
	// Events are functions that the cache calls when something happens. The zero value has none.
	Events Events[V]
	// Tracer is told of loads and of requests to and from other processes, for spans. Hits cost
	// nothing more with it. nil means none.
	Tracer Tracer
	// Logger gets what goes wrong in the background. What goes wrong for many keys is logged every
	// 10 s at most, with one of the keys and the number of lines suppressed since the last one. Its
	// handler runs on a goroutine of its own, for one line after another, and may use the cache.
	// Nothing waits for it but Close, for 5 s at most. If it is so slow that 1,024 lines wait,
	// further ones are dropped and their number is logged; if it panics, the line is lost. nil
	// means slog.Default(), as it is when New is called.
	Logger *slog.Logger
}

// A Breaker is a circuit breaker between a cache and its origin. It starts closed: loads pass. If
// there were at least MinLoads loads within Window and a share of FailureRatio or more of them
// failed, it opens: every load fails with [ErrOverloaded] at once. After Cooldown it is half-open:
// it lets Probes loads pass, closes if all of them succeed, and opens again as soon as one fails.
//
// ErrNotFound and ErrUnchanged are successes. A load that was cancelled because nobody waited any
// more is neither success nor failure. A load that exceeds LoadTimeout is a failure from then on,
// whether its loader returns or not.
type Breaker struct {
	// FailureRatio is the share of failures that opens the breaker. 0 means 0.5. Negative or more
	// than 1 is an error.
	FailureRatio float64
	// MinLoads is how many loads there must have been to judge by. 0 means 10. Negative is an
	// error.
	MinLoads int
	// Window is the time in which loads and failures are counted. 0 means 10 s. Negative is an
	// error.
	Window time.Duration
	// Cooldown is how long the breaker stays open. 0 means 5 s. Negative is an error.
	Cooldown time.Duration
	// Probes is how many loads a half-open breaker lets pass. 0 means 3. Negative is an error.
	Probes int
}

const (
	defaultMaxBytes      = 64 << 20
	defaultMaxValueBytes = 64 << 20
	defaultLoadTimeout   = 30 * time.Second
	defaultNegativeTTL   = 10 * time.Second
	maxTTL               = wire.MaxDuration // 100 years: sums of two of these stay within int64
)

// Forever is the TTL of a value that does not expire, for [Options], [WithTTL] and [Load.SetTTL].
const Forever time.Duration = math.MaxInt64

// checkTTL reports a TTL that is over the limit.
func checkTTL(ttl time.Duration) error {
	if ttl > maxTTL && ttl != Forever {
		return fmt.Errorf("the TTL is %v, the limit is %v, or covey.Forever", ttl, maxTTL)
	}
	return nil
}

func (o Options[V]) withDefaults() Options[V] {
	if o.TTL == Forever {
		o.TTL = 0
	}
	if o.MaxBytes == 0 && o.MaxEntries == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.L1 == 0 {
		o.L1 = o.MaxBytes / 4
		if o.MaxBytes == 0 {
			o.L1 = 16 << 20
		}
	}
	setDefault(&o.LoadTimeout, defaultLoadTimeout)
	setDefault(&o.BulkSize, 1000)
	setDefault(&o.Replicas, 1)
	setDefault(&o.TTLJitter, 0.1)
	setDefault(&o.EarlyRefresh, 1)
	setDefault(&o.MaxRefreshes, 16)
	setDefault(&o.ErrorThrottle, time.Second)
	if o.NegativeTTL == 0 {
		o.NegativeTTL = defaultNegativeTTL
		if o.TTL > 0 {
			o.NegativeTTL = min(o.NegativeTTL, o.TTL)
		}
	}
	if o.LoadRate > 0 {
		setDefault(&o.LoadBurst, max(1, int(min(o.LoadRate, math.MaxInt32))))
	}
	if o.Breaker != nil {
		b := *o.Breaker
		setDefault(&b.FailureRatio, 0.5)
		setDefault(&b.MinLoads, 10)
		setDefault(&b.Window, 10*time.Second)
		setDefault(&b.Cooldown, 5*time.Second)
		setDefault(&b.Probes, 3)
		o.Breaker = &b
	}
	// For durations of which 0 means off, so does every negative value.
	for _, d := range []*time.Duration{&o.LoadTimeout, &o.SoftTimeout, &o.NegativeTTL, &o.StaleWhileRevalidate, &o.StaleIfError, &o.ErrorThrottle} {
		*d = max(*d, 0)
	}
	o.TTLJitter = max(o.TTLJitter, 0)
	o.EarlyRefresh = max(o.EarlyRefresh, 0)
	o.MaxRefreshes = max(o.MaxRefreshes, 0)
	if o.Snapshot.Path != "" {
		setDefault(&o.Snapshot.Interval, defaultSnapshotInterval)
		setDefault(&o.Snapshot.MaxAge, defaultSnapshotAge)
	}
	if o.Size == nil {
		o.Size = sizeof.Func[V]()
	}
	if o.Codec == nil {
		o.Codec = defaultCodec[V]()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = queueLogs(o.Logger)
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate reports all mistakes at once. It sees the options as the user gave them.
func (o Options[V]) validate(name string) error {
	var errs []error
	bad := func(field string, value any, want string) {
		errs = append(errs, fmt.Errorf("covey: cache %q: Options.%s is %v, %s", name, field, value, want))
	}
	notNegative := func(field string, value int64, shown any) {
		if value < 0 {
			bad(field, shown, "it must not be negative")
		}
	}
	if name == "" {
		errs = append(errs, errors.New("covey: the cache's name is empty"))
	} else if len(name) > MaxKeyLen {
		errs = append(errs, fmt.Errorf("covey: the cache's name has %d bytes, the limit is %d", len(name), MaxKeyLen))
	}
	notNegative("MaxBytes", o.MaxBytes, o.MaxBytes)
	notNegative("MaxEntries", int64(o.MaxEntries), o.MaxEntries)
	notNegative("MaxValueBytes", o.MaxValueBytes, o.MaxValueBytes)
	if o.MaxValueBytes > math.MaxInt32 {
		bad("MaxValueBytes", o.MaxValueBytes, fmt.Sprintf("the limit is %d", math.MaxInt32))
	}
	notNegative("BulkSize", int64(o.BulkSize), o.BulkSize)
	notNegative("MaxLoads", int64(o.MaxLoads), o.MaxLoads)
	notNegative("LoadBurst", int64(o.LoadBurst), o.LoadBurst)
	if o.ReadFrom > ReadFromAny {
		bad("ReadFrom", uint8(o.ReadFrom), "it must be ReadFromOwner or ReadFromAny")
	}
	if o.SelfCheck < 0 || o.SelfCheck > maxSelfCheck {
		bad("SelfCheck", o.SelfCheck, fmt.Sprintf("it must be from 0 to %d", maxSelfCheck))
	}
	if o.Replicas < 0 || o.Replicas > maxReplicas {
		bad("Replicas", o.Replicas, fmt.Sprintf("it must be from 0 to %d", maxReplicas))
	}
	if o.MaxBytes > 0 && o.L1 > o.MaxBytes/2 {
		bad("L1", o.L1, "it must be at most half of MaxBytes")
	}
	if o.Eviction > FIFO {
		bad("Eviction", uint8(o.Eviction), "it must be LFU, LRU or FIFO")
	}
	if o.TTLJitter > 0.9 || math.IsNaN(o.TTLJitter) {
		bad("TTLJitter", o.TTLJitter, "the limit is 0.9")
	}
	if math.IsNaN(o.EarlyRefresh) || o.EarlyRefresh > 100 {
		bad("EarlyRefresh", o.EarlyRefresh, "the limit is 100")
	}
	if o.LoadRate < 0 || math.IsNaN(o.LoadRate) {
		bad("LoadRate", o.LoadRate, "it must not be negative")
	}
	if o.LoadBurst > 0 && o.LoadRate == 0 {
		bad("LoadBurst", o.LoadBurst, "it needs a LoadRate")
	}
	for _, d := range []struct {
		field    string
		value    time.Duration
		negative bool
	}{
		{"TTL", o.TTL, false}, {"IdleTTL", o.IdleTTL, false},
		{"NegativeTTL", o.NegativeTTL, true}, {"LoadTimeout", o.LoadTimeout, true}, {"SoftTimeout", o.SoftTimeout, true},
		{"StaleWhileRevalidate", o.StaleWhileRevalidate, true}, {"StaleIfError", o.StaleIfError, true}, {"ErrorThrottle", o.ErrorThrottle, true},
		{"Snapshot.Interval", o.Snapshot.Interval, false}, {"Snapshot.MaxAge", o.Snapshot.MaxAge, false},
	} {
		if !d.negative {
			notNegative(d.field, int64(d.value), d.value)
		}
		if d.value > maxTTL && !(d.field == "TTL" && d.value == Forever) {
			bad(d.field, d.value, fmt.Sprintf("the limit is %v", maxTTL))
		}
	}
	if s := o.Snapshot; s != (Snapshot{}) && s.Path == "" {
		bad("Snapshot.Path", `""`, "the rest of Snapshot needs it")
	}
	notNegative("Snapshot.MaxBytes", o.Snapshot.MaxBytes, o.Snapshot.MaxBytes)
	if o.IdleTTL > 0 && (o.TTL <= 0 || o.TTL == Forever) {
		bad("IdleTTL", o.IdleTTL, "it needs a TTL as the absolute bound")
	}
	if b := o.Breaker; b != nil {
		if b.FailureRatio < 0 || b.FailureRatio > 1 || math.IsNaN(b.FailureRatio) {
			bad("Breaker.FailureRatio", b.FailureRatio, "it must lie in (0, 1]")
		}
		notNegative("Breaker.MinLoads", int64(b.MinLoads), b.MinLoads)
		notNegative("Breaker.Window", int64(b.Window), b.Window)
		notNegative("Breaker.Cooldown", int64(b.Cooldown), b.Cooldown)
		for field, d := range map[string]time.Duration{"Breaker.Window": b.Window, "Breaker.Cooldown": b.Cooldown} {
			if d > maxTTL {
				bad(field, d, fmt.Sprintf("the limit is %v", maxTTL))
			}
		}
		notNegative("Breaker.Probes", int64(b.Probes), b.Probes)
	}
	return errors.Join(errs...)
}

// A PutOption changes what one Put does, or each Put of a PutMany. If the same option is given
// twice, the last one counts. The zero value changes nothing.
type PutOption struct {
	ttl        time.Duration
	version    uint64
	hasTTL     bool
	hasVersion bool
	ttls       map[string]time.Duration
	versions   map[string]uint64
	replicated bool

	ifAbsent, hasIfVersion bool
	ifVersion              uint64
}

// WithReplicated makes the Put wait until those who keep replicas have the value, too, so that it
// outlives a crash of its owner that comes just then. If they cannot be reached within half of
// GroupOptions.OpTimeout it returns [ErrNotReplicated]: the value is stored all the same, and goes
// to them later. Without replicas (see Options.Replicas) it has no effect.
func WithReplicated() PutOption { return PutOption{replicated: true} }

// WithTTL makes the value fresh for ttl instead of Options.TTL. Options.TTLJitter applies as usual.
// [Forever] means no expiry. 0 or negative means that the value is stale already, as the rest of a
// TTL may be that was computed: it is not stored, and the old one is removed. A ttl of more than
// 100 years is an error, and the Put changes nothing.
func WithTTL(ttl time.Duration) PutOption { return PutOption{ttl: ttl, hasTTL: true} }

// WithTTLs is [WithTTL] with a TTL of its own for each key of a PutMany. Keys that are not in the
// map are put as if the option were not given. The map must not be modified until the call returns.
func WithTTLs(ttls map[string]time.Duration) PutOption { return PutOption{ttls: ttls} }

// WithVersion makes the Put conditional: it fails with [ErrOutdated] if the cache knows a higher
// version of the key, and does nothing, without an error, if it knows the same one. The cache knows
// the version of what it has stored and, for up to five minutes, of what was deleted (see
// [DeletedAt]); of what was evicted or has expired it knows nothing. A Put without a version always
// succeeds and keeps the version that was known.
func WithVersion(version uint64) PutOption { return PutOption{version: version, hasVersion: true} }

// WithVersions is [WithVersion] with a version of its own for each key of a PutMany. Keys that are
// not in the map are put as if the option were not given. The map must not be modified until the
// call returns.
func WithVersions(versions map[string]uint64) PutOption { return PutOption{versions: versions} }

// joinPutOptions returns what the options say about key.
func joinPutOptions(key string, opts []PutOption) (o PutOption) {
	for _, p := range opts {
		o.replicated = o.replicated || p.replicated
		o.ifAbsent = o.ifAbsent || p.ifAbsent
		if p.hasIfVersion {
			o.ifVersion, o.hasIfVersion = p.ifVersion, true
		}
		if p.hasTTL {
			o.ttl, o.hasTTL = p.ttl, true
		} else if ttl, ok := p.ttls[key]; ok {
			o.ttl, o.hasTTL = ttl, true
		}
		if p.hasVersion {
			o.version, o.hasVersion = p.version, true
		} else if version, ok := p.versions[key]; ok {
			o.version, o.hasVersion = version, true
		}
	}
	return o
}

// A DeleteOption changes what one Delete does, or each Delete of a DeleteMany. If several are
// given, the last one counts. The zero value changes nothing.
type DeleteOption struct {
	version    uint64
	hasVersion bool
	versions   map[string]uint64

	hasIfVersion bool
	ifVersion    uint64
}

// DeletedAt gives the Delete the version that the deletion has at the origin, and makes it
// conditional: it fails with [ErrOutdated] if the cache knows a higher version of the key, and does
// nothing, without an error, if it knows the same one.
// For up to five minutes the cache remembers the version: Puts are then refused as [WithVersion]
// describes, and loaded values of a lower version are not stored. It remembers the last 65,536
// deletions, or as many as fit into an eighth of Options.MaxBytes, at 68 bytes each.
func DeletedAt(version uint64) DeleteOption {
	return DeleteOption{version: version, hasVersion: true}
}

// DeletedAtVersions is [DeletedAt] with a version of its own for each key of a DeleteMany. Keys
// that are not in the map are deleted as if the option were not given. The map must not be modified
// until the call returns.
func DeletedAtVersions(versions map[string]uint64) DeleteOption {
	return DeleteOption{versions: versions}
}

// joinDeleteOptions returns what the options say about key.
func joinDeleteOptions(key string, opts []DeleteOption) (o DeleteOption) {
	for _, d := range opts {
		if d.hasIfVersion {
			o.ifVersion, o.hasIfVersion = d.ifVersion, true
		}
		if d.hasVersion {
			o.version, o.hasVersion = d.version, true
		} else if version, ok := d.versions[key]; ok {
			o.version, o.hasVersion = version, true
		}
	}
	return o
}
