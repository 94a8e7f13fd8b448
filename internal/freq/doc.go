// Package freq estimates how often keys are asked for, in little memory: a sketch for eviction, a
// sketch for what is worth a copy, and counters for what is asked for most. It deals with hashes
// and numbers and knows no cache.
package freq
