package link

// handshake.go is the first exchange on a link:
//
//	server: Challenge
//	client: Hello, Proof
//	server: Welcome, Proof
//
// The challenge is the server's nonce; Hello and Welcome say who the ends are. A
// proof is a MAC under the group's secret over the sender's role, the group's
// name and all frames before it: with them both nonces, names and instances. So
// it is good for this link only, and nobody can pass it on as their own. It says
// who the other end is; it does not protect the bytes that follow, which is for
// TLS to do.
//
// Until the client has proved itself it gets nothing but the nonce, or the one
// refusal that is the same for every cause. Whoever has proved itself is told
// the reason, in a Failed instead of the Welcome.

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"

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

// noSecret is the key of proofs where there is no secret. Such a proof shows only
// that both ends mean the same group.
const noSecret = "covey: anybody may know this"

func (n *Node) secrets() [][]byte {
	if len(n.cfg.Secrets) == 0 {
		return [][]byte{[]byte(noSecret)}
	}
	return n.cfg.Secrets
}

// prove returns the proof of the end with the given role, after these frames.
func (n *Node) prove(role string, frames ...[]byte) *wire.Frame {
	return &wire.Frame{Type: wire.Proof, Value: n.mac(n.secrets()[0], role, frames)}
}

// proved reports whether proof was made with one of the secrets.
func (n *Node) proved(proof []byte, role string, frames ...[]byte) bool {
	ok := false
	for _, secret := range n.secrets() {
		ok = hmac.Equal(proof, n.mac(secret, role, frames)) || ok
	}
	return ok
}

// mac needs no separators: the role has one of few values, none of which begins with
// another one and each of which goes with a number of frames; the group's name and
// each frame begin with their length, have the same always, or come last.
func (n *Node) mac(secret []byte, role string, frames [][]byte) []byte {
	h := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(h, role)
	_, _ = h.Write([]byte{byte(len(n.cfg.Group))})
	_, _ = io.WriteString(h, n.cfg.Group)
	for _, f := range frames {
		_, _ = h.Write(f)
	}
	return h.Sum(nil)
}

// greet is the client's side: r and w are the connection to peer name.
func (n *Node) greet(r io.Reader, w io.Writer, state *tls.ConnectionState, name string) (*wire.Hello, error) {
	challenge, err := readHandshake(r)
	if err != nil {
		return nil, err
	}
	if f, err := parseAs(challenge, wire.Challenge); err != nil || len(f.Value) != wire.NonceSize {
		return nil, wire.ErrMagic
	}
	own := n.hello(name)
	client := wire.AppendHello(nil, wire.HelloFrame, &own)
	proof := n.prove(roleClient, challenge, client)
	if _, err := w.Write(wire.Append(slices.Clip(client), proof)); err != nil {
		return nil, err
	}
	server, err := readHandshake(r)
	if err != nil {
		return nil, err
	}
	var peer wire.Hello
	if err := wire.ParseHello(server, wire.Welcome, &peer); err != nil {
		return nil, err
	}
	if proof, err = readFrame(r, wire.Proof); err != nil {
		return nil, err
	}
	if !n.proved(proof.Value, roleServer, challenge, client, server) {
		return nil, fmt.Errorf("%w: the peer's proof is not by our secret: compare GroupOptions.Secrets", ErrRefused)
	}
	if err := n.acquainted(&own, &peer, state); err != nil {
		return nil, err
	}
	if peer.Name != name {
		return nil, &HandshakeError{wire.CodeIdentity, fmt.Sprintf("the peer's name is %q, not %q: check the list of members", peer.Name, name)}
	}
	return &peer, nil
}

// refusal is all that the server says to a client that has proved nothing.
var refusal = wire.Append(nil, &wire.Frame{
	Type: wire.Failed, Code: wire.CodeRefused,
	Text: "not proved to be of the same group: compare GroupOptions.Secrets and GroupName at both ends; the log of the other end says more",
})

// A handshake is the server's side, between its two parts.
type handshake struct {
	own, peer         wire.Hello
	challenge, client []byte
}

// challenge is the server's first part: it has the client prove who it is.
func (n *Node) challenge(r io.Reader, w io.Writer) (*handshake, error) {
	h := &handshake{own: n.hello("")}
	h.challenge = wire.Append(nil, &wire.Frame{Type: wire.Challenge, Value: h.own.Nonce[:]})
	if _, err := w.Write(h.challenge); err != nil {
		return nil, err
	}
	if err := n.recognize(r, h); err != nil {
		_, _ = w.Write(refusal)
		return nil, err
	}
	return h, nil
}

// recognize reads who the client says it is, and the proof of that.
func (n *Node) recognize(r io.Reader, h *handshake) (err error) {
	if h.client, err = readHandshake(r); err != nil {
		return err
	}
	if err := wire.ParseHello(h.client, wire.HelloFrame, &h.peer); err != nil {
		return err
	}
	proof, err := readFrame(r, wire.Proof)
	if err != nil {
		return err
	}
	if !n.proved(proof.Value, roleClient, h.challenge, h.client) {
		return strangerError(h.peer.Name)
	}
	return nil
}

// strangerError is for the log.
func strangerError(name string) error {
	return fmt.Errorf("%w: somebody who goes by the name %q knows none of our secrets or is of another group: "+
		"compare GroupOptions.Secrets and GroupName", ErrRefused, name)
}

// welcome is the server's second part: it takes the client in.
func (n *Node) welcome(ctx context.Context, w io.Writer, state *tls.ConnectionState, h *handshake) error {
	if err := n.acquainted(&h.own, &h.peer, state); err != nil {
		return refuse(w, err)
	}
	if h.peer.Target != h.own.Name {
		return refuse(w, &HandshakeError{wire.CodeIdentity, fmt.Sprintf("this is %q, not %q: check the list of members", h.own.Name, h.peer.Target)})
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.HandshakeTimeout/2) // the client waits no longer than the whole
	defer cancel()
	if err := n.retire(ctx, h.peer.Instance); err != nil {
		return refuse(w, &HandshakeError{wire.CodeBusy, "requests of an earlier link are still running"})
	}
	server := wire.AppendHello(nil, wire.Welcome, &h.own)
	_, err := w.Write(wire.Append(slices.Clip(server), n.prove(roleServer, h.challenge, h.client, server)))
	return err
}

// acquainted checks what both ends check in the other's hello. state is that of
// the connection, nil without TLS.
func (n *Node) acquainted(own, peer *wire.Hello, state *tls.ConnectionState) error {
	switch _, ok := wire.CommonVersion(own, peer); {
	case !ok:
		return &HandshakeError{wire.CodeVersion, fmt.Sprintf("no common version: %d to %d here, %d to %d there",
			own.MinVersion, own.MaxVersion, peer.MinVersion, peer.MaxVersion)}
	case peer.Instance == own.Instance:
		return &HandshakeError{wire.CodeSelf, "the peer is this process itself: check Self and the list of members"}
	case peer.MaxOps == 0 || peer.MaxValue == 0:
		return wire.ErrMalformed
	}
	if err := n.cfg.Verify(peer.Name, state); err != nil {
		return fmt.Errorf("%w %q: %w", &HandshakeError{wire.CodeRefused, "the certificate does not go with the name"}, peer.Name, err)
	}
	return nil
}

// refuse tells the other end, which has proved itself, why, and returns why.
func refuse(w io.Writer, why error) error {
	f := wire.Frame{Type: wire.Failed, Code: wire.CodeIdentity, Text: why.Error()}
	if e := (*HandshakeError)(nil); errors.As(why, &e) { // what else there is to say is not for the other end
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
	return parseAs(b, t)
}

// parseAs parses a frame that must be of type t.
func parseAs(b []byte, t wire.Type) (*wire.Frame, error) {
	var f wire.Frame
	if err := wire.Parse(b, &f); err != nil {
		return nil, err
	}
	if f.Type != t {
		return nil, ErrProtocol
	}
	return &f, nil
}
