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
		lineage int
		highest int
	}
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
	okMsg     struct{}
	failMsg   struct{}
	recallMsg struct{ k int }
	copyMsg   struct{ k, v, e int }
	getMsg    struct {
		k       int
		borrow  bool
		lineage int
	}
	valMsg struct {
		v    int
		loan bool
		e    int
	}
	missMsg struct{}
	peekMsg struct{ k, lineage int }
)
