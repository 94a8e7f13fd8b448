package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// wellFormed parses XML and returns how often each element occurs.
func wellFormed(t *testing.T, content []byte) map[string]int {
	t.Helper()
	count := map[string]int{}
	for d := xml.NewDecoder(bytes.NewReader(content)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
}

var storedFigures = "testdata/local.json,testdata/hits.json,testdata/group.json,testdata/failover.json"

// The page of stored figures: all charts are there, and no text of a system becomes an element.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "report.html")
	var out bytes.Buffer
	if err := page([]string{"-from", storedFigures, "-o", file, "-svg", dir}, &out); err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(out.String()) != file {
		t.Errorf("it says that the report is in %q", &out)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	html := string(content)
	count := wellFormed(t, content)
	const charts = 6 // local, hits, group's three, failover
	if count["svg"] != 2*charts || count["figure"] != charts || count["desc"] != 2*charts {
		t.Errorf("elements: %v", count)
	}
	if count["b"]+count["i"]+count["corrected"]+count["script"]+count["link"]+count["img"] > 0 {
		t.Errorf("text has become elements, or something is requested: %v", count)
	}
	for _, want := range []string{
		"&lt;b&gt;", "FAIL</span>local: &lt;b&gt;: 0.5x otter", "PASS</span>zipf: 3.42x otter &amp; more", "2 of the project’s aims", "1 were not",
		"memcached&#43;gomemcache is absent", "go run . local -quick &#39;-systems=covey,&lt;b&gt;&#39;", "2026-01-02", "0123456789ab with changes",
		"<td>redis-server</td><td>not installed</td>", "100 % reads, 100 B, 2 goroutines, 2 CPUs", "4000 calls a second", "zipf+scan",
		"groupcache: the lists are &lt;corrected&gt;", "lowest",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the report has no %q", want)
		}
	}
	for _, name := range []string{"local", "hits", "group", "latency", "failover"} {
		svg, err := os.ReadFile(filepath.Join(dir, name+".svg"))
		if err != nil {
			t.Error(err)
			continue
		}
		if count := wellFormed(t, svg); count["svg"] != 1 || count["title"] != 1 || count["desc"] != 1 || count["b"] > 0 {
			t.Errorf("%s.svg has %v", name, count)
		}
		if !strings.Contains(string(svg), "2026-01-02 · linux/amd64, 2 cores") {
			t.Errorf("%s.svg does not say when and where", name)
		}
	}
}

func TestReportSelection(t *testing.T) {
	for _, args := range [][]string{{"nosuch"}, {"-quick", "scale"}, {"-from", "nosuch.json"}, {"-nosuch"}} {
		if err := page(append([]string{"-o", filepath.Join(t.TempDir(), "r.html")}, args...), io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
	// What is planned is what the command line takes.
	for _, p := range slices.Concat(quickPlan, fullPlan()) {
		if _, err := measure(append(strings.Fields(p.args), "-list"), io.Discard); err != nil || p.seconds <= 0 {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// What was written is read again.
func TestResultsAreKept(t *testing.T) {
	for file := range strings.SplitSeq(storedFigures, ",") {
		r, err := readJSON(file)
		if err != nil {
			t.Fatal(err)
		}
		again := filepath.Join(t.TempDir(), "again.json")
		if err := r.writeJSON(again); err != nil {
			t.Fatal(err)
		}
		want, _ := os.ReadFile(file)
		got, _ := os.ReadFile(again)
		var a, b bytes.Buffer
		for buf, content := range map[*bytes.Buffer][]byte{&a: want, &b: got} {
			for line := range bytes.Lines(content) {
				buf.Write(normal(t, line))
			}
		}
		if a.String() != b.String() {
			t.Errorf("%s:\n%s\nbecame\n%s", file, &a, &b)
		}
	}
}

// normal is a line of JSON with its keys in order.
func normal(t *testing.T, line []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(line, &v); err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(v)
	return append(b, '\n')
}

func TestProgress(t *testing.T) {
	now := time.Unix(0, 0)
	clock := func() time.Time { return now }
	run := func(bar bool) string {
		var out bytes.Buffer
		p := newProgress(&out, bar, clock)
		p.expect([]float64{3, 1})
		p.suite("local")
		p.steps(4)
		p.step("local: one")
		now = now.Add(10 * time.Second)
		p.steps(-2)
		p.step("local: two")
		p.say("remark")
		p.end()
		p.suite("hits")
		p.steps(2)
		p.step("hits")
		p.end()
		p.say("outside")
		return out.String()
	}
	// Half of 3 of 4 are 3/8: 10 s are gone, 16.7 s are to come.
	for _, want := range []string{"local: one (1/4, 0s)\n", "local: two (2/2, 10s, about 17s left)\n", "remark\n", "hits (1/2, 10s, about 3s left)\n", "outside\n"} {
		if got := run(false); !strings.Contains(got, want) || strings.Contains(got, "\r") {
			t.Errorf("%q has no %q", got, want)
		}
	}
	for _, want := range []string{
		"\r\x1b[K[#########...............] local: 2/2, 10s, about 17s left  two", "\r\x1b[Kremark\n", "\r\x1b[K[##################......] hits: 1/2", "\r\x1b[K" + "outside\n",
	} {
		if got := run(true); !strings.Contains(got, want) {
			t.Errorf("%q has no %q", got, want)
		}
	}
}
