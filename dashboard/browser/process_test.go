package browser

// process_test.go runs processes of a group, each with a dashboard.

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/dashboard"
)

// asProcess is the environment variable that makes the test binary a process of a group: its own
// address and those of all.
const asProcess = "COVEY_TEST_DASHBOARD"

func TestMain(m *testing.M) {
	if addrs := os.Getenv(asProcess); addrs != "" {
		if err := serve(strings.Fields(addrs)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serve is a process with a cache, the dashboard at /covey/, the cache's statistics at /stats and
// single requests at /get?key=KEY. It ends when its input does.
func serve(addrs []string) error {
	l, err := net.Listen("tcp", addrs[0])
	if err != nil {
		return err
	}
	var urls []string
	for _, a := range addrs[1:] {
		urls = append(urls, "http://"+a)
	}
	log := slog.New(slog.DiscardHandler)
	complete := make(chan struct{})
	var once sync.Once
	events := covey.GroupEvents{Changed: func(e covey.Event) {
		if e.Kind == covey.EventViewChanged && e.Members == len(urls) {
			once.Do(func() { close(complete) })
		}
	}}
	g, err := covey.NewGroup(covey.GroupOptions{Self: "http://" + addrs[0], Discovery: covey.StaticPeers(urls...), Events: events, Logger: log})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(g.Path(), g)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(l) }()
	loader := func(ctx context.Context, key string) (string, error) {
		if strings.HasPrefix(key, "missing") {
			return "", covey.ErrNotFound
		}
		if ms, err := strconv.Atoi(strings.TrimPrefix(key, "slow")); err == nil {
			select {
			case <-time.After(time.Duration(ms) * time.Millisecond):
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		}
		return "the value of " + key, nil
	}
	users, err := covey.New("users", covey.Options[string]{Group: g, MaxBytes: 16 << 20, TTL: time.Hour, Replicas: 2, Loader: loader, Logger: log})
	if err != nil {
		return err
	}
	board, err := dashboard.New(dashboard.Options{Group: g, Caches: []dashboard.Cache{dashboard.WithValues(users, nil)}, Actions: true})
	if err != nil {
		return err
	}
	mux.Handle("/covey/", board)
	mux.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(users.Stats()) })
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		v, err := users.Get(r.Context(), r.FormValue("key"), nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, v)
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	select {
	case <-complete:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := g.Ready(ctx); err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return g.Shutdown(context.Background())
}

type process struct {
	addr string
	cmd  *exec.Cmd
}

// start starts so many processes and waits until they are ready.
func start(t *testing.T, n int) (all []*process) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		addrs = append(addrs, l.Addr().String())
		require.NoError(t, l.Close()) // the process listens there next
	}
	return startAt(t, addrs)
}

func startAt(t *testing.T, addrs []string) (all []*process) {
	self, err := os.Executable()
	require.NoError(t, err)
	var outs []*bufio.Reader
	for _, addr := range addrs {
		p := &process{addr: addr, cmd: exec.Command(self)}
		p.cmd.Env = append(os.Environ(), asProcess+"="+addr+" "+strings.Join(addrs, " "))
		p.cmd.Stderr = os.Stderr
		in, err := p.cmd.StdinPipe()
		require.NoError(t, err)
		out, err := p.cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, p.cmd.Start())
		t.Cleanup(func() {
			_ = in.Close()
			_ = p.cmd.Wait()
		})
		outs = append(outs, bufio.NewReader(out))
		all = append(all, p)
	}
	for _, out := range outs {
		line, err := out.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "ready\n", line)
	}
	return all
}

func (p *process) get(t *testing.T, key string) (status int) {
	got, err := http.Get("http://" + p.addr + "/get?key=" + key)
	require.NoError(t, err)
	defer got.Body.Close()
	_, err = io.Copy(io.Discard, got.Body)
	require.NoError(t, err)
	return got.StatusCode
}
