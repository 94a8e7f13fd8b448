// Package view has the processes of a group agree on who its members are. They go by one view at a
// time, and only who holds the promise of a quorum of voters may act in it. It knows no caches and
// no keys, sends nothing itself and reads no clock of its own: messages and times come in through a
// [Config], so that a simulation runs the same code as a process does.
//
// It follows vertical Paxos with a primary and backups (Lamport, Malkhi, Zhou 2009), leases (Gray,
// Cheriton 1989), and batched changes of views (Suresh et al., "Stable and Consistent Membership at
// Scale with Rapid", 2018).
//
// # Promises
//
// Every 500 ms a member asks each voter, which are the 7 most senior members, for its promise. A
// voter gives it if both go by the same view, and if it has not accepted a next view without the
// one who asks. It lasts for 2 s: the asker counts from when it asked, the voter from when it
// answered and one percent longer. A member acts only while the promises of a quorum last.
//
// # Changes
//
// A change is needed when a member is silent, when its death is proven (its end has closed the link
// and its address refuses connections, or a newer process goes by its name; or it has said
// goodbye), or when a process wants to join. The most senior healthy member proposes, the next one
// 300 ms later. The next view is one decree of Paxos among the voters of the present one. An
// acceptor takes no view that leaves out somebody to whom its promise still runs, unless that one's
// death is proven.
//
// A view that is adopted has settled when everybody who was in the one before has given back what
// it no longer answers for. Until then an owner acts only for what it owned before. One change at a
// time: the next one begins when this one has settled.
//
// # The view before
//
// Whoever goes by a view knows the one before it, which says who may have what others own now: a view
// that comes without it is not adopted, but asked for anew. A view is warm if somebody has come
// since, or a member's weight, zone or number of replicas has changed. When it has been settled for
// [Config.WarmUp] one with the same members follows it.
//
// A member of weight 0 is leaving: it owns nothing, and is a member like any other. But it proposes
// only if nobody else does, and is never part of a founding.
//
// # The first view
//
// A process founds a view only after it has reached itself at its own address and has then asked
// every member that it knows of, each of which takes part or refuses the connection. Of two
// processes that go by one name the older one stops as soon as it hears of the other, if only by
// calling at its own address, and says nothing in foundings any more. Views that descend from one
// founding are a lineage. When two lineages meet, the smaller one dissolves: its members drop
// what they have and join the other.
package view
