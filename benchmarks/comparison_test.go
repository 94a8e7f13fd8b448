package main

// comparison_test.go shows what the table "How it compares" in README says: each row names one of
// these tests, and the answers for all systems are here.

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Yiling-J/theine-go"
	"github.com/coveycache/covey"
	"github.com/golang/groupcache"
	"github.com/maypok86/otter/v2"
	"github.com/viccon/sturdyc"
)

// A loading is a cache that loads.
type loading struct {
	get    func(ctx context.Context, key string) (string, error)
	delete func(key string) // nil = it has none
}

// groups counts those of groupcache, whose names are taken for good.
var groups atomic.Int64

// loadings make the systems that load, by their name in README.
var loadings = map[string]func(t *testing.T, load func() string) loading{
	"Covey": func(t *testing.T, load func() string) loading {
		c := must(covey.New("compared", covey.Options[string]{TTL: hour, Loader: func(context.Context, string) (string, error) { return load(), nil }}))
		t.Cleanup(func() { _ = c.Close() })
		return loading{func(ctx context.Context, key string) (string, error) { return c.Get(ctx, key, nil) }, func(key string) { _ = c.Delete(t.Context(), key) }}
	},
	"otter v2": func(t *testing.T, load func() string) loading {
		c := otter.Must(&otter.Options[string, string]{MaximumSize: 1000})
		t.Cleanup(func() { c.StopAllGoroutines() })
		loader := otter.LoaderFunc[string, string](func(context.Context, string) (string, error) { return load(), nil })
		return loading{func(ctx context.Context, key string) (string, error) { return c.Get(ctx, key, loader) }, func(key string) { c.Invalidate(key) }}
	},
	"theine": func(t *testing.T, load func() string) loading {
		c := must(theine.NewBuilder[string, string](1000).BuildWithLoader(func(context.Context, string) (theine.Loaded[string], error) {
			return theine.Loaded[string]{Value: load(), Cost: 1, TTL: hour}, nil
		}))
		t.Cleanup(c.Close)
		return loading{c.Get, c.Delete}
	},
	"sturdyc": func(_ *testing.T, load func() string) loading {
		c := sturdyc.New[string](1000, 10, hour, sturdycEviction, sturdyc.WithNoContinuousEvictions())
		fetch := func(context.Context) (string, error) { return load(), nil }
		return loading{func(ctx context.Context, key string) (string, error) { return c.GetOrFetch(ctx, key, fetch) }, c.Delete}
	},
	"groupcache": func(_ *testing.T, load func() string) loading {
		g := groupcache.NewGroup(fmt.Sprint("compared", groups.Add(1)), 1<<20, groupcache.GetterFunc(func(_ context.Context, _ string, to groupcache.Sink) error { return to.SetString(load()) }))
		return loading{func(ctx context.Context, key string) (s string, err error) {
			err = g.Get(ctx, key, groupcache.StringSink(&s))
			return s, err
		}, nil}
	},
}

// answers are what the table says, by test and system. TestComparison compares them with README.
var answers = map[string]map[string]string{
	"TestComparedOneLoad":      {"Covey": "yes", "otter v2": "yes", "theine": "yes", "sturdyc": "yes", "groupcache": "yes"},
	"TestComparedWaiterLeaves": {"Covey": "yes", "otter v2": "yes", "theine": "no", "sturdyc": "no", "groupcache": "no"},
	"TestComparedDelete":       {"Covey": "yes", "otter v2": "yes", "theine": "yes, it waits", "sturdyc": "no", "groupcache": "–"},
}

func compareAll(t *testing.T, is func(t *testing.T, system func(*testing.T, func() string) loading) string) {
	for name, system := range loadings {
		t.Run(name, func(t *testing.T) {
			test, _, _ := strings.Cut(t.Name(), "/")
			if got, want := is(t, system), answers[test][name]; got != want {
				t.Errorf("%s: %q, the table says %q", name, got, want)
			}
		})
	}
}

// Is a key that many ask for at once loaded once?
func TestComparedOneLoad(t *testing.T) {
	compareAll(t, func(t *testing.T, system func(*testing.T, func() string) loading) string {
		var loads atomic.Int64
		c := system(t, func() string { loads.Add(1); time.Sleep(100 * time.Millisecond); return "v" })
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if v, err := c.get(t.Context(), "k"); v != "v" || err != nil {
					t.Errorf("%q, %v", v, err)
				}
			})
		}
		all.Wait()
		return yes(loads.Load() == 1)
	})
}

// Does a caller whose context has ended return, while a load that another one began goes on?
func TestComparedWaiterLeaves(t *testing.T) {
	compareAll(t, func(t *testing.T, system func(*testing.T, func() string) loading) string {
		began, end := make(chan bool), make(chan bool)
		c := system(t, sync.OnceValue(func() string { close(began); <-end; return "v" }))
		var all sync.WaitGroup
		defer all.Wait()
		defer close(end)
		all.Go(func() { _, _ = c.get(context.WithoutCancel(t.Context()), "k") })
		<-began
		left := make(chan bool, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		all.Go(func() {
			_, err := c.get(ctx, "k")
			left <- err != nil
		})
		select {
		case <-left:
			return "yes"
		case <-time.After(300 * time.Millisecond):
			return "no"
		}
	})
}

// Does a key that is deleted while it is loaded stay away, so that the next one loads again?
func TestComparedDelete(t *testing.T) {
	compareAll(t, func(t *testing.T, system func(*testing.T, func() string) loading) string {
		var loads atomic.Int64
		began, end := make(chan bool), make(chan bool)
		c := system(t, func() string {
			if loads.Add(1) > 1 {
				return "new"
			}
			close(began)
			<-end
			return "old"
		})
		if c.delete == nil {
			return "–"
		}
		var first sync.WaitGroup
		first.Go(func() { _, _ = c.get(t.Context(), "k") })
		<-began
		deleted := make(chan bool)
		go func() { c.delete("k"); close(deleted) }()
		waits := ""
		select {
		case <-deleted:
		case <-time.After(300 * time.Millisecond):
			waits = ", it waits"
		}
		close(end)
		<-deleted
		first.Wait()
		v, err := c.get(t.Context(), "k")
		if err != nil {
			t.Error(err)
		}
		return yes(v == "new") + waits
	})
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// The table of README has only rows that name a test or a suite which exists, and the answers of the
// tests above.
func TestComparison(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(readme), "\n## How it compares\n")
	table := regexp.MustCompile(`(?m)^\|.*\|$`).FindAllString(after, -1)
	if len(table) < 4 {
		t.Fatalf("the table has %d lines", len(table))
	}
	cells := func(line string) (all []string) {
		for c := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			all = append(all, strings.TrimSpace(c))
		}
		return all
	}
	tests := testNames(t)
	head, seen := cells(table[0]), map[string]bool{}
	for _, line := range table[2:] {
		row := cells(line)
		if len(row) != len(head) {
			t.Fatalf("a row of %d cells below %d: %s", len(row), len(head), line)
		}
		names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[len(row)-1], -1)
		if len(names) == 0 {
			t.Errorf("nothing shows %q", row[0])
		}
		for _, n := range names {
			name := n[1]
			suite := slices.ContainsFunc(suites(), func(s suite) bool { return s.name == name })
			if !suite && !tests[name] {
				t.Errorf("%q is shown by %q, which is neither a suite nor a test", row[0], name)
			}
			for i, system := range head {
				if want := answers[name][system]; want != "" && row[i] != want {
					t.Errorf("%q, %s: %q, but %s says %q", row[0], system, row[i], name, want)
				}
			}
			seen[name] = true
		}
	}
	for name := range answers {
		if !seen[name] || !tests[name] {
			t.Errorf("%s shows what no row says", name)
		}
	}
}

// testNames returns the tests of this module and of the library.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, dir := range []string{".", ".."} {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has %d test files, %v", dir, len(files), err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllSubmatch(content, -1) {
				names[string(m[1])] = true
			}
		}
	}
	return names
}

// README's pictures exist, are SVG, and say when and on what they were measured.
func TestReadmePictures(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`!\[([^\]]*)\]\((docs/images/benchmarks/[^)]+\.svg)\)`).FindAllSubmatch(readme, -1)
	if len(named) < 4 {
		t.Errorf("README has %d pictures of benchmarks", len(named))
	}
	var shown []string
	for _, m := range named {
		file := filepath.Join("..", string(m[2]))
		shown = append(shown, file)
		svg, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if count := wellFormed(t, svg); count["svg"] != 1 || count["title"] != 1 || count["desc"] != 1 || count["script"]+count["image"]+count["a"] > 0 {
			t.Errorf("%s: elements %v", file, count)
		}
		if !regexp.MustCompile(`>20\d\d-\d\d-\d\d · \w+/\w+, \d+ cores, .* · Go `).Match(svg) || !bytes.Contains(svg, []byte("commit\u00a0")) {
			t.Errorf("%s does not say when, on what and of what it is", file)
		}
		if len(m[1]) < 20 {
			t.Errorf("%s: %q is no description", file, m[1])
		}
	}
	there, err := filepath.Glob("../docs/images/benchmarks/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range there {
		if !slices.Contains(shown, file) {
			t.Errorf("%s is shown nowhere", file)
		}
	}
}
