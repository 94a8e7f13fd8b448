package covey

// group_address.go gives each address of a peer one spelling, so that lists that mean the same
// processes make the same ring.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// peerURL checks the URL of a peer, completes its path and returns it in its one spelling, which
// GroupOptions.Self describes.
func peerURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("%q is not a URL of the form http://host:port", raw)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("%q has a user, a query or a fragment, which a peer's URL must not have", raw)
	}
	host, err := canonicalHost(u.Hostname())
	if err != nil {
		return "", fmt.Errorf("%q: %w", raw, err)
	}
	port, err := canonicalPort(u.Scheme, u.Port())
	if err != nil {
		return "", fmt.Errorf("%q: %w", raw, err)
	}
	u.Host = joinHost(host, port)
	u.Path, u.RawPath = path.Clean("/"+u.Path), "" // as http.ServeMux would
	if u.Path == "/" {
		u.Path = DefaultPath
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return u.String(), nil
}

// canonicalHost returns the one spelling of a host name or an IP address without brackets.
func canonicalHost(host string) (string, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String(), nil
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	isNumber := last != "" && strings.Trim(last, "0123456789") == "" // which no name ends in: 10.0.0.07, 127.1
	if isNumber || strings.Contains(host, ":") {
		return "", fmt.Errorf("%q is neither a host's name nor an IP address in its usual form", host)
	}
	return lower(host), nil
}

// lower changes ASCII letters only: what else a name may hold is not for DNS.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// canonicalPort returns the number of a port, "" for that which goes without saying.
func canonicalPort(scheme, port string) (string, error) {
	if port == "" {
		return "", nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", errors.New("the port has to be from 1 to 65535")
	}
	if scheme == "http" && n == 80 || scheme == "https" && n == 443 {
		return "", nil
	}
	return strconv.FormatUint(n, 10), nil
}

// joinHost is net.JoinHostPort where there may be no port.
func joinHost(host, port string) string {
	switch {
	case port != "":
		return net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		return "[" + host + "]"
	}
	return host
}

// nameOf returns the default name of the peer at a URL that peerURL has returned. For the URL
// itself localhost stays what it is, as a certificate may be for that name.
func nameOf(canonical string) string {
	u, err := url.Parse(canonical)
	if err != nil || u.Hostname() != "localhost" {
		return canonical
	}
	u.Host = joinHost("127.0.0.1", u.Port())
	return u.String()
}

// hostIP returns the IP address that is a URL's host, if it is one.
func hostIP(raw string) (netip.Addr, bool) {
	u, err := url.Parse(raw)
	if err != nil {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return ip.Unmap(), err == nil
}

// isLoopback reports whether a URL's host is this machine. It looks at the URL only and resolves no
// names.
func isLoopback(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && isLoopbackHost(u.Hostname())
}

// isLoopbackHost reports whether a host, without port, is this machine by its name or address.
func isLoopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
