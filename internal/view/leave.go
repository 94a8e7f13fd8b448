package view

// leave.go is how a process leaves in good order.

// Leave has the others go on without this process, which from now on does not act. clean says that
// nothing is left that it has lent. The channel is closed when they do, or when there is nobody.
func (n *Node) Leave(clean bool) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leave(clean)
	return n.left
}

func (n *Node) leave(clean bool) {
	if n.leaving {
		return
	}
	n.retired, n.leaving, n.clean = true, true, clean
	n.me.clean = clean
	n.found.end()
	n.count()
	if !n.isMember() || len(n.view.Members) == 1 {
		n.hasLeft()
	} else {
		n.sayBye(n.view, n.farewell())
		n.look(n.cfg.Now())
	}
}

func (n *Node) hasLeft() {
	select {
	case <-n.left:
	default:
		close(n.left)
	}
}

// farewell returns a bye of this member of its view.
func (n *Node) farewell() []byte {
	m := n.head(bye)
	m.ok = n.clean
	return m.append(nil)
}

func (n *Node) sayBye(v *View, farewell []byte) {
	for i := range v.Members {
		n.sendEncoded(v.Members[i].ID, farewell)
	}
}

func (n *Node) onBye(from ID, m *message) {
	n.peer(from).gone, n.peer(from).clean = true, m.ok
	if n.isInfant() && from == n.view.Members[0].ID { // nothing will come of it
		n.dissolve()
	}
	n.look(n.cfg.Now())
}
