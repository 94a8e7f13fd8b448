// Package covey is an embeddable in-process cache with peer groups.
package covey
