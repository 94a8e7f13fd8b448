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
)

// A Loader fetches the value of key from the origin. It returns ErrNotFound if
// there is none, and may return ErrUnchanged. Inside it [LoadInfo] gives access
// to the load. See [Cache.Get] for the context it gets and how long it may live.
type Loader[V any] func(ctx context.Context, key string) (V, error)

// A BulkLoader fetches the values of several keys. A key that is absent from
// the map of a successful call is taken as not found; when it returns an error
// the map may hold those that were found, and the others are unknown. Keys that
// were not asked for are ignored and counted.
type BulkLoader[V any] func(ctx context.Context, keys []string) (map[string]V, error)

// Options configure a cache. The zero value is a cache of 64 MiB without expiry.
type Options[V any] struct {
	// MaxBytes bounds the accounted bytes: key, value, entry and index.
	// 0 means no bound if MaxEntries is set, else 64 MiB. Negative is an error.
	MaxBytes int64
	// MaxEntries bounds the number of entries. 0 means no bound. Negative is an error.
	MaxEntries int
	// MaxValueBytes is the size (see Size) of the largest value that is stored.
	// 0 means an eighth of MaxBytes, at most 64 MiB. Negative is an error.
	MaxValueBytes int64
	// Eviction is the policy of a full cache. The default is LFU.
	Eviction Eviction
	// Size tells how many bytes a value holds beyond the V itself, for MaxBytes. It runs once for each
	// value stored and must be safe for concurrent use. nil means: exact for []byte and string, 0 for a V without
	// pointers, else what a bounded walk by reflection finds.
	Size func(key string, v V) int

	// Loader loads what a Get with a nil loader misses.
	Loader Loader[V]
	// BulkLoader loads what a GetMany with a nil loader misses. nil means Loader, once per key.
	BulkLoader BulkLoader[V]
	// LoadTimeout ends a load: its context is cancelled and everybody who waits gets
	// ErrLoadTimeout, even if the loader does not return. 0 means 30 s, negative means none.
	LoadTimeout time.Duration
	// SoftTimeout is how long a Get waits for a load if it has a stale value to
	// fall back on; the load goes on. 0 or negative means as long as it takes.
	SoftTimeout time.Duration
	// FinishAbandoned lets a load finish, and its value be stored, when
	// everybody who waited for it has left. By default it is cancelled then.
	FinishAbandoned bool

	// TTL is how long a value is fresh, from the end of its load. 0 means for ever. Negative is an error.
	TTL time.Duration
	// TTLJitter shortens each key's TTL by a share between 0 and TTLJitter, so that what was
	// loaded together does not expire together. 0 means 0.1, negative means none; more than 0.9 is an error.
	TTLJitter float64
	// IdleTTL removes entries that were not used for so long; it needs TTL as the
	// absolute bound. Use is seen with a precision of a sixteenth of a second. 0 means off. Negative is an error.
	IdleTTL time.Duration
	// NegativeTTL is how long ErrNotFound is remembered. 0 means the smaller of
	// TTL and 10 s, negative means not at all.
	NegativeTTL time.Duration
	// StaleWhileRevalidate is how long after its TTL a value is still served
	// while a refresh runs in the background. 0 or negative means not at all.
	StaleWhileRevalidate time.Duration
	// StaleIfError is how long after its TTL a value is still served if a load
	// fails. It counts from the same point as StaleWhileRevalidate. 0 or negative means not at all.
	StaleIfError time.Duration
	// ErrorThrottle is how long after a failed load no other is tried for the
	// same key while a stale value can be served. 0 means 1 s, negative means no throttle.
	ErrorThrottle time.Duration
	// EarlyRefresh is β of the XFetch rule: each hit refreshes in the background
	// with a probability that grows towards the end of the TTL, the sooner the
	// longer the load took. 0 means 1, negative means never before the TTL's end.
	EarlyRefresh float64
	// MaxRefreshes bounds the refreshes that run in the background; more are
	// skipped, not queued. 0 means 16. Negative means no background refresh at all.
	MaxRefreshes int

	// MaxLoads bounds the loaders that run at once. Others wait for their turn until LoadTimeout, then get
	// ErrOverloaded; a load started inside a loader does not wait. 0 means no bound. Negative is an error.
	MaxLoads int
	// LoadRate bounds the loads per second, LoadBurst how many may come at once.
	// A load waits for its turn if that is within LoadTimeout, else it gets
	// ErrOverloaded. LoadRate 0 means no bound, LoadBurst 0 means max(1, LoadRate). Negative is an error.
	LoadRate  float64
	LoadBurst int
	// Breaker stops asking an origin that keeps failing. nil means no breaker.
	Breaker *Breaker

	// Group shares the cache with the caches of the same name at the other members. nil means that this
	// process is alone.
	Group *Group
	// L1 bounds the bytes, out of MaxBytes, of the local copies of other peers' keys that this process asks for often. 0 means a
	// quarter of MaxBytes, or 16 MiB if that is not bounded; negative means no local copies.
	L1 int64
	// Codec turns values into bytes where they have to leave the process. nil
	// means the bytes themselves for []byte and string, JSON for the rest.
	Codec Codec[V]
	// Events are told what happens.
	Events Events[V]
	// Logger gets what goes wrong in the background. nil means slog.Default().
	Logger *slog.Logger
}

// A Breaker is a circuit breaker between a cache and its origin. It is closed
// (loads pass) until, of at least MinLoads loads within Window, FailureRatio or more failed. Then
// it is open (every load gets ErrOverloaded at once) for Cooldown, then half-open: Probes loads
// pass, and if all succeed it closes, if one fails it opens again.
// ErrNotFound and ErrUnchanged are successes; a load that was cancelled because nobody waited any more is neither.
type Breaker struct {
	// FailureRatio: 0 means 0.5. It must lie in (0, 1].
	FailureRatio float64
	// MinLoads: 0 means 10. Negative is an error.
	MinLoads int
	// Window: 0 means 10 s. Negative is an error.
	Window time.Duration
	// Cooldown: 0 means 5 s. Negative is an error.
	Cooldown time.Duration
	// Probes: 0 means 3. Negative is an error.
	Probes int
}

const (
	defaultMaxBytes      = 64 << 20
	defaultMaxValueBytes = 64 << 20
	defaultLoadTimeout   = 30 * time.Second
	defaultNegativeTTL   = 10 * time.Second
	maxTTL               = 100 * 365 * 24 * time.Hour // sums of a few of these stay within int64
)

func (o Options[V]) withDefaults() Options[V] {
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
	if o.Size == nil {
		o.Size = sizeofFunc[V]()
	}
	if o.Codec == nil {
		o.Codec = defaultCodec[V]()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
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
	notNegative("MaxLoads", int64(o.MaxLoads), o.MaxLoads)
	notNegative("LoadBurst", int64(o.LoadBurst), o.LoadBurst)
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
	} {
		if !d.negative {
			notNegative(d.field, int64(d.value), d.value)
		}
		if d.value > maxTTL {
			bad(d.field, d.value, fmt.Sprintf("the limit is %v", maxTTL))
		}
	}
	if o.IdleTTL > 0 && o.TTL <= 0 {
		bad("IdleTTL", o.IdleTTL, "it needs a TTL as the absolute bound")
	}
	if b := o.Breaker; b != nil {
		if b.FailureRatio < 0 || b.FailureRatio > 1 || math.IsNaN(b.FailureRatio) {
			bad("Breaker.FailureRatio", b.FailureRatio, "it must lie in (0, 1]")
		}
		notNegative("Breaker.MinLoads", int64(b.MinLoads), b.MinLoads)
		notNegative("Breaker.Window", int64(b.Window), b.Window)
		notNegative("Breaker.Cooldown", int64(b.Cooldown), b.Cooldown)
		notNegative("Breaker.Probes", int64(b.Probes), b.Probes)
	}
	return errors.Join(errs...)
}

// A PutOption changes one Put. It is a value so that a Put allocates nothing for it.
type PutOption struct {
	ttl        time.Duration
	version    uint64
	hasTTL     bool
	hasVersion bool
}

// WithTTL makes the value fresh for ttl instead of Options.TTL; 0 means for
// ever. Jitter applies as usual. A negative ttl makes the Put fail.
func WithTTL(ttl time.Duration) PutOption { return PutOption{ttl: ttl, hasTTL: true} }

// WithVersion makes the Put conditional: it fails with ErrOutdated if the cache knows a
// higher version of the key, and does nothing if it knows this one. The cache
// knows the version of what it stores, and for a few minutes that of what was deleted.
func WithVersion(version uint64) PutOption { return PutOption{version: version, hasVersion: true} }

func joinPutOptions(opts []PutOption) (o PutOption) {
	for _, p := range opts {
		if p.hasTTL {
			o.ttl, o.hasTTL = p.ttl, true
		}
		if p.hasVersion {
			o.version, o.hasVersion = p.version, true
		}
	}
	return o
}

// A DeleteOption changes one Delete.
type DeleteOption struct {
	version    uint64
	hasVersion bool
}

// DeletedAt says which version of the key the origin's deletion has: values of
// that version or a lower one are refused for a few minutes, as [WithVersion]
// describes, and a Delete lower than what the cache knows fails with ErrOutdated.
func DeletedAt(version uint64) DeleteOption {
	return DeleteOption{version: version, hasVersion: true}
}
