package view

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

var updateGolden = flag.Bool("view.update", false, "write testdata/messages.txt anew")

// samples returns a message of each kind, with everything in it that goes with it.
func samples() (names []string, messages []*message) {
	member := func(name string, instance uint64) Member {
		return Member{ID: ID{name, instance}, URL: "http://" + name + ":80", Weight: 100, Replicas: 2, Zone: "z1"}
	}
	a, b, c := member("a", 1_800_000_000_000_000_001), member("b", 300), member("c", 5)
	heavier := b
	heavier.Weight, heavier.Replicas = 200, 255
	first := &View{Lineage: 1 << 63, Founded: 1_800_000_000_000, Epoch: 1_800_000_000_000, Members: []Member{a, b}, First: true}
	next := &View{Lineage: 1 << 63, Founded: 1_800_000_000_000, Epoch: 1_800_000_000_001, Members: []Member{heavier, c}, Abrupt: true}
	reborn := &View{Lineage: 7, Founded: 1_800_000_000_500, Parent: 1 << 63, Fork: 1_800_000_000_000, Epoch: 1_800_000_001_001, Members: []Member{heavier, c}, Abrupt: true, Reborn: true}
	first.index()
	next.index()
	reborn.index()
	add := func(name string, m message) {
		names = append(names, name)
		if m.lineage == 0 {
			m.lineage, m.epoch = first.Lineage, first.Epoch
		}
		messages = append(messages, &m)
	}
	add("ask", message{kind: ask, settled: true, at: 123_456_789})
	add("grant", message{kind: grant, ok: true, at: 123_456_789})
	add("tell first", message{kind: tell, view: first, live: 2})
	add("tell", message{kind: tell, settled: true, counted: true, prev: first, view: next, change: diff(first, next), live: 2, left: time.Second})
	add("tell change", message{kind: tell, change: diff(first, next), live: 2})
	add("prepare", message{kind: prepare, ballot: 1<<16 | 2})
	add("promise", message{kind: promise, ok: true, ballot: 1<<16 | 2, evidence: []evidence{{index: 1, left: time.Second}, {index: 300, dead: true}}})
	add("promise of a forced view", message{kind: promise, ok: true, ballot: 2 << 16, accepted: 1 << 16, change: diff(first, next)})
	add("accept", message{kind: accept, forced: true, ballot: 2 << 16, change: diff(first, next), evidence: []evidence{{index: 0, dead: true}}})
	add("accepted", message{kind: accepted, ok: true, ballot: 2 << 16})
	add("accepted later", message{kind: accepted, ballot: 2 << 16, left: time.Second, accepted: 3 << 16})
	add("learn", message{kind: learn, change: diff(first, next), live: 2, left: time.Second})
	add("learn of a rebirth", message{kind: learn, change: diff(first, reborn)})
	add("learnt", message{kind: learnt})
	add("settled", message{kind: settled, settled: true})
	add("join", message{kind: join, member: &c})
	add("bye", message{kind: bye})
	add("seek", message{kind: seek, at: -1})
	add("seekOK", message{kind: seekOK, ok: true, at: -1, member: &a})
	add("seekNo", message{kind: seekNo, ok: true, at: -1})
	add("replaced", message{kind: replaced, at: 1_800_000_000_000_000_001})
	return names, messages
}

// Processes of other versions take what this one sends, and send the same.
func TestGolden(t *testing.T) {
	file := filepath.Join("testdata", "messages.txt")
	var text strings.Builder
	names, messages := samples()
	for i, m := range messages {
		fmt.Fprintf(&text, "%s: %x\n", names[i], m.append(nil))
	}
	if *updateGolden {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(golden) {
		t.Errorf("messages are\n%s\nwant\n%s", text.String(), golden)
	}
	kinds := make(map[kind]bool)
	for i, line := range strings.Split(strings.TrimSpace(string(golden)), "\n") {
		name, digits, _ := strings.Cut(line, ": ")
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		kinds[m.kind] = true
		if !reflect.DeepEqual(normal(m), normal(messages[i])) {
			t.Errorf("%s: got %+v; want %+v", name, m, messages[i])
		}
	}
	for k := ask; k <= replaced; k++ {
		if !kinds[k] {
			t.Errorf("there is no message of kind %d", k)
		}
	}
}

// normal returns m without the difference between no and nil slices.
func normal(m *message) *message {
	n := *m
	if n.change != nil {
		c := *n.change
		c.removed, c.altered, c.added = append([]uint32{}, c.removed...), append([]altered{}, c.altered...), append([]Member{}, c.added...)
		n.change = &c
	}
	return &n
}

func FuzzMessage(f *testing.F) {
	_, messages := samples()
	for _, m := range messages {
		f.Add(m.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		if again := m.append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x parses to %+v, which is %x", b, m, again)
		}
		base := &View{Members: []Member{{ID: ID{Name: "a"}}, {ID: ID{Name: "b"}}, {ID: ID{Name: "c"}}}}
		if m.change != nil {
			base.Lineage, base.Epoch = m.change.view.Lineage, m.change.base
			if v := m.change.apply(base); v != nil {
				if again := diff(base, v).apply(base); !reflect.DeepEqual(again, v) {
					t.Fatalf("%+v applied to %+v is %+v, then %+v", m.change, base, v, again)
				}
			}
		}
	})
}

func TestMalformed(t *testing.T) {
	_, messages := samples()
	for _, m := range messages {
		b := m.append(nil)
		for i := range b {
			if _, err := parse(b[:i]); err == nil {
				t.Errorf("the first %d bytes of %x are taken for a message", i, b)
			}
		}
		if _, err := parse(append(b, 0)); err == nil {
			t.Errorf("%x is taken although a byte follows", b)
		}
	}
	numbers := func(n ...byte) []byte { // after kind and flags, so many of seven, then what follows
		return append(make([]byte, 7), n...)
	}
	message := func(k kind, flags byte, rest []byte) []byte { return append([]byte{byte(k), flags}, rest...) }
	member := "\x01a\x01\x00\x01\x01\x00"
	for name, b := range map[string][]byte{
		"nothing":                     nil,
		"no kind":                     message(0, 0, numbers(0)),
		"unknown kind":                message(replaced+1, 0, numbers(0)),
		"view and change":             message(tell, flagView|flagChange, numbers([]byte("\x00\x00\x00\x00\x00\x00\x00\x01"+member)...)),
		"tell without a view":         message(tell, 0, numbers(0)),
		"join without a member":       message(join, 0, numbers(0)),
		"long zero":                   message(ask, 0, append([]byte{0x80, 0}, make([]byte, 7)...)),
		"number of 11 bytes":          message(ask, 0, append(bytes.Repeat([]byte{0xff}, 10), make([]byte, 8)...)),
		"number of 65 bits":           message(ask, 0, append(append(bytes.Repeat([]byte{0xff}, 9), 2), make([]byte, 7)...)),
		"evidence that is not there":  message(promise, 0, numbers(5, 0, 0)),
		"evidence of a far member":    message(promise, 0, numbers(1, 0x80, 0x80, 1, 0)),
		"member without a name":       message(join, flagMember, numbers([]byte("\x00\x00\x01\x00\x01\x01\x00")...)),
		"heavy member":                message(join, flagMember, numbers([]byte("\x00\x01a\x01\x00\x81\x80\x40\x01\x00")...)),
		"many replicas":               message(join, flagMember, numbers([]byte("\x00\x01a\x01\x00\x01\x80\x02\x00")...)),
		"view without members":        message(tell, flagView, numbers([]byte("\x00\x00\x01\x01\x01\x00\x00\x00")...)),
		"view with a name twice":      message(tell, flagView, numbers([]byte("\x00\x00\x01\x01\x01\x00\x00\x02"+member+member)...)),
		"view with unknown flags":     message(tell, flagView, numbers([]byte("\x00\x08\x01\x01\x01\x00\x00\x01"+member)...)),
		"view with too many members":  message(tell, flagView, numbers([]byte("\x00\x00\x01\x01\x01\x00\x00\xff\x7f"+member)...)),
		"removed out of order":        message(learn, flagChange, numbers([]byte("\x00\x00\x01\x01\x02\x00\x00\x01\x02\x01\x00\x00\x00")...)),
		"removed and altered":         message(learn, flagChange, numbers([]byte("\x00\x00\x01\x01\x02\x00\x00\x01\x01\x00\x01\x00"+member+"\x00")...)),
		"change that does not follow": message(tell, flagPrev|flagChange, numbers([]byte("\x00\x00\x01\x01\x01\x00\x00\x01"+member+"\x00\x01\x01\x02\x00\x00\x07\x00\x00\x00")...)),
		"change of all":               message(tell, flagPrev|flagChange, numbers([]byte("\x00\x00\x01\x01\x01\x00\x00\x01"+member+"\x00\x01\x01\x02\x00\x00\x01\x01\x00\x00\x00")...)),
		"view before without a view":  message(ask, flagPrev, numbers([]byte("\x00\x00\x01\x01\x01\x00\x00\x01"+member)...)),
		"view that does not follow":   message(tell, flagPrev|flagView, numbers([]byte("\x00\x00\x01\x01\x01\x00\x00\x01"+member+"\x00\x01\x01\x03\x00\x00\x01"+member)...)),
		"too long":                    make([]byte, MaxMessage+1),
	} {
		if m, err := parse(b); err == nil {
			t.Errorf("%s: %x is taken for %+v", name, b, m)
		}
	}
	good := message(tell, flagView, numbers([]byte("\x00\x00\x01\x01\x01\x00\x00\x01"+member)...))
	if _, err := parse(good); err != nil {
		t.Errorf("%x: %v", good, err) // the above are wrong in one point each
	}
}

// The memory that a message takes is bounded by its length.
func TestMemoryOfMessages(t *testing.T) {
	head := make([]byte, 9)
	counts := []byte{0xff, 0x7f} // 16,383
	fill := func(kind kind, flags byte, before string, item string) []byte {
		b := bytes.Clone(head)
		b[0], b[1] = byte(kind), flags
		b = append(b, before...)
		b = append(b, counts...)
		return append(b, strings.Repeat(item, (MaxMessage-len(b))/len(item))...)
	}
	var many strings.Builder // members, all different
	for i := range 16_383 {
		many.WriteString("\x03" + string([]byte{byte(i), byte(i >> 8), 'x'}) + "\x00\x00\x00\x00\x00")
	}
	view := append(fill(tell, flagView, "\x00\x00\x00\x00\x00\x00\x01", "\x00")[:len(head)+9], many.String()...)
	if m, err := parse(view); err != nil || len(m.view.Members) != 16_383 {
		t.Fatalf("%d bytes: %v", len(view), err)
	}
	for name, b := range map[string][]byte{
		"view":     view,
		"evidence": fill(promise, 0, "", "\x00\x00"),
		"same":     fill(tell, flagView, "\x00\x00\x00\x00\x00\x00\x01", "\x01a\x00\x00\x00\x00\x00"),
		"removed":  fill(learn, flagChange, "\x00\x00\x00\x00\x01\x00\x00\x00", "\x00"),
		"added":    fill(learn, flagChange, "\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00", "\x01a\x00\x00\x00\x00\x00"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = parse(b)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 32*uint64(len(b)) {
			t.Errorf("%s: %d bytes take %d", name, len(b), took)
		}
	}
}
