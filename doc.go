// Package covey is an embeddable cache. Alone it is a fast in-process cache;
// in a group, the processes that link it in share one cache.
//
// A [Cache] maps string keys to values of one type. [Cache.Get] returns a
// value from memory or loads it: however many callers miss a key at once, its
// loader runs once, and each caller waits as long as its own context allows.
// [Cache.Put] and [Cache.Delete] take effect before they return: a call that
// starts afterwards sees nothing that was there, or was being loaded, before.
// [Options] bound the memory, say how long values are fresh and what may be
// served when they no longer are, and protect the origin: the database or
// service that loaders fetch from.
//
// # Basics
//
//	users, err := covey.New("users", covey.Options[User]{MaxBytes: 256 << 20, TTL: 10 * time.Minute})
//	…
//	u, err := users.Get(ctx, "42", loadUser) // func(ctx context.Context, key string) (User, error)
//
// # Groups
//
// With [Options.Group] the processes of a [Group] share one cache: each key is
// owned by one of them, a miss is loaded once in the whole group, and a write
// reaches every copy before it returns. The processes agree on who they are:
// whoever does not hear a majority of them serves nothing that it has stored. A
// write of which it is not sure that it has been done everywhere returns
// [ErrUnconfirmed]. With Options.Replicas several processes have each value, so
// that a crash has nothing loaded; who joins is given, and who leaves hands over,
// what there is. ARCHITECTURE.md has a table of what is promised when a peer
// crashes, stands still, is cut off, joins, leaves or is restarted.
//
// # Caveats
//
//   - Values are shared by everybody who gets them and must not be modified.
//   - A loader may outlive the request that brought it: see [Cache.Get].
//   - To change a value, write to the origin first, then [Cache.Delete] the key
//     or [Cache.Put] the new value. The other way round, a load in between
//     would store the old value again. If a key has several writers, delete it or
//     give every Put its version ([WithVersion]): two Puts may arrive in another
//     order than the writes to the origin.
//   - A cache owns goroutines: [Cache.Close] it. [Group.Shutdown] closes the
//     caches of its group.
package covey
