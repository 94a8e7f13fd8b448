package covey

// fifo.go evicts in the order of insertion.

// A fifo evicts the entry that came first, whatever its use. A Put of a
// resident key keeps the entry's place if size and cost stay as they were:
// then the policy is not asked. A Put that changes them arrives as remove and
// readd and counts as a new insertion, so that a bigger value never evicts itself.
type fifo struct {
	slots *slots
	queue list
}

func newFIFO(s *slots) *fifo { return &fifo{slots: s} }

func (p *fifo) add(id uint32)    { p.queue.pushHead(p.slots, id) }
func (p *fifo) readd(id uint32)  { p.add(id) }
func (p *fifo) remove(id uint32) { p.queue.remove(p.slots, id) }

func (p *fifo) evict() uint32 {
	id := p.queue.tail
	if id != 0 {
		p.remove(id)
	}
	return id
}

// rank has those first that came last: they would stay longest.
func (p *fifo) rank(n *node) uint64 { return (uint64(n.born) + 1<<63) &^ 0xff }

func (p *fifo) restore(id uint32, _ uint8, _ int) { p.queue.pushTail(p.slots, id) }

func (p *fifo) reset()            { p.queue = list{} }
func (p *fifo) resize(int64, int) {}
func (p *fifo) bytes() int64      { return 0 }
