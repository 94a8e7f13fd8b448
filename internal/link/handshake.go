package link

// handshake.go is the first exchange on a link:
//
//	client: Hello
//	server: Challenge, Proof
//	client: Proof
//	server: Welcome
//
// Challenge is the server's hello. A proof is a MAC under the group's secret
// over the sender's role and both hellos, and with them both names and both
// nonces. So it is good for this link only, and nobody can pass it on as their
// own. It says who the other end is; it does not protect the bytes that
// follow, which is for TLS to do.
//
// Instead of any of its frames the server may send Failed with its reason.

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/coveycache/covey/internal/wire"
)

// maxHandshake is the limit of a frame from somebody who has proved nothing.
const maxHandshake = 4 << 10

const (
	roleClient = "covey/1 client"
	roleServer = "covey/1 server"
)

// hello returns this end's hello.
func (n *Node) hello(target string) wire.Hello {
	h := wire.Hello{
		MinVersion: wire.MinVersion,
		MaxVersion: wire.MaxVersion,
		Name:       n.cfg.Name,
		Target:     target,
		Instance:   n.cfg.Instance,
		Ring:       n.ring.Load(),
		MaxOps:     uint32(n.cfg.MaxOps),
		MaxValue:   uint32(n.cfg.MaxValue),
	}
	_, _ = rand.Read(h.Nonce[:])
	return h
}

// prove returns the proof that the end with the given role sends; empty without a secret.
func (n *Node) prove(role string, client, server []byte) []byte {
	if len(n.cfg.Secrets) == 0 {
		return nil
	}
	return mac(n.cfg.Secrets[0], role, client, server)
}

// proved reports whether proof was made with one of the secrets.
func (n *Node) proved(proof []byte, role string, client, server []byte) bool {
	ok := len(n.cfg.Secrets) == 0
	for _, secret := range n.cfg.Secrets {
		ok = hmac.Equal(proof, mac(secret, role, client, server)) || ok
	}
	return ok
}

// mac needs no separators: the role has one of two values, and each hello
// begins with its length.
func mac(secret []byte, role string, client, server []byte) []byte {
	h := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(h, role)
	_, _ = h.Write(client)
	_, _ = h.Write(server)
	return h.Sum(nil)
}

// greet is the client's side: r and w are the connection to peer name.
func (n *Node) greet(r io.Reader, w io.Writer, name string) (*wire.Hello, error) {
	own := n.hello(name)
	client := wire.AppendHello(nil, wire.HelloFrame, &own)
	if _, err := w.Write(client); err != nil {
		return nil, err
	}
	server, err := readHandshake(r)
	if err != nil {
		return nil, err
	}
	var peer wire.Hello
	if err := wire.ParseHello(server, wire.Challenge, &peer); err != nil {
		return nil, err
	}
	if err := n.acquainted(&own, &peer); err != nil {
		return nil, err
	}
	if peer.Name != name {
		return nil, &HandshakeError{wire.CodeIdentity, fmt.Sprintf("the peer's name is %q, not %q: check the list of members", peer.Name, name)}
	}
	proof, err := readFrame(r, wire.Proof)
	if err != nil {
		return nil, err
	}
	if !n.proved(proof.Value, roleServer, client, server) {
		return nil, fmt.Errorf("%w: the peer does not know our secret: compare GroupOptions.Secrets", ErrRefused)
	}
	f := wire.Frame{Type: wire.Proof, Value: n.prove(roleClient, client, server)}
	if _, err := w.Write(wire.Append(nil, &f)); err != nil {
		return nil, err
	}
	if _, err := readFrame(r, wire.Welcome); err != nil {
		return nil, err
	}
	return &peer, nil
}

// receive is the server's side.
func (n *Node) receive(ctx context.Context, r io.Reader, w io.Writer) (*wire.Hello, error) {
	client, err := readHandshake(r)
	if err != nil {
		return nil, err
	}
	var peer wire.Hello
	if err := wire.ParseHello(client, wire.HelloFrame, &peer); err != nil {
		return nil, err
	}
	own := n.hello("")
	if err := n.acquainted(&own, &peer); err != nil {
		return nil, refuse(w, err)
	}
	if peer.Target != own.Name {
		return nil, refuse(w, &HandshakeError{wire.CodeIdentity, fmt.Sprintf("this is %q, not %q: check the list of members", own.Name, peer.Target)})
	}
	server := wire.AppendHello(nil, wire.Challenge, &own)
	f := wire.Frame{Type: wire.Proof, Value: n.prove(roleServer, client, server)}
	if _, err := w.Write(wire.Append(server[:len(server):len(server)], &f)); err != nil {
		return nil, err
	}
	proof, err := readFrame(r, wire.Proof)
	if err != nil {
		return nil, fmt.Errorf("link: peer %q did not prove who it is: if it does not know the secret of this end, compare GroupOptions.Secrets: %w", peer.Name, err)
	}
	if !n.proved(proof.Value, roleClient, client, server) {
		return nil, refuse(w, &HandshakeError{wire.CodeRefused, "the secret is unknown here: compare GroupOptions.Secrets"})
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.HandshakeTimeout/2) // the client waits no longer than the whole
	defer cancel()
	if err := n.retire(ctx, peer.Instance); err != nil {
		return nil, refuse(w, &HandshakeError{wire.CodeBusy, "requests of an earlier link are still running"})
	}
	_, err = w.Write(wire.Append(nil, &wire.Frame{Type: wire.Welcome}))
	return &peer, err
}

// acquainted checks what both ends check in the other's hello.
func (n *Node) acquainted(own, peer *wire.Hello) error {
	switch _, ok := wire.CommonVersion(own, peer); {
	case !ok:
		return &HandshakeError{wire.CodeVersion, fmt.Sprintf("no common version: %d to %d here, %d to %d there",
			own.MinVersion, own.MaxVersion, peer.MinVersion, peer.MaxVersion)}
	case peer.Instance == own.Instance:
		return &HandshakeError{wire.CodeSelf, "the peer is this process itself: check Self and the list of members"}
	case peer.MaxOps == 0 || peer.MaxValue == 0:
		return wire.ErrMalformed
	}
	return nil
}

// refuse tells the other end why, and returns why.
func refuse(w io.Writer, why error) error {
	f := wire.Frame{Type: wire.Failed, Code: wire.CodeIdentity, Text: why.Error()}
	if e, ok := why.(*HandshakeError); ok {
		f.Code, f.Text = e.Code, e.Text
	}
	_, _ = w.Write(wire.Append(nil, &f))
	return why
}

// readHandshake reads one frame.
func readHandshake(r io.Reader) ([]byte, error) {
	b := make([]byte, wire.HeaderSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	n, err := wire.BodyLen(b)
	if err != nil || n > maxHandshake {
		return nil, wire.ErrMagic
	}
	b = append(b, make([]byte, n)...)
	_, err = io.ReadFull(r, b[wire.HeaderSize:])
	if err == nil && wire.Type(b[4]) == wire.Failed {
		var f wire.Frame
		if err = wire.Parse(b, &f); err == nil {
			err = &HandshakeError{f.Code, f.Text}
		}
	}
	return b, err
}

func readFrame(r io.Reader, t wire.Type) (*wire.Frame, error) {
	b, err := readHandshake(r)
	if err != nil {
		return nil, err
	}
	var f wire.Frame
	if err := wire.Parse(b, &f); err != nil {
		return nil, err
	}
	if f.Type != t {
		return nil, ErrProtocol
	}
	return &f, nil
}
