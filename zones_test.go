package covey

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// Replicas are in zones of their own. Whoever reads from any custodian reads within its zone, and a
// write is seen in all of them.
func TestZones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New(), o: Options[string]{Replicas: 3, ReadFrom: ReadFromAny, L1: -1}}
		defer w.close()
		var list []Member
		for i, name := range "abcdefghi" {
			list = append(list, Member{URL: "http://" + string(name), Zone: fmt.Sprint("zone", i%3)})
		}
		for _, m := range list {
			r := make(roster, 1)
			r <- list
			w.start(strings.TrimPrefix(m.URL, "http://"), r)
		}
		w.ready()
		v := w.procs[0].group.view.Load()
		keys := make([]string, 200)
		put := func(value string) {
			for i := range keys {
				keys[i] = fmt.Sprint("key", i)
				require.NoError(t, w.procs[i%9].cache.Put(t.Context(), keys[i], value))
				zones := make(map[string]bool)
				for _, at := range v.custodians(ringHash(keys[i]), 3, nil) {
					zones[v.zoneOf(at)] = true
				}
				require.Len(t, zones, 3)
			}
		}
		read := func(value string) {
			for _, p := range w.procs {
				for _, key := range keys {
					got, err := p.cache.Get(t.Context(), key, constant("loaded"))
					require.NoError(t, err)
					require.Equal(t, value, got)
				}
			}
		}
		put("old")
		time.Sleep(time.Second)
		read("old")
		put("new")
		time.Sleep(time.Second)
		far := int64(0)
		for _, p := range w.procs {
			far += p.cache.Stats().OtherZoneBytes
		}
		read("new")
		for _, p := range w.procs {
			far -= p.cache.Stats().OtherZoneBytes
		}
		require.Zero(t, far, "bytes that were read across zones")
	})
}
