// Package covey is an embeddable in-process cache.
//
// A [Cache] maps string keys to values of one type. [Cache.Get] returns a
// value from memory or loads it: however many callers miss a key at once, its
// loader runs once, and each caller waits as long as its own context allows. [Cache.Put]
// and [Cache.Delete] take effect before they return: no later call sees what was there,
// or was being loaded, before. [Options] bound the memory, say how long values are
// fresh and what may be served when they no longer are, and protect the origin.
//
// # Basics
//
//	users, err := covey.New("users", covey.Options[User]{MaxBytes: 256 << 20, TTL: 10 * time.Minute})
//	…
//	u, err := users.Get(ctx, "42", loadUser) // func(ctx context.Context, key string) (User, error)
//
// # Groups
//
// With [Options.Group] the processes of a [Group] share one cache: each key has
// one owner among them, a miss is loaded once in all of them, and a write reaches every copy before it returns. A write that cannot
// returns [ErrUnconfirmed]. ARCHITECTURE.md has a table of what is promised when.
//
// # Caveats
//
// Values are shared by everybody who gets them and must not be modified. A
// loader may outlive the request that brought it. With an invalidation by Delete, write to the origin first.
// A cache owns goroutines: Close it. ARCHITECTURE.md tells how it works inside.
package covey
