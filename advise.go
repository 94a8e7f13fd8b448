package covey

// advise.go names options that fight each other: both may be meant, but hardly are. What cannot work
// is an error, see validate; this is logged, once when a cache or a group is made.

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// A rule is a pair of options that do not go together. O has the options, with their defaults
// applied.
type rule[O any] struct {
	options string // their names
	level   slog.Level
	is      func(o *O) bool
	why     string
}

// advise logs the rules that the options break.
func advise[O any](log *slog.Logger, rules []rule[O], o *O) {
	for _, r := range rules {
		if r.is(o) {
			log.Log(context.Background(), r.level, "covey: options do not go together", "options", r.options, "why", r.why)
		}
	}
}

const (
	// useless says that an option has no effect, or hardly any.
	useless = slog.LevelInfo
	// harmful says that something does not happen that was probably meant to.
	harmful = slog.LevelWarn
)

// cacheOptions are the options of a cache that rules look at.
type cacheOptions struct {
	Options[struct{}]                   // with defaults
	given             Options[struct{}] // without
	loader, removed   bool
	members           int // how many there will ever be in the group; 0: that is not known
}

// plain returns the options that rules look at, but for functions.
func (o *Options[V]) plain() Options[struct{}] {
	return Options[struct{}]{
		MaxBytes: o.MaxBytes, MaxEntries: o.MaxEntries, MaxValueBytes: o.MaxValueBytes, LoadTimeout: o.LoadTimeout, SoftTimeout: o.SoftTimeout,
		TTL: o.TTL, IdleTTL: o.IdleTTL, NegativeTTL: o.NegativeTTL, StaleWhileRevalidate: o.StaleWhileRevalidate, StaleIfError: o.StaleIfError,
		ErrorThrottle: o.ErrorThrottle, EarlyRefresh: o.EarlyRefresh, MaxRefreshes: o.MaxRefreshes, MaxLoads: o.MaxLoads, LoadRate: o.LoadRate,
		LoadBurst: o.LoadBurst, Breaker: o.Breaker, Group: o.Group, Replicas: o.Replicas, ReadFrom: o.ReadFrom, SelfCheck: o.SelfCheck, L1: o.L1,
		Snapshot: o.Snapshot, Events: Events[struct{}]{RemovedAtClose: o.Events.RemovedAtClose},
	}
}

// staleFor is for how long after their TTL values may be served.
func (o *cacheOptions) staleFor() time.Duration { return max(o.StaleWhileRevalidate, o.StaleIfError) }

// advise logs which options, as the user gave them, do not go together.
func (c *Cache[V]) advise(given Options[V]) {
	o := cacheOptions{Options: c.opt.plain(), given: given.plain(), loader: given.Loader != nil, removed: given.Events.Removed != nil}
	if g := given.Group; g != nil {
		o.members = g.memberLimit()
	}
	advise(c.log.logger, ofCaches, &o)
}

// memberLimit returns how many members there will ever be; 0: that is not known.
func (g *Group) memberLimit() (n int) {
	static, ok := g.opt.Discovery.(staticPeers)
	if !ok {
		return 0
	}
	for _, m := range static {
		if m.Weight >= 0 {
			n++
		}
	}
	return n
}

var ofCaches = []rule[cacheOptions]{
	{
		"StaleWhileRevalidate, TTL", useless,
		func(o *cacheOptions) bool { return o.StaleWhileRevalidate > 0 && o.TTL == 0 },
		"without a TTL only values with a TTL of their own, and expired ones, become stale",
	},
	{
		"StaleIfError, TTL", useless,
		func(o *cacheOptions) bool { return o.StaleIfError > 0 && o.TTL == 0 },
		"without a TTL only values with a TTL of their own, and expired ones, become stale",
	},
	{
		"StaleIfError, StaleWhileRevalidate", harmful,
		func(o *cacheOptions) bool { return o.StaleIfError > 0 && o.StaleIfError <= o.StaleWhileRevalidate },
		"both count from the end of the TTL: StaleIfError is not the longer one, so that it has no effect",
	},
	{
		"StaleWhileRevalidate, MaxRefreshes", harmful,
		func(o *cacheOptions) bool { return o.StaleWhileRevalidate > 0 && o.MaxRefreshes == 0 },
		"MaxRefreshes forbids the refreshes for which stale values are served: they are served, and not refreshed",
	},
	{
		"EarlyRefresh, MaxRefreshes", useless,
		func(o *cacheOptions) bool { return o.given.EarlyRefresh > 0 && o.MaxRefreshes == 0 },
		"MaxRefreshes forbids the refreshes that EarlyRefresh would start",
	},
	{
		"SoftTimeout, LoadTimeout", useless,
		func(o *cacheOptions) bool {
			return o.SoftTimeout > 0 && o.LoadTimeout > 0 && o.SoftTimeout >= o.LoadTimeout
		},
		"LoadTimeout ends a load before SoftTimeout is over",
	},
	{
		"SoftTimeout, StaleIfError", harmful,
		func(o *cacheOptions) bool { return o.SoftTimeout > 0 && o.StaleIfError <= o.StaleWhileRevalidate },
		"SoftTimeout falls back on a stale value: it needs a StaleIfError that is longer than StaleWhileRevalidate",
	},
	{
		"ErrorThrottle, StaleIfError", harmful,
		func(o *cacheOptions) bool {
			return o.given.ErrorThrottle > 0 && o.StaleIfError > 0 && o.ErrorThrottle >= o.StaleIfError
		},
		"after a load that has failed the stale value is gone before ErrorThrottle lets it be tried again",
	},
	{
		"NegativeTTL, TTL", harmful,
		func(o *cacheOptions) bool { return o.TTL > 0 && o.NegativeTTL > o.TTL },
		"that there is no value is remembered for longer than a value",
	},
	{
		"IdleTTL, TTL", useless,
		func(o *cacheOptions) bool { return o.IdleTTL > 0 && o.IdleTTL >= o.TTL+o.staleFor() },
		"every entry has left by its TTL before IdleTTL is over",
	},
	{
		"MaxValueBytes, MaxBytes", harmful,
		func(o *cacheOptions) bool { return o.MaxBytes > 0 && o.given.MaxValueBytes > o.MaxBytes/2 },
		"one value may take more than half of the cache, or not fit into it at all",
	},
	{
		"MaxLoads, MaxRefreshes", harmful,
		func(o *cacheOptions) bool { return o.MaxLoads > 0 && o.given.MaxRefreshes >= o.MaxLoads },
		"refreshes in the background may take all places of MaxLoads, so that misses wait for them",
	},
	{
		"LoadRate, MaxLoads", harmful,
		func(o *cacheOptions) bool {
			return o.LoadRate > 0 && o.MaxLoads == 0 && (o.LoadTimeout == 0 || o.LoadRate*o.LoadTimeout.Seconds() > 1000)
		},
		"LoadRate bounds how many loads begin in a second, not how many run: while the origin hangs, more and more do, more than 1,000",
	},
	{
		"LoadRate, LoadTimeout", harmful,
		func(o *cacheOptions) bool {
			return o.LoadRate > 0 && o.LoadTimeout > 0 && o.LoadRate*o.LoadTimeout.Seconds() < 1
		},
		"a load that has to wait for LoadRate is refused at once, as its turn never comes within LoadTimeout",
	},
	{
		"LoadRate, Breaker", harmful,
		func(o *cacheOptions) bool {
			return o.LoadRate > 0 && o.Breaker != nil && o.LoadRate*o.Breaker.Window.Seconds()+float64(o.LoadBurst) < float64(o.Breaker.MinLoads)
		},
		"at LoadRate there are never Breaker.MinLoads loads within Breaker.Window, so that the breaker never opens",
	},
	{
		"Snapshot.MaxAge, Snapshot.Interval", harmful,
		func(o *cacheOptions) bool { return o.Snapshot.Path != "" && o.Snapshot.MaxAge <= o.Snapshot.Interval },
		"after a crash the file may be older than MaxAge, as it is written every Interval: then it is not used",
	},
	{
		"Snapshot.Interval, TTL", useless,
		func(o *cacheOptions) bool {
			return o.Snapshot.Path != "" && o.TTL > 0 && o.TTL+o.staleFor() <= o.Snapshot.Interval
		},
		"after a crash most of what is in the file may have expired, as it is written every Interval",
	},
	{
		"Snapshot, Loader", useless,
		func(o *cacheOptions) bool { return o.Snapshot.Path != "" && o.Group != nil && !o.loader },
		"in a group a snapshot serves only conditional loads by Options.Loader",
	},
	{
		"Replicas, GroupOptions.Discovery", harmful,
		func(o *cacheOptions) bool { return o.members > 0 && o.Replicas > o.members },
		"the list of members never changes, and has fewer of them than Replicas",
	},
	{
		"Replicas, Group", useless,
		func(o *cacheOptions) bool { return o.Group == nil && o.Replicas > 1 },
		"without a Group there are no replicas",
	},
	{
		"ReadFrom, Replicas", useless,
		func(o *cacheOptions) bool { return o.ReadFrom == ReadFromAny && o.Replicas == 1 },
		"with one replica, the owner's own, there is nobody else to read from",
	},
	{
		"SelfCheck, Replicas, L1", useless,
		func(o *cacheOptions) bool { return o.SelfCheck > 0 && o.Replicas == 1 && o.L1 < 0 },
		"with one replica, the owner's own, and no copies there is nothing to compare",
	},
	{
		"L1, Group", useless,
		func(o *cacheOptions) bool { return o.Group == nil && o.given.L1 > 0 },
		"without a Group there are no copies of other peers' keys",
	},
	{
		"L1, MaxValueBytes", useless,
		func(o *cacheOptions) bool { return o.Group != nil && o.L1 > 0 && o.given.MaxValueBytes > o.L1/8 },
		"a copy takes an eighth of L1 at most: the largest values are never copied, however hot their keys are",
	},
	{
		"Events.RemovedAtClose, Events.Removed", harmful,
		func(o *cacheOptions) bool { return o.Events.RemovedAtClose && !o.removed },
		"without Removed nobody is told of what is dropped at Close",
	},
}

// hasScheme reports whether this process's URL has that scheme.
func (o *GroupOptions) hasScheme(scheme string) bool { return strings.HasPrefix(o.Self, scheme+":") }

// changeTakes is how long it may take until the members go on without one that is silent.
const changeTakes = 3 * time.Second

var ofGroups = []rule[GroupOptions]{
	{
		"Listener, Self", harmful,
		func(o *GroupOptions) bool { return o.Listener != nil && o.Self == "" },
		"without Self this process owns no keys and nobody calls it, at Listener or elsewhere",
	},
	{
		"MinMembers, Discovery", harmful,
		func(o *GroupOptions) bool {
			static, ok := o.Discovery.(staticPeers)
			return ok && o.MinMembers > len(static)
		},
		"the list of members never changes, and has fewer of them than MinMembers: the group never begins",
	},
	{
		"Listener, TLS", harmful,
		func(o *GroupOptions) bool { return o.Listener != nil && o.hasScheme("http") && o.servesTLS() },
		"TLS has a certificate, so that Listener speaks TLS, but the others call http",
	},
	{
		"Listener, TLS without a certificate", harmful,
		func(o *GroupOptions) bool { return o.Listener != nil && o.hasScheme("https") && !o.servesTLS() },
		"the others call https, but Listener speaks no TLS, as TLS has no certificate: unless a proxy before it does they are refused",
	},
	{
		"TLS.InsecureSkipVerify, Secrets", harmful,
		func(o *GroupOptions) bool {
			return o.TLS != nil && o.TLS.InsecureSkipVerify && len(o.Secrets) == 0 && o.VerifyPeer == nil
		},
		"without Secrets certificates are all that tells who a peer is, and they are not verified",
	},
	{
		"OpTimeout", harmful,
		func(o *GroupOptions) bool { return o.OpTimeout < changeTakes },
		"it takes up to 3 s until a silent member has a successor: within OpTimeout its keys cannot be written",
	},
}
