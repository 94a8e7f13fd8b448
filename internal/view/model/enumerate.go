package main

import "math/rand/v2"

// lists is an assignment of lists: bit i*n+j says that process i lists process j.
type lists struct {
	n    int
	bits uint32
}

// connections calls f with every assignment of lists to n processes whose union is connected, up
// to names.
func connections(n int, f func(lists)) {
	orders := permutations(n)
	for bits := range uint32(1) << (n * n) {
		l := lists{n, bits}
		if l.namesItself() || !l.connected() {
			continue
		}
		least := true
		for _, order := range orders {
			if l.renamed(order).bits < bits {
				least = false
				break
			}
		}
		if least {
			f(l)
		}
	}
}

func (l lists) has(i, j int) bool { return l.bits>>(i*l.n+j)&1 == 1 }

func (l lists) namesItself() bool {
	for i := range l.n {
		if l.has(i, i) {
			return true
		}
	}
	return false
}

func (l lists) connected() bool {
	seen := 1
	for range l.n {
		for i := range l.n {
			for j := range l.n {
				if l.has(i, j) && (seen>>i|seen>>j)&1 == 1 {
					seen |= 1<<i | 1<<j
				}
			}
		}
	}
	return seen == 1<<l.n-1
}

func (l lists) renamed(order []int) lists {
	r := lists{n: l.n}
	for i := range l.n {
		for j := range l.n {
			if l.has(i, j) {
				r.bits |= 1 << (order[i]*l.n + order[j])
			}
		}
	}
	return r
}

func (l lists) each() [][]int {
	all := make([][]int, l.n)
	for i := range l.n {
		for j := range l.n {
			if l.has(i, j) {
				all[i] = append(all[i], j)
			}
		}
	}
	return all
}

func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for i := range n {
			q := append(append(append([]int{}, p[:i]...), n-1), p[i:]...)
			all = append(all, q)
		}
	}
	return all
}

// enumerate plays a history of every assignment of lists to up to n processes, whose names the seed
// deals out.
func enumerate(n int, o options, seed uint64, each func(*world)) {
	r := rand.New(rand.NewPCG(seed, 7))
	for i := 1; i <= n; i++ {
		connections(i, func(l lists) {
			o.nodes = i
			o.lists = l.renamed(r.Perm(i)).each()
			each(simulate(r.Uint64(), o))
		})
	}
}
