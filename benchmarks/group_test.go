package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The whole suite with Covey alone: real processes, every kind of load. With -short all but the
// Zipf load, whose keys take some seconds to make under the race detector.
func TestGroupSuite(t *testing.T) {
	cases, verdicts := "", 7
	if testing.Short() {
		cases, verdicts = "^(remote|many64)/", 4
	}
	var out bytes.Buffer
	figures := groupFigures(t, cases, &out)
	for _, c := range groupCases() {
		if c.load.Zipf && testing.Short() {
			continue
		}
		get := func(metric string) float64 {
			v, ok := figures[[2]string{c.name, metric}]
			if !ok {
				t.Errorf("%s has no %s", c.name, metric)
			}
			return v
		}
		if errs, stale := get("errors"), get("stale"); errs != 0 || stale != 0 {
			t.Errorf("%s: %v errors, %v stale reads", c.name, errs, stale)
		}
		if get("ops_per_s") <= 0 || get("cpu_us_per_op") <= 0 || get("p99_us") < get("p50_us") || get("p50_us") <= 0 {
			t.Errorf("%s: %v", c.name, figures)
		}
		// On a busy machine owners are silent at times, and then gets stay in the process.
		if left := get("left_percent"); left <= 0 || left > 102 || c.load.Zipf && left >= 99 {
			t.Errorf("%s: %v %% of the gets have left the process", c.name, left)
		}
	}
	if n := strings.Count(out.String(), "\n- "); n != verdicts {
		t.Errorf("%d verdicts on Covey alone:\n%s", n, out.String())
	}
}

// groupFigures runs the suite's cases that match with Covey alone and returns its figures, by case and
// metric.
func groupFigures(t *testing.T, cases string, out io.Writer) map[[2]string]float64 {
	t.Helper()
	file := filepath.Join(t.TempDir(), "figures.json")
	if err := benchmark([]string{"group", "-quick", "-systems", "covey", "-duration", "20ms", "-repeats", "1", "-cases", cases, "-json", file}, out); err != nil {
		t.Fatal(err)
	}
	res, err := readJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	figures := map[[2]string]float64{}
	for _, f := range res.figures {
		if f.Suite != "group" || f.System != "covey" {
			t.Errorf("%+v", f)
		}
		figures[[2]string{f.Case, f.Metric}] = f.Value
	}
	return figures
}

// One load in the whole group, with either kind of loader.
func TestGroupHerd(t *testing.T) {
	r := &run{settings: settings{repeats: 1}, suite: "herd"}
	if err := runGroupHerd(r); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, f := range r.figures {
		kinds[f.Case] = true
		if f.Metric == "errors" && f.Value != 0 || f.Metric == "loads" && !strings.HasSuffix(f.Case, "+kill") && f.Value != 1 || f.Metric == "served_us" && f.Value < 1e5 {
			t.Errorf("%+v", f)
		}
	}
	if len(kinds) != 4 || len(r.verdicts) != 8 {
		t.Errorf("cases %v, verdicts %q", kinds, r.verdicts)
	}
}

func TestGroupSelection(t *testing.T) {
	cases := map[string]groupCase{}
	for _, c := range groupCases() {
		cases[c.name] = c
	}
	all, remote := regexp.MustCompile(""), regexp.MustCompile("^remote/")
	for _, test := range []struct {
		system, group string
		cases         *regexp.Regexp
		want          bool
	}{
		{"covey", "remote/100B/c1", all, true},
		{"covey", "many64/100B/c1", all, true},
		{"covey", "many64/100B/c1", remote, false},
		{"covey", "zipf1.01/L1/1%puts", all, true},
		{"groupcache", "remote/100B/c1", remote, true},
		{"groupcache", "many64/100B/c1", all, false},
		{"redis+rueidis", "zipf1.01/L1/1%puts", all, false},
		{"redis+rueidis", "remote/100B/c256+16MiB", all, false},
		{"redis+rueidis", "many64/100B/c16", all, true},
		{"redis+rueidis-mget", "many64/100B/c16", all, true},
		{"redis+rueidis-mget", "remote/100B/c1", all, false},
	} {
		s := groupSystems[slices.IndexFunc(groupSystems, func(s groupSystem) bool { return s.name == test.system })]
		c, ok := cases[test.group]
		if !ok {
			t.Fatalf("there is no case %q", test.group)
		}
		if got := s.can(c, &run{settings: settings{cases: test.cases}}); got != test.want {
			t.Errorf("%s does %s: %v", test.system, test.group, got)
		}
	}
}

// Every verdict turns at its limit, and there is none where something was not measured.
func TestJudgeGroup(t *testing.T) {
	const one, many, zipf = "remote/100B/c1", "remote/100B/c256", "zipf1.01/L1/1%puts"
	type measured struct {
		group, system, metric string
		values                []float64
	}
	judge := func(all ...measured) []string {
		found := map[string]map[string]map[string][]float64{}
		for _, m := range all {
			if found[m.group] == nil {
				found[m.group] = map[string]map[string][]float64{}
			}
			if found[m.group][m.system] == nil {
				found[m.group][m.system] = map[string][]float64{}
			}
			found[m.group][m.system][m.metric] = m.values
		}
		var r run
		r.judgeGroup(found)
		return r.verdicts
	}
	if v := judge(); v != nil {
		t.Errorf("verdicts on nothing: %q", v)
	}
	for _, test := range []struct {
		base       measured
		covey      measured
		pass, fail float64
	}{
		{covey: measured{group: many, metric: "cpu_us_per_op"}, pass: 5, fail: 5.01},
		{covey: measured{group: many, metric: "left_percent"}, pass: 100.5, fail: 98.9},
		{covey: measured{group: many, metric: "left_percent"}, pass: 99.5, fail: 101.1},
		{base: measured{many, "groupcache", "ops_per_s", []float64{10}}, covey: measured{group: many, metric: "ops_per_s"}, pass: 400, fail: 399},
		{base: measured{many, "groupcache-tuned", "ops_per_s", []float64{10}}, covey: measured{group: many, metric: "ops_per_s"}, pass: 120, fail: 119},
		{base: measured{many, "redis+rueidis", "ops_per_s", []float64{10}}, covey: measured{group: many, metric: "ops_per_s"}, pass: 17, fail: 16.9},
		{base: measured{many, "redis+rueidis", "p99_us", []float64{10}}, covey: measured{group: many, metric: "p99_us"}, pass: 10, fail: 10.1},
		{base: measured{one, "groupcache", "ops_per_s", []float64{10}}, covey: measured{group: one, metric: "ops_per_s"}, pass: 30, fail: 29},
		{base: measured{"many64/100B/c1", "redis+rueidis", "ops_per_s", []float64{10}}, covey: measured{group: "many64/100B/c1", metric: "ops_per_s"}, pass: 15, fail: 14.9},
		{base: measured{"many64/100B/c16", "redis+rueidis", "ops_per_s", []float64{10}}, covey: measured{group: "many64/100B/c16", metric: "ops_per_s"}, pass: 15, fail: 14.9},
		{base: measured{many, "covey", "ops_per_s", []float64{10}}, covey: measured{group: "remote/1KiB/c256", metric: "ops_per_s"}, pass: 8, fail: 7.9},
		{base: measured{many, "covey", "p99_us", []float64{10}}, covey: measured{group: "remote/100B/c256+16MiB", metric: "p99_us"}, pass: 20, fail: 20.1},
		{covey: measured{group: zipf, metric: "ops_per_s"}, pass: 2e6, fail: 1.99e6},
		{covey: measured{group: zipf, metric: "left_percent"}, pass: 14.9, fail: 15},
		{covey: measured{group: zipf, metric: "stale"}, pass: 0, fail: 1},
	} {
		for want, value := range map[string]float64{"PASS ": test.pass, "FAIL ": test.fail} {
			covey := test.covey
			covey.system, covey.values = "covey", []float64{value}
			v := judge(test.base, covey)
			if len(v) != 1 || !strings.HasPrefix(v[0], want) || strings.Contains(v[0], "%!") {
				t.Errorf("%s %s of %v beside %+v: %q, want %s", covey.group, covey.metric, value, test.base, v, want)
			}
		}
		if test.base.system != "" {
			if v := judge(test.base); v != nil {
				t.Errorf("verdicts without Covey: %q", v)
			}
		}
	}

	// What was measured in the same repeat is compared, and the median of that counts; of stale
	// reads the worst repeat does.
	v := judge(measured{one, "groupcache", "ops_per_s", []float64{1, 100, 10}}, measured{one, "covey", "ops_per_s", []float64{4, 200, 40}})
	if len(v) != 1 || !strings.HasPrefix(v[0], "PASS ") || !strings.Contains(v[0], "4.00x groupcache") {
		t.Errorf("ratios of 4, 2 and 4: %q", v)
	}
	v = judge(measured{zipf, "covey", "stale", []float64{0, 3, 0}})
	if len(v) != 1 || !strings.HasPrefix(v[0], "FAIL ") || !strings.Contains(v[0], "3 stale") {
		t.Errorf("3 stale reads in one repeat: %q", v)
	}
}

// scripted returns a child that answers as told, and what it was asked.
func scripted(t *testing.T, answer func(command) reply) (c *child, asked *[]string) {
	in, commands := io.Pipe()
	replies, out := io.Pipe()
	t.Cleanup(func() { _ = commands.Close() })
	asked = new([]string)
	go func() {
		defer out.Close()
		dec, enc := json.NewDecoder(in), json.NewEncoder(out)
		for {
			var cmd command
			if dec.Decode(&cmd) != nil {
				return
			}
			*asked = append(*asked, cmd.Op)
			if enc.Encode(answer(cmd)) != nil {
				return
			}
		}
	}()
	return &child{in: commands, enc: json.NewEncoder(commands), dec: json.NewDecoder(replies)}, asked
}

func TestMeasureGroup(t *testing.T) {
	var peers []*child
	var asked []*[]string
	for i := range 3 {
		cpu, served := 10.0, int64(1000)
		c, what := scripted(t, func(cmd command) reply {
			switch cmd.Op {
			case "cpu":
				defer func() { cpu += 0.5 }()
				return reply{CPU: cpu}
			case "served":
				defer func() { served += 150 }()
				return reply{Served: served}
			case "run":
				return reply{Ops: 1000 * int64(i+1), Seconds: 2, Errors: 1, Stale: int64(i), P50: float64(10 - i), P90: 15, P99: float64(20 + i)}
			}
			return reply{}
		})
		peers, asked = append(peers, c), append(asked, what)
	}
	check := func(system string, l load, want map[string]float64) {
		t.Helper()
		var r run
		got, err := r.measureGroup(groupSystem{name: system}, peers, l)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s, %+v: %v, want %v", system, l, got, want)
		}
	}
	// 1.5 s of CPU and 450 served by all; one asker with 1000 gets, or three with 6000.
	check("covey", load{}, map[string]float64{"ops_per_s": 500, "errors": 1, "stale": 0, "p50_us": 10, "p90_us": 15, "p99_us": 20, "cpu_us_per_op": 1500, "left_percent": 45})
	if n := strings.Count(fmt.Sprint(*asked[0]), "run"); n != 1 || slices.Contains(*asked[1], "run") {
		t.Errorf("%v, %v", *asked[0], *asked[1])
	}
	check("groupcache", load{All: true}, map[string]float64{"ops_per_s": 3000, "errors": 3, "stale": 3, "p50_us": 10, "p90_us": 15, "p99_us": 22, "cpu_us_per_op": 250})
	check("covey", load{All: true, Zipf: true}, map[string]float64{
		"ops_per_s": 3000, "errors": 3, "stale": 3, "p50_us": 10, "p90_us": 15, "p99_us": 22, "cpu_us_per_op": 250, "left_percent": 7.5,
	})
	if n := strings.Count(fmt.Sprint(*asked[2]), "run"); n != 3 {
		t.Errorf("before the Zipf load is measured it warms up: %v", *asked[2])
	}
}

func TestReplies(t *testing.T) {
	for text, want := range map[string]string{
		`{"Ops":7}`: "", `{"Err":"out of order"}`: "out of order", `Ops: 7`: "invalid character", `{"Ops":"7"}`: "cannot unmarshal", ``: "EOF", `{"Ops":7`: "EOF",
	} {
		c := &child{enc: json.NewEncoder(io.Discard), dec: json.NewDecoder(strings.NewReader(text))}
		r, err := c.call(command{Op: "run"})
		if want == "" && (err != nil || r.Ops != 7) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
	good, _ := scripted(t, func(command) reply { return reply{Ops: 1} })
	bad, _ := scripted(t, func(command) reply { return reply{Err: "no"} })
	replies, err := callAll([]*child{good, bad, good}[:2], command{})
	if err == nil || err.Error() != "no" || len(replies) != 2 || replies[0].Ops != 1 {
		t.Errorf("%v, %v", replies, err)
	}
}

func TestCPUOfPID(t *testing.T) {
	for x, end := 0, processCPU()+0.1; processCPU() < end; x++ {
	}
	got, err := cpuOfPID(os.Getpid())
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("there is no /proc")
	}
	if want := processCPU(); err != nil || got < want/2 || got > want+0.1 {
		t.Errorf("%v s, %v; by getrusage %v s", got, err, want)
	}
	if _, err := cpuOfPID(-1); err == nil {
		t.Error("a process that does not exist has used CPU")
	}
}

func TestHottest(t *testing.T) {
	rates := map[string]float64{}
	for i := range 3 * hotTop {
		rates[zipfKey(i)] = 1 / float64(i+1)
	}
	top := hottest(rates)
	if len(top) != hotTop || top[0] != zipfKey(0) || top[hotTop-1] != zipfKey(hotTop-1) {
		t.Errorf("%v", top)
	}
	if top := hottest(map[string]float64{"b": 1, "a": 2}); !slices.Equal(top, []string{"a", "b"}) {
		t.Errorf("%v", top)
	}
	if i, ok := zipfIndex(zipfKey(4711)); i != 4711 || !ok {
		t.Errorf("%v, %v", i, ok)
	}
	for _, key := range []string{zipfKey(zipfKeys), "user:1", "item:x"} {
		if _, ok := zipfIndex(key); ok {
			t.Errorf("%q is a key of the Zipf load", key)
		}
	}
}

// A puppet is a cache that answers what the test wants, to see what the checker says of it.
type puppet struct {
	groupClient
	read  func(i int) (version uint64, err error)
	write func(i int) error
	wrote int
}

func (c *puppet) get(_ context.Context, key string) ([]byte, error) {
	i, _ := zipfIndex(key)
	version, err := c.read(i)
	return binary.LittleEndian.AppendUint64(nil, version), err
}

func (c *puppet) put(_ context.Context, key string, value []byte, version uint64) error {
	i, _ := zipfIndex(key)
	c.wrote = i
	if binary.LittleEndian.Uint64(value) != version {
		return fmt.Errorf("a value of version %d begins with another", version)
	}
	return c.write(i)
}

func TestStaleReads(t *testing.T) {
	v, err := openVersions(filepath.Join(t.TempDir(), "versions"))
	if err != nil {
		t.Fatal(err)
	}
	cache := &puppet{}
	p := &groupProcess{client: cache, versions: v}
	for i := range zipfKeys {
		p.all = append(p.all, zipfKey(i))
		v.acknowledged[i].Store(5)
		v.stored[i].Store(6)
		v.next[i].Store(6)
	}
	r := rand.New(rand.NewPCG(1, 2))
	zipf := newZipf(r, zipfKeys)
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		read func(i int) (uint64, error)
		old  bool
		err  error
	}{
		"what was acknowledged":    {func(int) (uint64, error) { return 5, nil }, false, nil},
		"what is being written":    {func(int) (uint64, error) { return 6, nil }, false, nil},
		"what was there before":    {func(int) (uint64, error) { return 4, nil }, true, nil},
		"nothing":                  {func(int) (uint64, error) { return 0, nil }, true, nil},
		"an error":                 {func(int) (uint64, error) { return 0, broken }, false, broken},
		"acknowledged meanwhile":   {func(i int) (uint64, error) { raise(&v.acknowledged[i], 7); return 5, nil }, false, nil},
		"what was there meanwhile": {func(i int) (uint64, error) { raise(&v.acknowledged[i], 9); return 4, nil }, true, nil},
	} {
		for i := range zipfKeys {
			v.acknowledged[i].Store(5)
		}
		cache.read, cache.write = test.read, func(int) error { return broken }
		for cache.wrote = -1; ; cache.wrote = -1 { // until it is a read
			old, err := p.zipfOp(t.Context(), zipf, r)
			if cache.wrote >= 0 {
				continue
			}
			if old != test.old || err != test.err {
				t.Errorf("%s: stale %v, error %v", name, old, err)
			}
			break
		}
	}
	for _, fails := range []error{nil, broken} {
		cache.read = func(int) (uint64, error) { return 5, nil }
		for cache.wrote = -1; cache.wrote < 0; {
			var stored, acknowledged uint64
			cache.write = func(i int) error {
				stored, acknowledged = v.stored[i].Load(), v.acknowledged[i].Load()
				return fails
			}
			_, err := p.zipfOp(t.Context(), zipf, r)
			if i := cache.wrote; i >= 0 {
				if err != fails {
					t.Errorf("a write returned %v, not %v", err, fails)
				}
				if version := v.next[i].Load(); stored != version || acknowledged >= version {
					t.Errorf("while version %d was written, %d was stored and %d acknowledged", version, stored, acknowledged)
				} else if now := v.acknowledged[i].Load(); (now == version) != (fails == nil) {
					t.Errorf("after a write of %d that returned %v, %d is acknowledged", version, fails, now)
				}
			}
		}
	}
}

// All processes see one memory, and versions only rise.
func TestVersionsAreShared(t *testing.T) {
	file := filepath.Join(t.TempDir(), "versions")
	a, err := openVersions(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := openVersions(file)
	if err != nil {
		t.Fatal(err)
	}
	raise(&a.acknowledged[zipfKeys-1], 7)
	raise(&b.acknowledged[zipfKeys-1], 3)
	if got := b.acknowledged[zipfKeys-1].Load(); got != 7 {
		t.Errorf("acknowledged is %d, not 7", got)
	}
	if a.stored[zipfKeys-1].Load() != 0 || a.next[0].Load() != 0 {
		t.Error("the arrays overlap")
	}
	if _, err := openVersions(t.TempDir()); err == nil {
		t.Error("a folder was opened")
	}
}
