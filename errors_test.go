package covey

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// A write that is not confirmed says of whom, whether the caller or the owner asked in vain.
func TestUnconfirmedErrorNamesThePeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New()}
		for _, name := range []string{"a", "b", "c"} {
			p := w.at(name, StaticPeers("http://a", "http://b", "http://c"))
			p.opt.OpTimeout = time.Second // less than a lease, and than it takes to do without c
			if name == "b" {
				p.opt.OpTimeout *= 2 // so that it hears what the owner says
			}
			p.run()
		}
		defer w.close()
		w.ready()
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		for name, write := range map[string]func(p *proc) error{
			"Put":    func(p *proc) error { return p.cache.Put(t.Context(), k, "v") },
			"Delete": func(p *proc) error { return p.cache.Delete(t.Context(), k) },
			"Clear":  func(p *proc) error { return p.cache.Clear(t.Context()) },
		} {
			for _, p := range []*proc{a, b} {
				if p == b && name != "Put" { // which it repeats, until the lease of c is over
					continue
				}
				require.NoError(t, a.cache.Put(t.Context(), k, "old"))
				borrowAt(t, c, k)
				w.net.Pause("c")
				err := write(p)
				w.net.Resume("c")
				time.Sleep(30 * time.Second)
				require.ErrorIs(t, err, ErrUnconfirmed, name)
				var u *UnconfirmedError
				require.ErrorAs(t, err, &u)
				require.Equal(t, "test", u.Cache)
				require.NotEmpty(t, u.Peers, "%s by %s: %v", name, p.name, err)
				require.Contains(t, err.Error(), c.url)
				for _, peer := range u.Peers {
					require.Equal(t, c.url, peer.Peer, "%v", err)
					require.Contains(t, []PeerCode{PeerSilent, PeerGone, PeerUnreachable}, peer.Code)
				}
			}
		}
	})
}

// The end of the caller's context is found in the error of a write, too.
func TestUnconfirmedErrorHasTheCause(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		w.net.Pause("b")
		defer w.net.Resume("b")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := a.cache.Put(ctx, b.key(), "v")
		var u *UnconfirmedError
		require.ErrorAs(t, err, &u)
		require.Equal(t, b.key(), u.Key)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// The text of an error with many peers stays short.
func TestUnconfirmedErrorText(t *testing.T) {
	var errs []error
	for i := range 1000 {
		errs = append(errs, &PeerError{Peer: fmt.Sprint("peer", i), Code: PeerSilent, Err: errors.New("no answer")})
	}
	err := unconfirmed("c", "k", append(errs, nil, context.Canceled)...)
	require.Less(t, len(err.Error()), 1000)
	require.Contains(t, err.Error(), "and 993 more errors")
	require.ErrorIs(t, err, context.Canceled)
	f := failed(err)
	require.Equal(t, "covey: write is not confirmed", err.Error()[:29])
	require.LessOrEqual(t, len(f.Items), 64<<10)
	require.Equal(t, []string{"failed", "silent", "refused", "code 99"}, []string{PeerFailed.String(), PeerSilent.String(), PeerRefused.String(), PeerCode(99).String()})
}
