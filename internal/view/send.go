package view

// send.go sends messages.

// send sends a message to another process, or to this one itself.
func (n *Node) send(to ID, m *message) {
	if to == n.self.ID {
		n.receive(to, m)
		return
	}
	n.sendEncoded(to, m.append(nil))
}

// sendAll sends a message to many: to this process, if it is among them, last.
func (n *Node) sendAll(to []Member, m *message) {
	b := m.append(nil)
	self := false
	for i := range to {
		if to[i].ID == n.self.ID {
			self = true
		} else {
			n.sendEncoded(to[i].ID, b)
		}
	}
	if self {
		n.receive(n.self.ID, m)
	}
}

// sendEncoded reports whether the message has been sent: not to somebody who is not linked, and not
// too much at once.
func (n *Node) sendEncoded(to ID, b []byte) bool {
	if !n.isUp(to) {
		return false
	}
	if len(b) > 4<<10 {
		if n.sent > burst {
			return false
		}
		n.sent += len(b)
	}
	n.cfg.Send(to, b)
	return true
}

// head begins a message with what each has.
func (n *Node) head(k kind) *message {
	m := &message{kind: k, settled: n.settled}
	if n.view != nil {
		m.lineage, m.epoch = n.view.Lineage, n.view.Epoch
	}
	return m
}
