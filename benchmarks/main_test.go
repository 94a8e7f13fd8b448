package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coveycache/covey/benchmarks/internal/sim"
	"github.com/coveycache/covey/benchmarks/internal/trace"
)

// Some suites start the program again, which here is the test binary.
func TestMain(m *testing.M) {
	if was, err := asChild(os.Args[1:]); was {
		if err != nil {
			fatal(err)
		}
		return
	}
	os.Exit(m.Run())
}

func TestHitsPrintsATableAndJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "figures.json")
	var out bytes.Buffer
	if err := benchmark([]string{"hits", "-requests", "2000", "-systems", "covey,LRU,optimum", "-json", file}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| hit_ratio (%) | optimum | LRU | covey |\n|---|---:|---:|---:|\n", "| zipf-0.9/5% |", "| mean_regret (points) |", " mean regret is "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output has no %q:\n%s", want, out.String())
		}
	}
	res, err := readJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	ratios := map[string]float64{}
	if fs := res.facts; !slices.Contains(fs.Args, "-requests=2000") || fs.Go == "" || fs.Cores == 0 || fs.Date == "" || fs.Versions["github.com/maypok86/otter/v2"] == "" {
		t.Errorf("the facts are %+v", fs)
	}
	if len(res.verdicts) == 0 || !strings.Contains(out.String(), "- "+res.verdicts[0]+"\n") {
		t.Errorf("verdicts: %q", res.verdicts)
	}
	for _, f := range res.figures {
		if f.Suite != "hits" || f.Case == "" || f.System == "" || f.Metric == "" || f.Unit == "" {
			t.Errorf("%+v lacks something", f)
		}
		if f.Metric == "hit_ratio" && f.Case == "zipf-0.9/5%" {
			ratios[f.System] = f.Value
		}
	}
	if ratios["LRU"] < 10 || ratios["LRU"] >= ratios["optimum"] || ratios["covey"] < 10 || ratios["covey"] > ratios["optimum"] {
		t.Errorf("hit ratios of zipf-0.9 at 5 %%: %v", ratios)
	}
}

// The suite hits gives nearly the same figures every time.
func TestCompareWithAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "figures.json")
	if err := benchmark([]string{"hits", "-requests", "2000", "-systems", "covey,LRU", "-json", file}, io.Discard); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := compare([]string{"-base", file}, &out); err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| zipf-0.9/5% \| hit_ratio \| LRU \| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \|$`).FindStringSubmatch(out.String())
	if row == nil {
		t.Fatalf("no ratio to LRU in\n%s", &out)
	}
	if change, err := strconv.ParseFloat(row[3], 64); err != nil || change < 0.8 || change > 1.2 {
		t.Errorf("the same code has changed: %q", row)
	}
	if err := compare([]string{"-base", file, "hits"}, io.Discard); err == nil {
		t.Error("a suite beside a file was taken")
	}
}

func TestScaleSuite(t *testing.T) {
	var out bytes.Buffer
	if err := benchmark([]string{"scale", "-quick", "-cases", "agreement|groups|processes"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"PASS agreement/100: s until one view", "PASS agreement/100: views of the joins within 10 s",
		"PASS groups/12: links lost for want of a keep-alive", "PASS groups/12: loads of each key that was lost",
		"PASS processes/3: gets that failed",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output has no %q:\n%s", want, out.String())
		}
	}
}

func TestWrongCommandLines(t *testing.T) {
	for _, args := range [][]string{
		{}, {"nosuch"}, {"hits", "local"}, {"hits", "-systems", "nosuch"}, {"local", "-repeats", "0"}, {"hits", "-requests", "0"},
		{"local", "-duration", "-1s"}, {"hits", "-nosuch"}, {"hits", "-requests", "1000", "-traces", "nosuch.bin.gz"},
	} {
		if err := benchmark(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

func TestList(t *testing.T) {
	var out bytes.Buffer
	if err := benchmark([]string{"-list"}, &out); err != nil {
		t.Fatal(err)
	}
	if got := len(strings.Fields(out.String())); got != len(suites()) {
		t.Errorf("-list printed %d names of %d suites", got, len(suites()))
	}
}

// Every system keeps what fits, and no more than its capacity.
func TestSystemsAreCaches(t *testing.T) {
	w := newWorkload(2000, 1, 1)
	w.setSize(10)
	for _, s := range systems() {
		t.Run(s.name, func(t *testing.T) {
			c, err := w.fill(s)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			if v, ok := c.get(w.asked[7]); !ok || len(v) != 10 || v[0] != 7 {
				t.Errorf("get = %v, %v", v, ok)
			}
			if _, ok := c.get("absent"); ok && !s.variant { // the closure loads it
				t.Error("an absent key was found")
			}
			if s.floor != "" || s.variant {
				return
			}
			small := s.open(config{entries: 100, exact: true})
			defer small.close()
			for i, k := range w.keys {
				small.put(k, w.values[i])
				small.settle()
			}
			held := 0
			for _, k := range w.asked {
				if _, ok := small.get(k); ok {
					held++
				}
			}
			if held < 85 || held > 100 {
				t.Errorf("a cache of 100 entries holds %d", held)
			}
		})
	}
}

func TestSizedSystemsKeepToTheirBytes(t *testing.T) {
	for _, s := range systems() {
		if s.openSized == nil {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			const size, capacity = 1000, 100_000
			c := s.openSized(capacity, func(string) int { return size })
			defer c.close()
			names := keyNames(1000)
			for _, k := range names {
				c.put(k, nil)
				c.settle()
			}
			held := 0
			for _, k := range names {
				if _, ok := c.get(k); ok {
					held++
				}
			}
			if held < capacity/size*8/10 || held > capacity/size {
				t.Errorf("%d objects of %d bytes are in a cache of %d bytes", held, size, capacity)
			}
		})
	}
}

func TestLoadingSystemsLoadOnce(t *testing.T) {
	for _, s := range systems() {
		if s.openLoading == nil {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			loads := 0
			c := s.openLoading(time.Minute, func(key string) []byte { loads++; return []byte(key) })
			defer c.close()
			for range 3 {
				if v, err := c.load(t.Context(), "a"); err != nil || string(v) != "a" {
					t.Fatalf("load = %q, %v", v, err)
				}
			}
			if loads != 1 {
				t.Errorf("%d loads", loads)
			}
		})
	}
}

func TestMemoryChild(t *testing.T) {
	f, err := inChild(payload, 20_000)
	if err != nil {
		t.Fatal(err)
	}
	// The slice itself costs a string's and a slice's header.
	if perEntry := f.LiveBytes/20_000 - payloadBytes; perEntry < 38 || perEntry > 50 {
		t.Errorf("the payload has %.1f bytes per entry beyond key and value, expected 40", perEntry)
	}
	if f.CollectionMs <= 0 || f.GCPercent <= 0 || f.GCPercent >= 100 || f.GCNsPerPut <= 0 {
		t.Errorf("figures: %+v", f)
	}
	if _, err := inChild("nosuch", 10); err == nil {
		t.Error("a system that doesn't exist was measured")
	}
}

func TestSummaries(t *testing.T) {
	contests := []*contest{
		{systems: []string{sim.Optimum, "a", "b"}, ratios: []float64{0.9, 0.5, 0.4}},
		{systems: []string{sim.Optimum, "a", "b"}, ratios: []float64{0.9, 0.2, 0.5}},
	}
	got := summarise(contests, "a")
	for what, pair := range map[string][2]float64{"mean": {got.mean, 35}, "regret": {got.regret, 15}, "worst": {got.worst, 30}} {
		if d := pair[0] - pair[1]; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s of a = %v, want %v", what, pair[0], pair[1])
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{5, 1, 3}, 3}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	if got := medianRatio([]float64{2, 9, 8}, []float64{1, 3, 0}); got != 2.5 {
		t.Errorf("medianRatio = %v, want 2.5", got)
	}
}

// The same requests make the same ratio for what decides at once.
func TestHitRatioOfARealLRU(t *testing.T) {
	tr := trace.Generate(20_000)[1]
	var lru sim.Maker
	for _, m := range sim.Makers() {
		if m.Name == "LRU" {
			lru = m
		}
	}
	want := sim.HitRatio(tr, lru.New(tr, 500))
	for _, s := range []system{golangLRUSystem, groupcacheSystem} {
		if got := hitRatio(tr, keyNames(tr.Unique), s.open(config{500, true})); got != want {
			t.Errorf("%s has a hit ratio of %v, the simulated LRU of %v", s.name, got, want)
		}
	}
}
