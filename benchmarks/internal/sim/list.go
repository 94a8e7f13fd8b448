package sim

// list.go keeps keys in doubly linked lists that are threaded through arrays.

const none = ^uint32(0)

// lists is the memory of a policy's lists. A key is in one of them at most.
type lists struct {
	newer, older []uint32
	in           []*list
}

func newLists(unique int) *lists {
	return &lists{make([]uint32, unique), make([]uint32, unique), make([]*list, unique)}
}

// where returns the list that key is in, or nil.
func (l *lists) where(key uint32) *list { return l.in[key] }

// A list orders keys from the newest to the oldest.
type list struct {
	*lists
	newest, oldest uint32
	len            int
}

func (l *lists) new() *list { return &list{l, none, none, 0} }

// push makes key, which is in no list, the newest.
func (l *list) push(key uint32) {
	l.newer[key], l.older[key], l.in[key] = none, l.newest, l
	if l.newest != none {
		l.newer[l.newest] = key
	} else {
		l.oldest = key
	}
	l.newest = key
	l.len++
}

func (l *list) remove(key uint32) {
	newer, older := l.newer[key], l.older[key]
	if newer != none {
		l.older[newer] = older
	} else {
		l.newest = older
	}
	if older != none {
		l.newer[older] = newer
	} else {
		l.oldest = newer
	}
	l.in[key] = nil
	l.len--
}

// touch makes key, which is in l, the newest.
func (l *list) touch(key uint32) {
	l.remove(key)
	l.push(key)
}

// pop removes the oldest key.
func (l *list) pop() uint32 {
	key := l.oldest
	l.remove(key)
	return key
}

// moveTo makes key, which is in l, the newest of another list.
func (l *list) moveTo(other *list, key uint32) {
	l.remove(key)
	other.push(key)
}
