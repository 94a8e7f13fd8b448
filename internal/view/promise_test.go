package view

import (
	"testing"
	"time"
)

// Where keep-alives take the asks for promises along, nobody is asked besides; when they stop, he is
// again, before anything ends.
func TestRenew(t *testing.T) {
	s := started(t, 4, func(s *sim) { s.renews = true })
	count := func() (messages int) {
		s.until(time.Duration(s.now) + 10*time.Second)
		if why := s.whole(); why != "" || s.bad != "" {
			t.Fatal(why, s.bad)
		}
		for _, h := range s.hosts {
			messages += h.messages
			h.messages = 0
		}
		return messages
	}
	count()
	epoch := s.hosts[0].view.Epoch
	const pairs, answered = 4 * 3, 2
	if got, most := count(), pairs*answered*10*1000/500; got > most {
		t.Errorf("%d messages in 10 s; want at most %d", got, most)
	}
	for _, h := range s.hosts {
		h.node.mu.Lock()
		for _, p := range h.node.members {
			if p != h.node.me && p.renewed == 0 {
				t.Errorf("%v has asked somebody by itself", h.id)
			}
		}
		h.node.mu.Unlock()
	}
	s.renews = false
	if got, least := count(), pairs*answered*10*1000/700; got < least {
		t.Errorf("%d messages in 10 s without keep-alives; want at least %d", got, least)
	}
	if now := s.hosts[0].view.Epoch; now != epoch {
		t.Errorf("the view has changed from %d to %d", epoch, now)
	}
}
