package main

type msg any

// Between neighbours.
type (
	askMsg struct {
		at       int64
		e        int
		in       bool
		ins      int
		standing standing
		client   bool
		knows    []int
	}
	grantMsg struct {
		at   int64
		term int64
		vote bool
	}
	viewMsg struct {
		v, prev *view
		settled bool
		counted bool
	}
	joinMsg struct {
		m       member
		traits  traits
		lineage int
		highest int
	}
	byeMsg struct{ m member } // who says so acts no more
)

// Of a change of view.
type (
	prepMsg    struct{ e, b int }
	promiseMsg struct {
		e, b    int
		accB    int
		accV    *view
		silent  map[member]int64 // time left of the promise
		refused map[member]bool
		nack    bool
	}
	accMsg struct {
		e, b   int
		v      *view
		proof  map[member]bool
		forced bool // the value of an earlier round
	}
	accedMsg struct {
		e, b   int
		ok     bool
		higher int   // the ballot of which it has heard
		left   int64 // try again after that
	}
	learnMsg struct {
		v, prev *view
		counted bool
	}
	learnOK    struct{ v *view }
	settledMsg struct{ v *view }
)

// Of keys.
type (
	callMsg struct {
		id   int
		body msg
	}
	replyMsg struct {
		id   int
		body msg
	}
	writeMsg struct {
		k, n    int
		put     bool
		lineage int
	}
	okMsg     struct{ clock int64 }
	failMsg   struct{}
	recallMsg struct{ k int } // what was lent
	dropMsg   struct {        // what a custodian has
		k, e  int
		stamp int64
	}
	copyMsg struct { // of what the owner has, to a replica; of what a member that leaves has, to the owner
		k, v, e int
		stamp   int64 // of the entry
		sent    int64 // from before it was looked up
		label   int
		push    bool
	}
	clearMsg struct {
		id, e  int
		values [keys]int // at the origin when it began
	}
	wipeMsg struct { // what came from the one who sends it
		e     int
		stamp int64
	}
	getMsg struct {
		k       int
		borrow  bool
		lineage int
	}
	valMsg struct {
		v     int
		loan  bool
		e     int
		stamp int64
		label int
	}
	missMsg struct{}
	peekMsg struct {
		k, lineage int
		keep       bool // the owner asks, who will store the answer
	}
)
