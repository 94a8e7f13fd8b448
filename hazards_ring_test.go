package covey

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// A firewall refuses what is between an owner and the others, who delete its key as a dead one's.
// When the owner is reached again, it or they have the old value still.
func TestHazard07RefusedOwnerReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New()}
		var refuse atomic.Bool
		for _, name := range []string{"a", "b", "c"} {
			p := &proc{w: w, name: name, url: "http://" + name + DefaultPath}
			dial := w.net.Dialer(name)
			p.opt = GroupOptions{
				Self: "http://" + name, Discovery: StaticPeers("http://a", "http://b", "http://c"), Secrets: [][]byte{testSecret},
				Logger: slog.New(slog.DiscardHandler),
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if refuse.Load() && (name == "a" || addr == "a:80") {
						return nil, syscall.ECONNREFUSED
					}
					return dial(ctx, network, addr)
				},
			}
			p.run()
			w.procs = append(w.procs, p)
		}
		defer w.close()
		w.ready()
		a, b := w.procs[0], w.procs[1]
		keys := append(a.keys(5), b.keys(5)...)
		for _, k := range keys {
			require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		}
		refuse.Store(true)
		w.net.Reset("a", "b")
		w.net.Reset("a", "c")
		time.Sleep(10 * time.Second)
		for _, k := range keys { // what a confirms meanwhile, which is alone, others do not know of
			require.NoError(t, b.cache.Delete(t.Context(), k), "the owner is taken for dead")
		}
		refuse.Store(false)
		w.ready()
		for _, p := range w.procs {
			for _, k := range keys {
				v, _ := p.cache.Get(t.Context(), k, nil)
				require.Empty(t, v, "at %s", p.name)
			}
		}
	})
}
