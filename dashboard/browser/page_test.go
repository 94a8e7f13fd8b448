package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

const testPatience = 60 * time.Second

// open starts Chromium and opens the page of a process.
func open(t *testing.T, p *process) context.Context {
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if at, err := exec.LookPath(name); err == nil {
			program = at
			break
		}
	}
	if program == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("Chromium is not installed")
		}
		t.Skip("Chromium is not installed (apt-get install chromium)")
	}
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), o...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	do(t, ctx, chromedp.Navigate("http://"+p.addr+"/covey/"))
	prefer(t, ctx, "light")
	eval[bool](t, ctx, `window.confirm = () => true; window.faults = []; addEventListener("error", e => faults.push(e.message)); true`)
	return ctx
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	require.NoError(t, chromedp.Do(ctx, steps...))
}

// until waits until an expression is true in the page.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	_, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(testPatience)))
	require.NoError(t, err, expression)
}

func eval[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(t, err, expression)
	return v
}

// prefer has the page believe that its reader prefers a colour scheme, and that nothing moves: a click
// hits what is there when it is aimed.
func prefer(t *testing.T, ctx context.Context, scheme string) {
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	require.NoError(t, err)
}

// The numbers on the page are those of the statistics; a key is explained, and deleted; a process that
// is killed is shown as down.
func TestPage(t *testing.T) {
	procs := start(t, 3)
	a, b := procs[0], procs[1]
	const keys = 30
	for i := range keys {
		for _, p := range procs {
			require.Equal(t, http.StatusOK, p.get(t, fmt.Sprint("key", i)))
		}
	}
	require.Equal(t, http.StatusNotFound, a.get(t, "missing"))
	ctx := open(t, a)

	until(t, ctx, `data !== null && data.Members.length === 3 && data.Caches.length === 1`)
	sum := make(map[string]int64)
	for _, p := range procs {
		var s map[string]any
		fetch(t, p, "/stats", &s)
		for _, name := range []string{"Hits", "L1Hits", "PeerHits", "ReplicaReads", "StaleHits", "NegativeHits", "Misses", "Loads", "LoadErrors"} {
			sum[name] += int64(s[name].(float64))
		}
	}
	require.GreaterOrEqual(t, sum["Loads"], int64(keys))
	require.Positive(t, sum["PeerHits"])
	want := fmt.Sprintf("users|3|%d|%d|%d|%d|%d|%d|%d|%d|%d|", sum["Hits"], sum["L1Hits"], sum["PeerHits"], sum["ReplicaReads"], sum["StaleHits"], sum["NegativeHits"], sum["Misses"], sum["Loads"], sum["LoadErrors"])
	shown := eval[[]string](t, ctx, `[...document.querySelectorAll("#caches tbody tr")].map(r => [...r.cells].map(c => c.textContent).join("|"))`)
	require.Len(t, shown, 1)
	require.True(t, strings.HasPrefix(shown[0], want), "%s: want %s", shown[0], want)
	require.Equal(t, 3, eval[int](t, ctx, `document.querySelectorAll("#ring path").length`))

	// Explained: the owner is the same at all, and who is said to have it has it.
	do(t, ctx, chromedp.SendKeys(chromedp.CSS("#explain-key"), "key1\r"))
	until(t, ctx, `document.getElementById("explained-owner") !== null`)
	owner := eval[string](t, ctx, `document.getElementById("explained-owner").title`)
	for _, p := range procs {
		require.Equal(t, owner, explained(t, p, "key1").Owner)
	}
	require.Equal(t, "the value of key1", eval[string](t, ctx, `document.getElementById("explained-value").textContent`))
	require.GreaterOrEqual(t, eval[int](t, ctx, `document.querySelectorAll("#explained-table tbody tr").length`), 2, "owner and replica")

	// Deleted: nobody has it.
	do(t, ctx, chromedp.Click(chromedp.CSS("#explained button.danger")))
	until(t, ctx, `document.getElementById("explained-value").textContent === "There is no value."`)
	for _, s := range explained(t, b, "key1").States {
		require.Empty(t, s.Source, s.Peer)
	}
	until(t, ctx, `data.Events.some(e => e.Kind === "invalidated" && e.Key === "key1")`)

	screenshots(t, ctx, procs)
	accessible(t, ctx)

	require.NoError(t, b.cmd.Process.Kill())
	killed := time.Now()
	name := fmt.Sprintf(`document.querySelector('[data-state="http://%s/_covey/"]')`, b.addr)
	until(t, ctx, fmt.Sprintf(`(%s || {textContent: "gone"}).textContent.startsWith("down")`, name))
	t.Logf("shown as down after %v", time.Since(killed).Round(100*time.Millisecond))
	until(t, ctx, `document.getElementById("summary").textContent.includes("in trouble")`)
	require.Empty(t, eval[[]string](t, ctx, `faults`))
}

type explanation struct {
	Owner  string
	States []struct{ Peer, Source string }
}

func explained(t *testing.T, p *process, key string) (e explanation) {
	fetch(t, p, "/covey/explain.json?cache=users&key="+key, &e)
	return e
}

func fetch(t *testing.T, p *process, what string, to any) {
	got, err := http.Get("http://" + p.addr + what)
	require.NoError(t, err)
	defer got.Body.Close()
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.NoError(t, json.NewDecoder(got.Body).Decode(to))
}

// screenshots are kept where COVEY_SCREENSHOTS says, to be looked at, after some minutes of traffic.
// No page is wider than its window.
func screenshots(t *testing.T, ctx context.Context, procs []*process) {
	dir := os.Getenv("COVEY_SCREENSHOTS")
	if dir != "" {
		traffic, stop := context.WithCancel(ctx)
		defer stop()
		for i, p := range procs {
			go func() {
				z := rand.NewZipf(rand.New(rand.NewSource(int64(i))), 1.1, 1, 20_000)
				for traffic.Err() == nil {
					key := fmt.Sprintf("user/%05d", z.Uint64())
					if z.Uint64()%50 == 7 {
						key = fmt.Sprint("slow", z.Uint64()%40)
					}
					p.get(t, key)
				}
			}()
		}
		for i := range 12 {
			until(t, ctx, fmt.Sprintf(`data.History.At.length > %d`, 20*i))
		}
	}
	for _, one := range []struct {
		name, scheme  string
		width, height int64
	}{{"light", "light", 1280, 900}, {"dark", "dark", 1280, 900}, {"phone", "light", 390, 844}} {
		do(t, ctx, chromedp.EmulateViewport(one.width, one.height))
		prefer(t, ctx, one.scheme)
		eval[bool](t, ctx, `scrollTo({top: 0, behavior: "instant"}), true`)
		require.LessOrEqual(t, eval[int64](t, ctx, `document.documentElement.scrollWidth`), one.width, one.name)
		if dir != "" {
			png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "dashboard-"+one.name+".png"), png, 0o644))
		}
	}
	do(t, ctx, chromedp.EmulateViewport(1280, 900))
}

// accessible runs axe-core, in both colour schemes, if npm can fetch it.
func accessible(t *testing.T, ctx context.Context) {
	dir := t.TempDir()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Log("axe-core has not been run: there is no npm")
		return
	}
	cmd := exec.Command("npm", "install", "--no-save", "--silent", "--prefix", dir, "axe-core@4.10.3")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Logf("axe-core has not been run: %v: %s", err, out)
		return
	}
	axe, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	require.NoError(t, err)
	eval[chromedp.Void](t, ctx, string(axe))
	for _, scheme := range []string{"light", "dark"} {
		prefer(t, ctx, scheme)
		found, err := chromedp.Run(ctx, chromedp.Evaluate[string](`axe.run().then(r => JSON.stringify(r.violations.map(v => [v.id, v.impact, v.nodes.map(n => n.html + " " + n.failureSummary).slice(0, 3)])))`,
			func(p *runtime.EvaluateParams) { yes := true; p.AwaitPromise = &yes }))
		require.NoError(t, err)
		require.Equal(t, "[]", found, scheme)
	}
}

// A group of 1,000 is shown by its troubles first, without the page becoming slow.
func TestManyMembers(t *testing.T) {
	ctx := open(t, start(t, 1)[0])
	until(t, ctx, `data !== null && data.Members.length === 1`)
	took := eval[float64](t, ctx, `(() => {
		shown.paused = true;
		const one = data.Members[0];
		data.Members = Array.from({length: 1000}, (_, i) => ({...one, Name: "http://10.0.0." + i, Zone: "zone" + i % 3, Share: 0.001, State: i ? "up" : "down", Troubles: i ? null : ["no link"]}));
		const began = performance.now();
		show();
		return performance.now() - began;
	})()`)
	t.Logf("drawn in %.0f ms", took)
	require.Equal(t, 25, eval[int](t, ctx, `document.querySelectorAll("#member-table tbody tr").length`))
	require.Contains(t, eval[string](t, ctx, `document.getElementById("summary").textContent`), "1 of 1000 processes in trouble")
	require.Contains(t, eval[string](t, ctx, `document.getElementById("zones").textContent`), "zone0: 334, 33.4 %, 1 in trouble")
	do(t, ctx, chromedp.Click(chromedp.CSS("#all-members")))
	require.Equal(t, 1000, eval[int](t, ctx, `document.querySelectorAll("#member-table tbody tr").length`))
	require.Equal(t, 1000, eval[int](t, ctx, `document.querySelectorAll("#ring path").length`))
	require.Empty(t, eval[[]string](t, ctx, `faults`))
}
