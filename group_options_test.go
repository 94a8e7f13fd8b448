package covey

import (
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// badGroup returns the error that NewGroup has for options.
func badGroup(t *testing.T, o GroupOptions) string {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	g, err := NewGroup(o)
	if g != nil {
		require.NoError(t, g.Shutdown(t.Context()))
	}
	require.Error(t, err, "%+v", o)
	return err.Error()
}

func TestGroupOptionsErrors(t *testing.T) {
	peers := StaticPeers("http://127.0.0.1:1")
	for _, test := range []struct {
		o    GroupOptions
		want string
	}{
		{GroupOptions{}, "GroupOptions.Discovery is nil"},
		{GroupOptions{Discovery: peers, Self: "127.0.0.1:1"}, "GroupOptions.Self: "},
		{GroupOptions{Discovery: peers, Self: "ftp://127.0.0.1:1"}, `GroupOptions.Self: "ftp://127.0.0.1:1" is not a URL of the form http://host:port`},
		{GroupOptions{Discovery: peers, Self: "http://"}, `GroupOptions.Self: "http://" is not a URL`},
		{GroupOptions{Discovery: peers, Self: "http://:8080"}, `GroupOptions.Self: "http://:8080" is not a URL of the form http://host:port`},
		{GroupOptions{Discovery: peers, Self: "http://127.0.0.1:1?x=y"}, "GroupOptions.Self: "},
		{GroupOptions{Discovery: peers, Self: "http://u@127.0.0.1:1"}, "GroupOptions.Self: "},
		{GroupOptions{Discovery: peers, Self: "http://127.0.0.1:1#f"}, "GroupOptions.Self: "},
		{GroupOptions{Discovery: peers, Name: strings.Repeat("n", 256)}, "GroupOptions.Name has 256 bytes, the limit is 255"},
		{GroupOptions{Discovery: peers, GroupName: strings.Repeat("x", 256)}, "GroupOptions.GroupName has 256 bytes, the limit is 255"},
		{GroupOptions{Discovery: peers, Secrets: [][]byte{testSecret, nil}}, "GroupOptions.Secrets[1] has 0 bytes, it needs at least 16"},
		{GroupOptions{Discovery: peers, Secrets: [][]byte{testSecret[:15]}}, "GroupOptions.Secrets[0] has 15 bytes, it needs at least 16"},
		{GroupOptions{Discovery: peers, OpTimeout: -1}, "GroupOptions.OpTimeout is -1ns, it must not be negative"},
	} {
		require.Contains(t, badGroup(t, test.o), test.want)
	}

	all := badGroup(t, GroupOptions{Self: "x", Name: strings.Repeat("n", 256), Secrets: [][]byte{nil}, OpTimeout: -time.Second})
	for _, field := range []string{"Self", "Name", "Discovery", "Secrets[0]", "OpTimeout"} {
		require.Contains(t, all, "GroupOptions."+field)
	}
}

// A list that will never change is checked at once.
func TestGroupListErrors(t *testing.T) {
	const self = "http://127.0.0.1:1"
	for _, test := range []struct {
		name    string
		members []Member
		want    []string
	}{
		{"self is missing", []Member{{URL: "http://127.0.0.1:2"}},
			[]string{"GroupOptions.Discovery", `"http://127.0.0.1:1/_covey/", is not in the list of members [http://127.0.0.1:2/_covey/]`, "add it or change GroupOptions.Self or Name"}},
		{"there is nobody", nil, []string{"is not in the list of members []"}},
		{"self has another path", []Member{{URL: self + "/other"}}, []string{`"http://127.0.0.1:1/_covey/", is not in the list of members [http://127.0.0.1:1/other/]`}},
		{"self has another URL", []Member{{Name: "http://127.0.0.1:1/_covey/", URL: "http://127.0.0.1:2"}}, []string{"http://127.0.0.1:2/_covey/, but GroupOptions.Self is http://127.0.0.1:1/_covey/"}},
		{"twice", []Member{{URL: self}, {URL: "http://127.0.0.1:2"}, {URL: "http://127.0.0.1:2/_covey"}}, []string{`member "http://127.0.0.1:2/_covey/" is in the list twice`}},
		{"twice by name", []Member{{URL: self}, {Name: "b", URL: "http://127.0.0.1:2"}, {Name: "b", URL: "http://127.0.0.1:3"}}, []string{`member "b" is in the list twice`}},
		{"no URL", []Member{{URL: self}, {Name: "b"}}, []string{`member "b"`, "http://host:port"}},
		{"no host", []Member{{URL: self}, {Name: "b", URL: "http://:80"}}, []string{`member "b"`, "http://host:port"}},
		{"long name", []Member{{URL: self}, {Name: strings.Repeat("n", 300), URL: "http://127.0.0.1:2"}}, []string{"its name has 300 bytes, it must have 1 to 255"}},
		{"not this machine", []Member{{URL: self}, {URL: "http://10.0.0.1:2"}, {URL: "http://localhost.example:2"}},
			[]string{"http://10.0.0.1:2/_covey/ is not on this machine: set GroupOptions.Secrets, or TLS with client certificates", "localhost.example"}},
		{"all at once", []Member{{URL: "http://127.0.0.1:2"}, {URL: "http://127.0.0.1:2"}, {URL: "http://10.0.0.1"}, {URL: "x"}}, []string{"add it", "twice", "not on this machine", `"x"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := badGroup(t, GroupOptions{Self: self, Discovery: StaticMembers(test.members...)})
			for _, want := range test.want {
				require.Contains(t, err, want)
			}
		})
	}
	other := badGroup(t, GroupOptions{Self: self, Name: "a", Discovery: StaticPeers(self)})
	require.Contains(t, other, `"a", is not in the list of members [http://127.0.0.1:1/_covey/]`)
	_, err := NewGroup(GroupOptions{Self: "http://10.0.0.1", Discovery: StaticPeers("http://10.0.0.1")})
	require.ErrorContains(t, err, "not on this machine", "nor is this process reached over loopback then")
}

// Without secrets and client certificates, only what is certainly this machine is trusted. A
// certificate says nothing without TLS.
func TestLoopbackRule(t *testing.T) {
	certified := &tls.Config{Certificates: []tls.Certificate{{}}}
	for _, test := range []struct {
		peer    string
		secrets [][]byte
		tls     *tls.Config
		ok      bool
	}{
		{"http://127.0.0.1:2", nil, nil, true},
		{"http://127.8.9.10", nil, nil, true},
		{"http://[::1]:2", nil, nil, true},
		{"https://localhost:2", nil, nil, true},
		{"http://10.0.0.1", nil, nil, false},
		{"http://0.0.0.0:2", nil, nil, false},
		{"http://[::]:2", nil, nil, false},
		{"http://127.0.0.1.example", nil, nil, false},
		{"http://localhost.", nil, nil, false},
		{"https://10.0.0.1", nil, &tls.Config{}, false},
		{"http://10.0.0.1", [][]byte{testSecret}, nil, true},
		{"https://10.0.0.1", nil, certified, true},
		{"http://10.0.0.1", nil, certified, false},
		{"http://10.0.0.1", [][]byte{testSecret}, certified, true},
	} {
		g := &Group{opt: GroupOptions{Secrets: test.secrets, TLS: test.tls}}
		members, errs := g.normalize([]Member{{URL: test.peer}})
		require.Equal(t, test.ok, len(members) == 1, "%v", test)
		require.Equal(t, !test.ok, len(errs) == 1, "%v", test)
	}
}

func TestGroupOptionsDefaults(t *testing.T) {
	o, err := GroupOptions{Self: "http://h:1", Discovery: StaticPeers()}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, "http://h:1/_covey/", o.Self)
	require.Equal(t, o.Self, o.Name)
	require.Equal(t, 5*time.Second, o.OpTimeout)
	require.Equal(t, slog.Default().Handler(), o.Logger.Handler().(logHandler).to)
	require.False(t, o.authenticated())

	logger := slog.New(slog.DiscardHandler)
	o, err = GroupOptions{Self: "https://h/caches", Name: "n", Discovery: StaticPeers(), OpTimeout: time.Second, Logger: logger, Secrets: [][]byte{testSecret}}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, "https://h/caches/", o.Self)
	require.Equal(t, "n", o.Name)
	require.Equal(t, time.Second, o.OpTimeout)
	require.Equal(t, logger.Handler(), o.Logger.Handler().(logHandler).to)
	require.True(t, o.authenticated())

	// One that only asks has a name of its own.
	a, err := GroupOptions{Discovery: StaticPeers()}.withDefaults()
	require.NoError(t, err)
	b, err := GroupOptions{Discovery: StaticPeers()}.withDefaults()
	require.NoError(t, err)
	require.NotEmpty(t, a.Name)
	require.NotEqual(t, a.Name, b.Name)
}

func TestPeerURL(t *testing.T) {
	for want, spellings := range map[string][]string{
		"http://h/_covey/":                {"http://h", "http://h/", "http://h:80", "http://h:", "HTTP://H:080//", "http://h/_covey", "http://h/./x/..", "http://h#"},
		"http://h:443/_covey/":            {"http://h:443", "http://h:0443"},
		"https://h/_covey/":               {"https://h:443", "https://H"},
		"http://h/x/":                     {"http://h:80/x", "http://h/x/", "http://h//x//", "http://h/%78"},
		"http://h/X/":                     {"http://H/X"},
		"https://[fd00::1]/x/y/":          {"https://[fd00::1]/x/y", "https://[FD00:0:0:0:0:0:0:1]:443/x/y/", "https://[fd00:0000::0001]/x/y"},
		"http://[fd00::1]:8080/_covey/":   {"http://[FD00::0.0.0.1]:8080"},
		"http://10.0.0.7:8080/_covey/":    {"http://[::ffff:10.0.0.7]:8080", "http://[::ffff:a00:7]:08080", "http://10.0.0.7:8080/"},
		"http://[fe80::1%25eth0]/_covey/": {"http://[FE80::0:1%25eth0]:80"},
		"http://localhost:1/_covey/":      {"http://localhost:1", "http://LocalHost:1/"},
		"http://h./_covey/":               {"http://h."}, // which is not looked up where h is
		"http://x1/_covey/":               {"http://x1"},
		"http://h/a%20b/":                 {"http://h/a%20b"},
	} {
		for _, raw := range append(spellings, want) {
			got, err := peerURL(raw)
			require.NoError(t, err, raw)
			require.Equal(t, want, got, raw)
		}
	}
	for raw, want := range map[string]string{
		"http://h/\x7f": "invalid", "http://h:0": "1 to 65535", "http://h:65536": "1 to 65535", "http://h?": "a query",
		"http://10.0.0.07": "nor an IP address", "http://127.1": "nor an IP address", "http://2130706433": "nor an IP address", "https://::": "nor an IP address",
	} {
		_, err := peerURL(raw)
		require.ErrorContains(t, err, want, raw)
	}
}

// A URL in its one spelling is what it was, and stays.
func FuzzPeerURL(f *testing.F) {
	for _, s := range []string{"http://h", "https://[FD00::1]:443/x/../y", "http://[fe80::1%25eth0]:1/%2f", "http://H%ff:80/a%20b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := peerURL(raw)
		if err != nil {
			return
		}
		again, err := peerURL(got)
		if err != nil || again != got {
			t.Fatalf("%q became %q, and that %q, %v", raw, got, again, err)
		}
		if name := nameOf(got); nameOf(name) != name {
			t.Fatalf("the name %q of %q has another name", name, got)
		}
		if isLoopback(raw) && !isLoopback(got) {
			t.Fatalf("%q is this machine and %q is not", raw, got)
		}
	})
}

// Lists that spell the same addresses in different ways make the same ring.
func TestSpellingsMakeOneRing(t *testing.T) {
	opt := func(self string) GroupOptions {
		o, err := GroupOptions{Self: self, Secrets: [][]byte{testSecret}, Discovery: StaticPeers()}.withDefaults()
		require.NoError(t, err)
		return o
	}
	a := &Group{opt: opt("http://127.0.0.1:1")}
	b := &Group{opt: opt("http://LOCALHOST:1/_covey")}
	require.Equal(t, a.opt.Name, b.opt.Name)
	require.Equal(t, "http://localhost:1/_covey/", b.opt.Self, "a certificate may be for that name")
	ofA, errs := a.normalize([]Member{{URL: "http://127.0.0.1:1"}, {URL: "http://[fd00::1]"}, {URL: "https://h"}})
	require.Empty(t, errs)
	ofB, errs := b.normalize([]Member{{URL: "http://localhost:1/"}, {URL: "http://[FD00:0::1]:80/"}, {URL: "https://H:443/_covey"}})
	require.Empty(t, errs)
	require.Equal(t, newRing(ofA).fingerprint, newRing(ofB).fingerprint)
	require.True(t, a.isIn(ofB))
	require.True(t, b.isIn(ofA))

	_, errs = a.normalize([]Member{{URL: "http://h"}, {URL: "http://H:80"}})
	require.ErrorContains(t, errs[0], "is in the list twice")
}

// Of a list that changes, what is wrong is left out, and the log says what.
func TestBadMembersAreLeftOut(t *testing.T) {
	var log logbook
	r := make(roster, 1)
	r <- []Member{{URL: "http://127.0.0.1:1"}, {URL: "http://10.0.0.1"}, {URL: "x"}, {Name: "asks only", Weight: -1}}
	network := netsim.New()
	g, err := NewGroup(GroupOptions{Self: "http://127.0.0.1:1", Discovery: r, Dial: network.Dialer("127.0.0.1"), Logger: log.logger()})
	require.NoError(t, err)
	defer func() { require.NoError(t, g.Shutdown(t.Context())) }()
	serveIn(t, network, "127.0.0.1:1", g)
	require.NoError(t, g.Ready(t.Context()))
	require.Len(t, g.Peers(), 2)
	require.Equal(t, 1, g.Stats().Members)
	require.Equal(t, "http://127.0.0.1:1/_covey/", g.Owner("k"))
	for _, want := range []string{"a member is left out", "http://10.0.0.1/_covey/ is not on this machine", "is not a URL of the form"} {
		require.Eventually(t, func() bool { return strings.Contains(log.String(), want) }, 10*time.Second, time.Millisecond, want)
	}
}

// What is wrong with every list is not said with every list.
func TestBadMembersAreLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		r := make(roster, 1)
		list := []Member{{URL: "http://127.0.0.1:1"}, {URL: "x"}}
		r <- list
		g, err := NewGroup(GroupOptions{Self: "http://127.0.0.1:1", Discovery: r, Dial: netsim.New().Dialer("a"), Logger: log.logger()})
		require.NoError(t, err)
		for range 25 {
			time.Sleep(time.Second)
			r <- list
		}
		synctest.Wait()
		require.Equal(t, 3, strings.Count(log.String(), "a member is left out"))
		require.Contains(t, log.String(), "suppressed=9")
		require.NoError(t, g.Shutdown(t.Context()))
	})
}
