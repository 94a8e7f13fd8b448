// Package gossip finds the members of a covey group by gossip: each process knows one or a few
// others, the seeds, and hears of everybody else from them, by the SWIM protocol (Das, Gupta and
// Motivala, 2002) of hashicorp/memberlist. It is for machines without a DNS or an API server that
// lists them.
package gossip
