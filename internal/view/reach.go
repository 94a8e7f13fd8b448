package view

// reach.go is for when a request shows that two processes do not go by the same view.

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

// Retire stops this process from acting; it still votes. [Node.Leave] comes next.
func (n *Node) Retire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.retired = true
	n.count()
}
