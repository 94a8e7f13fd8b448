package view

// reach.go is for when a request shows that two processes do not go by the same view, and for those
// who want to know why there is none.

import "slices"

// Ask asks a process for its view.
func (n *Node) Ask(id ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ask(id)
}

// Tell tells a process this one's view.
func (n *Node) Tell(id ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.view != nil {
		n.tell(id, 0)
	}
}

// HasEnded reports whether a process uses nothing any more that it has borrowed: it has said goodbye,
// or there is proof that it has died.
func (n *Node) HasEnded(id ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[id]
	return p != nil && p != n.me && p.isDead(n.cfg.Now())
}

// Accepted returns a next view that this process has accepted and does not go by: it may be in force,
// as others know. nil: there is none.
func (n *Node) Accepted() *View {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.accView
}

// Retire stops this process from acting; it still votes. [Node.Leave] comes next.
func (n *Node) Retire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.retired = true
	n.count()
}

// Founding reports whether this process has no place in a view, so that it has to try every second
// whether it reaches itself; and its attempt to found one, 0 if none is under way: the addresses of
// all who are listed have to be tried when it begins, and every second.
func (n *Node) Founding() (homeless bool, attempt uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.isHomeless() && !n.observes() && !n.leaving, n.found.attempt
}

// Missing says what keeps this process from founding a view: that it does not reach itself, and
// which of those who are listed have neither answered nor refused a connection.
func (n *Node) Missing() (self bool, names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := &n.found
	for name := range f.listed {
		if n.isMissing(name, n.cfg.Now()) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return !n.speaks(n.cfg.Now()), names
}
