package main

// trial.go is what the suites failover, churn and restart share: a trial puts real processes under a
// fixed rate of calls, does something to them, and tells what the callers and the origin have seen.
// ledger, driver, clients and child have a file each.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	trialProcesses = 3
	trialRate      = 10_000 // calls a second
	trialKeys      = 20_000
	trialLoad      = 5 * time.Millisecond // what the origin takes
)

// A trialSystem is a cache for several processes.
type trialSystem struct {
	name     string
	server   string // program that has to run; "" = the processes serve each other
	readOnly bool
	replicas int // Covey's option
}

var trialSystems = []trialSystem{
	{name: "covey", replicas: 1},
	{name: "covey-replicas", replicas: 2},
	{name: "groupcache", readOnly: true},
	{name: "redis+rueidis", server: "redis-server"},
	{name: "redis+go-redis", server: "redis-server"},
}

func (s *trialSystem) isCovey() bool { return s.replicas > 0 }

// chosenTrials returns the systems that were asked for and can run here. By default -quick means Covey
// with replicas, or without where those have no effect.
func (r *run) chosenTrials(can func(trialSystem) bool) (chosen []trialSystem) {
	quickly := r.quick && slices.Equal(r.systems, quickSystems)
	for _, s := range trialSystems {
		switch absent := s.name + " is absent: there is no " + s.server + " on this machine"; {
		case !r.wants(s.name) && !quickly, !can(s):
		case quickly && !s.isCovey():
		case s.server == "" || installed(s.server):
			chosen = append(chosen, s)
		case !slices.Contains(r.verdicts, absent):
			r.verdicts = append(r.verdicts, absent)
		}
	}
	if quickly && len(chosen) > 1 {
		return chosen[1:]
	}
	return chosen
}

// A trialCase is one of a suite's cases.
type trialCase struct {
	name string
	can  func(trialSystem) bool
	try  func(s trialSystem, last bool) error // last: no repeat comes after this one
}

// try tries each case that was asked for with each system that can, and returns their names.
func (r *run) try(suite string, cases []trialCase) (names []string, err error) {
	cases = slices.DeleteFunc(cases, func(c trialCase) bool { return !r.cases.MatchString(c.name) })
	for _, c := range cases {
		names = append(names, c.name)
		meter.steps(r.trials() * len(r.chosenTrials(c.can)))
	}
	for repeat := range r.trials() {
		for _, c := range cases {
			for _, s := range r.chosenTrials(c.can) {
				step("%s: %s, %s, repeat %d of %d", suite, c.name, s.name, repeat+1, r.trials())
				if err := c.try(s, repeat == r.trials()-1); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", c.name, s.name, err)
				}
			}
		}
	}
	return names, nil
}

// trials returns how often each case is measured: once, unless the command line says more.
func (r *run) trials() int {
	if r.once {
		return 1
	}
	return r.repeats
}

// A trial is a system's processes and what they know together.
type trial struct {
	set    *settings
	system trialSystem
	config trialConfig // of each process, but for its place
	dir    string
	ledger *ledger
	server *child
	peers  []*child // by place; nil where nobody is

	leaving  *child         // whose place another one has already
	deletes  float64        // a second
	happened map[int]string // by slot
}

// withTrial runs f with so many processes that are one group, with all keys in the cache (unless the
// configuration says otherwise) and nobody calling. change may change the configuration.
func withTrial(r *run, s trialSystem, n int, change func(*trialConfig), f func(*trial) error) (err error) {
	dir, err := os.MkdirTemp("", "covey-trial-")
	if err != nil {
		return err
	}
	t := &trial{set: &r.settings, system: s, dir: dir, peers: make([]*child, trialPlaces)}
	defer func() { err = errors.Join(err, t.end()) }()
	file := filepath.Join(dir, "ledger")
	if t.ledger, err = openLedger(file); err != nil {
		return err
	}
	t.config = trialConfig{System: s.name, Ledger: file, Keys: r.keys, Replicas: s.replicas, Writes: !s.readOnly}
	if s.server != "" {
		if t.server, err = startServer(s.server, dir); err != nil {
			return err
		}
		t.config.Server = t.server.url
	}
	if change != nil {
		change(&t.config)
	}
	for place := range n {
		if err := t.start(place, ""); err != nil {
			return err
		}
	}
	if err := t.joinAll(); err != nil {
		return err
	}
	if !t.config.Empty {
		if err := t.getAll(t.live()); err != nil {
			return err
		}
	}
	t.zero()
	return f(t)
}

func (t *trial) end() error {
	for _, p := range append(t.live(), t.leaving) {
		if p == nil {
			continue
		}
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		p.stop()
	}
	if t.server != nil {
		_ = t.server.cmd.Process.Signal(syscall.SIGCONT)
		t.server.stop()
	}
	var err error
	if t.ledger != nil {
		err = t.ledger.close()
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}

// start starts a process at a place. It listens on the address, if one is given. If the trial's
// processes have names and snapshots, those are the place's.
func (t *trial) start(place int, address string) error {
	c := t.config
	c.Place, c.Address = place, address
	for _, name := range []*string{&c.Name, &c.Snapshot} {
		if *name != "" {
			*name += fmt.Sprint("-", place)
		}
	}
	config, err := json.Marshal(c)
	if err != nil {
		return err
	}
	p, err := startChild([]string{trialChild, string(config)})
	if err != nil {
		return err
	}
	if c.Name != "" {
		p.url = c.Name + "=" + p.url
	}
	t.peers[place] = p
	return nil
}

// joinAll makes the live processes one group.
func (t *trial) joinAll() error {
	if _, err := callAll(t.live(), command{Op: "join", Peers: urlsOf(t.live())}); err != nil {
		return err
	}
	return t.whole()
}

// whole waits until the live processes, and others, are one group.
func (t *trial) whole(others ...*child) error {
	if !t.system.isCovey() {
		return nil
	}
	all := append(t.live(), others...)
	if _, _, err := whole(all, len(all), patience); err != nil {
		return err
	}
	_, err := callAll(all, command{Op: "ready"})
	return err
}

// live returns the processes that run.
func (t *trial) live() []*child {
	return slices.DeleteFunc(slices.Clone(t.peers), func(p *child) bool { return p == nil })
}

func urlsOf(all []*child) (urls []string) {
	for _, p := range all {
		urls = append(urls, p.url)
	}
	return urls
}

// list tells processes who is there now.
func (t *trial) list(to, there []*child) error {
	_, err := callAll(to, command{Op: "list", Peers: urlsOf(there)})
	return err
}

// getAll has the processes get all keys once.
func (t *trial) getAll(by []*child) error {
	_, err := callAllWith(by, func(c *child) (reply, error) {
		return c.call(command{Op: "get", Trial: trialOrder{Part: slices.Index(by, c), Parts: len(by)}})
	})
	return err
}

// zero forgets what was counted, and begins the time line.
func (t *trial) zero() {
	l := t.ledger
	t.forgetLoads()
	l.takes.Store(int64(trialLoad))
	l.began.Store(time.Now().UnixNano())
}

func (t *trial) forgetLoads() {
	for key := range t.ledger.loads {
		t.ledger.loads[key].Store(0)
	}
}

// drive has the processes make all calls together at the rate of the settings, with so many deletions
// among them.
func (t *trial) drive(by []*child, deletes float64) error {
	n := float64(len(by))
	_, err := callAll(by, command{Op: "rate", Trial: trialOrder{Rate: t.set.rate / n, Deletes: deletes / n}})
	return err
}

// rest has the processes make no calls any more, and waits for those that are under way.
func (t *trial) rest(by []*child) error {
	_, err := callAll(by, command{Op: "rate"})
	return err
}

// kill ends a process as a crash does.
func (t *trial) kill(place int) {
	p := t.peers[place]
	t.peers[place] = nil
	p.stop()
}

// nextSlot waits for the next slot of the time line to begin and returns its number.
func (t *trial) nextSlot() int {
	next := t.ledger.slotAt(time.Now()) + 1
	time.Sleep(time.Until(t.timeOf(next)))
	return next
}

// ownersOf returns who holds each key, by URL.
func (t *trial) ownersOf(by *child) ([]string, error) {
	r, err := by.call(command{Op: "owners"})
	return r.KeyOwners, err
}

// heldBy returns the keys that a process holds.
func heldBy(owners []string, p *child) (keys []int) {
	name, _, named := strings.Cut(p.url, "=")
	if !named {
		name = p.url
	}
	for key, o := range owners {
		if o == name && name != "" { // a client of a server holds nothing
			keys = append(keys, key)
		}
	}
	return keys
}

// writableBy returns at most n of the keys that the process at a place writes.
func writableBy(place int, keys []int, n int) (some []int) {
	for _, key := range keys {
		if key%writers == place && !deletable(key) && len(some) < n {
			some = append(some, key)
		}
	}
	return some
}

// loadsOf returns how often keys were loaded, and how often the one that was loaded most.
func (t *trial) loadsOf(keys []int) (all, most float64) {
	for _, key := range keys {
		n := float64(t.ledger.loads[key].Load())
		all, most = all+n, max(most, n)
	}
	return all, most
}

func (t *trial) allKeys() []int {
	keys := make([]int, t.set.keys)
	for i := range keys {
		keys[i] = i
	}
	return keys
}

// violations returns what must not be, of any process of the trial.
func (t *trial) violations() (stale, undead, wrong, skipped float64) {
	for i := range t.ledger.of {
		a := &t.ledger.of[i]
		stale += float64(a.stale.Load())
		undead += float64(a.undead.Load())
		wrong += float64(a.wrong.Load())
		skipped += float64(a.skipped.Load())
	}
	return stale, undead, wrong, skipped
}

// cpu returns the CPU seconds that the processes have used, with those of their server.
func (t *trial) cpu() (seconds float64, err error) {
	all := t.live()
	if t.server != nil {
		all = append(all, t.server)
	}
	for _, p := range all {
		s, err := cpuOfPID(p.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		seconds += s
	}
	return seconds, nil
}

// busy is what the machine has worked since it was started, and could have.
type busy struct{ worked, all float64 }

// machineBusy reads it where Linux tells.
func machineBusy() (b busy) {
	stat, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, f := range strings.Fields(line) {
		var n float64
		if _, err := fmt.Sscan(f, &n); err != nil || i > 8 {
			continue // the name at the beginning, guests at the end
		}
		b.all += n
		if i != 4 && i != 5 { // idle, and waiting for a disk
			b.worked += n
		}
	}
	return b
}

// since returns the share of the machine that was busy since then, in percent.
func (b busy) since(then busy) float64 {
	return 100 * (b.worked - then.worked) / cmp.Or(b.all-then.all, 1)
}

// timeOf returns when a slot of the time line begins.
func (t *trial) timeOf(slot int) time.Time {
	return time.Unix(0, t.ledger.began.Load()).Add(time.Duration(slot) * slotLength)
}

// restartServer starts the server anew where it was.
func (t *trial) restartServer() (err error) {
	t.server, err = startServerAt(t.system.server, t.dir, t.server.url)
	return err
}

// mustNotBe makes the run fail if Covey has returned what it must not on any machine. Of other systems
// that is a figure like others.
func (t *trial) mustNotBe(r *run, name string, stale, wrong float64) {
	if stale > 0 && t.system.isCovey() {
		r.wrong = append(r.wrong, fmt.Errorf("%s, %s: %.0f stale reads", name, t.system.name, stale))
	}
	if wrong > 0 {
		r.wrong = append(r.wrong, fmt.Errorf("%s, %s: %.0f values of another key, or mutilated", name, t.system.name, wrong))
	}
}

// addressOf returns host and port of a URL, which may have a name before it.
func addressOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	address, _, _ := strings.Cut(rest, "/")
	return address
}
