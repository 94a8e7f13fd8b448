package link

// prove.go is how the two ends of a request over plain HTTP know each other, as handshake.go is for
// links:
//
//	client: POST
//	server: 401, WWW-Authenticate: Covey INSTANCE
//	client: POST, Authorization: Covey PROOF, and the body
//	server: 200, and the answers in sealed records; see seal.go
//
// The first two are needed only before the client knows which process answers to the name. A proof
// is the client's hello, the digest of the body and a MAC over both. The hello names both ends and
// both instances, has a number that the client never gives twice, and the time. So a proof is good
// for one body, one process, once and not for long. It is checked before anything of the body is
// read.
//
// Whoever has not proved that it is there now gets the same 401 for every cause.

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

const (
	scheme          = "Covey " // of HTTP authentication
	rolePlainClient = "covey/1 plain client"
	rolePlainServer = "covey/1 plain server"
	macSize         = sha256.Size
)

// maxSkew is how far a request's time may be from the clock of the process that it comes to.
const maxSkew = 30 * time.Second

// A proof is the value of the header, before it is encoded.
type proof struct {
	hello       []byte // a frame
	digest, mac []byte
}

// proofOf returns the proof for a body.
func (n *Node) proofOf(h *wire.Hello, body []byte) proof {
	p := proof{hello: wire.AppendHello(nil, wire.HelloFrame, h)}
	digest := sha256.Sum256(body)
	p.digest = digest[:]
	p.mac = n.mac(n.secrets()[0], rolePlainClient, [][]byte{p.hello, p.digest})
	return p
}

func (p proof) String() string {
	return scheme + base64.StdEncoding.EncodeToString(slices.Concat(p.hello, p.digest, p.mac))
}

func parseProof(header string) (p proof, err error) {
	encoded, ok := strings.CutPrefix(header, scheme)
	b, err := base64.StdEncoding.DecodeString(encoded)
	if at := len(b) - sha256.Size - macSize; ok && err == nil && at >= 0 {
		return proof{hello: b[:at], digest: b[at : at+sha256.Size], mac: b[at+sha256.Size:]}, nil
	}
	return proof{}, fmt.Errorf("%w: the header Authorization of a request holds no proof", ErrRefused)
}

// covers reports whether p is the proof for a body.
func (p proof) covers(body []byte) bool {
	digest := sha256.Sum256(body)
	return bytes.Equal(digest[:], p.digest)
}

// know checks a proof and returns it with the hello in it.
func (n *Node) know(header string) (p proof, peer wire.Hello, err error) {
	if header == "" {
		return p, peer, errUnproved
	}
	if p, err = parseProof(header); err != nil {
		return p, peer, err
	}
	if err = wire.ParseHello(p.hello, wire.HelloFrame, &peer); err != nil {
		return p, peer, err
	}
	if !n.proved(p.mac, rolePlainClient, p.hello, p.digest) {
		return p, peer, strangerError(peer.Name)
	}
	if peer.Called != n.cfg.Instance {
		return p, peer, errFormer
	}
	if late := time.Since(time.UnixMilli(int64(peer.Time))); late.Abs() > maxSkew {
		return p, peer, fmt.Errorf("%w: the time of a request of %q is %v before ours, the limit is %v either way: set the clocks, unless somebody has held it back",
			ErrRefused, peer.Name, late.Round(time.Millisecond), maxSkew)
	}
	return p, peer, nil
}

// Not logged, since the client goes on with the challenge.
const (
	errUnproved strError = "link: the request has no proof"
	errFormer   strError = "link: the request is for another process of that name"
)

// refusePlain gives the one answer to all that do not prove themselves, and logs why.
func (n *Node) refusePlain(w http.ResponseWriter, r *http.Request, why error) {
	if why != errUnproved && why != errFormer {
		n.logRefusal(r.RemoteAddr, why)
	}
	w.Header().Set("WWW-Authenticate", scheme+strconv.FormatUint(n.cfg.Instance, 10))
	http.Error(w, "covey: not proved to be of the same group: compare GroupOptions.Secrets, GroupName and the clocks at both ends; the log of this end says more",
		http.StatusUnauthorized)
}

// challenged returns the instance that a response names in its challenge.
func challenged(resp *http.Response) (instance uint64, ok bool) {
	s, ok := strings.CutPrefix(resp.Header.Get("WWW-Authenticate"), scheme)
	instance, err := strconv.ParseUint(s, 10, 64)
	return instance, ok && err == nil && resp.StatusCode == http.StatusUnauthorized
}

// A caller is a process that asks over plain HTTP. It is guarded by the node's mutex.
type caller struct {
	since   uint64           // the first of its exchanges that it still waits for
	running map[uint64]*Link // by seq
	bodies  int              // that are being read or served
	holding atomic.Int32     // how many of its exchanges have requests that are held
	heard   int64            // when it asked last
	floor   uint64           // no number up to this is taken any more
	seen    []uint64         // the numbers above that have been taken, sorted
	link    *Link            // that stands for it; nil: there is none
	left    bool             // it has said so, and gets no other

	telling sync.Mutex // held while Told or CallerDown is called; taken before all others
	told    uint64     // number of the last body that told something; guarded by telling
}

const (
	maxCallers = 1 << 12
	maxSeen    = 1 << 12 // of a caller; it has maxExchanges of each class under way
	maxHolding = 1 << 10 // exchanges of a caller that have requests that are held
)

// enterBody takes note of a body that is about to be read, until exitBody. It fails if the body's
// number has come before, or may have.
func (n *Node) enterBody(peer *wire.Hello) (*caller, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.callers[peer.Instance]
	if c == nil {
		n.forgetCallers()
		if len(n.callers) >= maxCallers {
			return nil, fmt.Errorf("%w: %d other processes have sent requests within %v", ErrRefused, maxCallers, 2*maxSkew)
		}
		c = &caller{running: make(map[uint64]*Link)}
		n.callers[peer.Instance] = c
	}
	if !c.take(peer.Seq) {
		return nil, fmt.Errorf("%w: a request of %q has come again, or much later than others", ErrRefused, peer.Name)
	}
	c.heard = n.now()
	c.bodies++
	return c, nil
}

// exitBody is called when a body has been served.
func (n *Node) exitBody(c *caller) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c.bodies--
}

// forgetCallers drops those of which whatever could be sent again is too old. The node is locked.
func (n *Node) forgetCallers() {
	for instance, c := range n.callers {
		if c.bodies == 0 && len(c.running) == 0 && c.link == nil && n.now()-c.heard > int64(2*maxSkew) {
			delete(n.callers, instance)
		}
	}
}

// take reports whether a number comes for the first time. When too many are remembered it refuses
// the lower half and what is below.
func (c *caller) take(seq uint64) bool {
	i, before := slices.BinarySearch(c.seen, seq)
	if before || seq <= c.floor {
		return false
	}
	c.seen = slices.Insert(c.seen, i, seq)
	if len(c.seen) == maxSeen {
		c.floor = c.seen[maxSeen/2-1]
		c.seen = slices.Delete(c.seen, 0, maxSeen/2)
	}
	return true
}
