package covey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/stretchr/testify/require"
)

// Whoever has the secret learns over HTTP what Peers, Reports and Explain return, but no values.
func TestHTTPReports(t *testing.T) {
	all := sites(t, 2, setup{group: GroupOptions{Secrets: [][]byte{testSecret}}})
	linkUp(t, all)
	a, b := all[0], all[1]
	k := b.owned() + " &?"
	require.NoError(t, a.c.Put(t.Context(), k, confidence))
	for range 10 {
		_, err := a.c.Get(t.Context(), k, nil)
		require.NoError(t, err)
	}
	get := func(rest string, v any) {
		answer, text := a.plain(t, "GET", rest, "")
		require.Equal(t, http.StatusOK, answer.StatusCode, text)
		require.Equal(t, "application/json", answer.Header.Get("Content-Type"))
		require.NotContains(t, text, confidence)
		require.NoError(t, json.Unmarshal([]byte(text), v))
	}
	var peers []Peer
	get("peers", &peers)
	require.Len(t, peers, 2)
	for i, want := range a.g.Peers() {
		require.Equal(t, []any{want.Member, want.Self, want.State, want.Share, want.Since.UnixNano()}, []any{peers[i].Member, peers[i].Self, peers[i].State, peers[i].Share, peers[i].Since.UnixNano()})
	}
	var reports []Report
	get("reports", &reports)
	require.Len(t, reports, 2)
	for i, want := range a.g.Reports(t.Context()) {
		require.NoError(t, reports[i].Err)
		require.Equal(t, want.Member, reports[i].Member)
		require.Equal(t, want.Caches[0].Stats.Puts, reports[i].Caches[0].Stats.Puts)
	}
	var self []Report
	get("reports?of=self", &self)
	require.Len(t, self, 1)
	require.Equal(t, a.g.Name(), self[0].Member)
	var e Explanation
	get("explain?"+url.Values{"cache": {"test"}, "key": {k}}.Encode(), &e)
	want, err := a.c.Explain(t.Context(), k)
	require.NoError(t, err)
	require.Equal(t, want.Key, e.Key)
	require.Equal(t, want.Owner, e.Owner)
	require.Equal(t, want.Custodians, e.Custodians)
	require.Len(t, e.States, len(want.States))

	for rest, status := range map[string]int{
		"reports?of=all":               http.StatusBadRequest,
		"explain?cache=test":           http.StatusBadRequest,
		"explain?cache=test&key=":      http.StatusBadRequest,
		"explain?cache=test&key=%zz":   http.StatusBadRequest,
		"explain?key=k":                http.StatusNotFound,
		"explain?cache=other&key=k":    http.StatusNotFound,
		"explain/?cache=test&key=k":    http.StatusNotFound,
		"reports/self":                 http.StatusNotFound,
		"explain?cache=test&key=k&x=y": http.StatusOK,
	} {
		answer, text := a.plain(t, "GET", rest, "")
		require.Equal(t, status, answer.StatusCode, "%s: %s", rest, text)
	}
	for _, rest := range []string{"peers", "reports", "explain?cache=test&key=k"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "HEAD"} {
			answer, _ := a.plain(t, method, rest, "")
			require.Equal(t, http.StatusMethodNotAllowed, answer.StatusCode)
			require.Equal(t, "GET", answer.Header.Get("Allow"))
		}
	}
	require.NoError(t, a.c.Close())
	answer, _ := a.plain(t, "GET", "explain?cache=test&key=k", "")
	require.Contains(t, []int{http.StatusNotFound, http.StatusServiceUnavailable}, answer.StatusCode)
}

// Nobody else does, and nobody at all where a group has no secrets.
func TestHTTPReportsNeedTheSecret(t *testing.T) {
	closed := sites(t, 1, setup{group: GroupOptions{Secrets: [][]byte{testSecret}}})[0]
	open := sites(t, 1, setup{})[0]
	for _, rest := range []string{"peers", "reports", "reports?of=self", "explain?cache=test&key=k"} {
		for _, given := range []string{"", "Bearer", "Bearer another secret, long enough", "Basic " + string(testSecret)} {
			answer, text := closed.plain(t, "GET", rest, "", "Authorization", given)
			require.Equal(t, http.StatusUnauthorized, answer.StatusCode, rest)
			require.Contains(t, text, "GroupOptions.Secrets")
			require.Equal(t, "Bearer", answer.Header.Get("WWW-Authenticate"))
		}
		answer, _ := closed.plain(t, "GET", rest, "")
		require.Equal(t, http.StatusOK, answer.StatusCode, rest)
		answer, text := open.plain(t, "GET", rest, "")
		require.Equal(t, http.StatusForbidden, answer.StatusCode, rest)
		require.Contains(t, text, "GroupOptions.Secrets")
	}
}

// What loaders, and the network, say of errors stays at home here, too.
func TestHTTPReportsWithholdErrors(t *testing.T) {
	all := sites(t, 2, setup{
		group: GroupOptions{Secrets: [][]byte{testSecret}},
		cache: Options[string]{Loader: func(context.Context, string) (string, error) { return "", errors.New(confidence) }},
	})
	linkUp(t, all)
	a := all[0]
	for _, p := range all {
		_, err := a.c.Get(t.Context(), p.owned(), nil)
		require.ErrorContains(t, err, confidence)
	}
	failed := func(r *Report) (n int) {
		for _, e := range r.Recent {
			if e.Kind == EventLoadFailed {
				n++
				require.EqualError(t, e.Err, errWithheld.Error())
			}
		}
		return n
	}
	var reports []Report
	_, text := a.plain(t, "GET", "reports", "")
	require.NotContains(t, text, confidence)
	require.NoError(t, json.Unmarshal([]byte(text), &reports))
	for i := range reports {
		require.Equal(t, 1, failed(&reports[i]), text)
	}

	// Nobody listens there, which is said; but addresses are nobody's business.
	lonely := sites(t, 1, setup{group: GroupOptions{Secrets: [][]byte{testSecret}}, others: []string{"http://127.0.0.1:1"}})[0]
	require.Eventually(t, func() bool {
		_, text = lonely.plain(t, "GET", "peers", "")
		return strings.Contains(text, `"LastErr":"connection refused"`)
	}, 10*time.Second, time.Millisecond)
	require.NotContains(t, text, "dial")
	require.ErrorContains(t, lonely.g.Peers()[0].LastErr, "dial")
}

// Of errors that are part of an answer, HTTP clients see the same as of others.
func TestToldErrors(t *testing.T) {
	require.NoError(t, told(nil))
	require.Equal(t, errWithheld, told(errors.New(confidence)))
	require.Equal(t, errNoMember, told(&PeerError{Peer: confidence, Err: errNoMember}))
	require.EqualError(t, told(&PeerError{Peer: confidence, Err: context.DeadlineExceeded}), context.DeadlineExceeded.Error())
	require.Equal(t, link.ErrRefused, told(&PeerError{Peer: confidence, Err: fmt.Errorf("%w: %s", link.ErrRefused, confidence)}))
	require.Equal(t, syscall.ECONNRESET, told(&net.OpError{Op: "read", Source: &net.TCPAddr{Port: 5}, Err: os.NewSyscallError(confidence, syscall.ECONNRESET)}))
}

// Nothing of a Peer gets lost in JSON, whatever fields it gets.
func TestPeerJSON(t *testing.T) {
	at := time.Unix(1e9, 5).UTC()
	var times Histogram
	times.counts[3], times.count, times.sum = 1, 1, 3
	p := Peer{
		Member: Member{"name", "http://h/_covey/", 2, "zone"}, Self: true, State: PeerIsSilent, Since: at, Err: errors.New("a"), Leaving: true,
		Up: true, Plain: errors.New("b"), RTT: 1, SameView: true, Share: 0.5, Version: "v1", Protocol: 1, Requests: 2, Failures: 3, Times: times,
		LastErr: errors.New("c"), LastErrAt: at,
	}
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		require.False(t, v.Field(i).IsZero(), v.Type().Field(i).Name)
	}
	b, err := json.Marshal(p)
	require.NoError(t, err)
	var back Peer
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, p, back)
	var s PeerState
	require.NoError(t, s.UnmarshalText([]byte("of a later version")))
	require.Equal(t, PeerIsIdle, s)
}
