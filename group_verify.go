package covey

// group_verify.go binds a peer's certificate to its name.

import (
	"cmp"
	"crypto/tls"
	"net/url"
	"strings"
)

// verifyPeer says why a peer may not have a name; see GroupOptions.VerifyPeer.
func (g *Group) verifyPeer(name string, state *tls.ConnectionState) error {
	if g.opt.VerifyPeer == nil {
		return g.verifyHost(name, state)
	}
	return guard("GroupOptions.VerifyPeer", func() error { return g.opt.VerifyPeer(name, state) })
}

// verifyHost is the default: where certificates alone authenticate, a member's is one that its
// server might show, too.
func (g *Group) verifyHost(name string, state *tls.ConnectionState) error {
	if len(g.opt.Secrets) > 0 || state == nil || len(state.PeerCertificates) == 0 || g.opt.TLS == nil || g.opt.TLS.InsecureSkipVerify {
		return nil
	}
	host := g.hostOf(name)
	if host == "" {
		return nil
	}
	return state.PeerCertificates[0].VerifyHostname(cmp.Or(g.opt.TLS.ServerName, host))
}

// hostOf returns the host of a member's URL or, if no list has the name, of the name as a URL; ""
// if it is none.
func (g *Group) hostOf(name string) string {
	at := name
	g.mu.Lock()
	for _, m := range g.listed {
		if m.Name == name {
			at = m.URL
		}
	}
	g.mu.Unlock()
	u, err := url.Parse(at)
	if err != nil || !strings.HasPrefix(u.Scheme, "http") {
		return ""
	}
	return u.Hostname()
}
