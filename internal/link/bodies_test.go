package link

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

const mib = 1 << 20

// A reader is a server that reads bodies and keeps them until it is told to go on.
type reader struct {
	t    *testing.T
	n    *Node
	net  *netsim.Network
	read chan int      // lengths of bodies that have been read
	next chan struct{} // one answer each
	most int           // bytes that bodies had at a time
}

// taken returns how many bytes the bodies have.
func taken(n *Node) int {
	n.bodies.mu.Lock()
	defer n.bodies.mu.Unlock()
	return n.bodies.bytes
}

// inReader runs f in a bubble with a server that takes bodies of 4 MiB, and 8 MiB of them at a
// time.
func inReader(t *testing.T, f func(t *testing.T, s *reader)) {
	synctest.Test(t, func(t *testing.T) {
		s := &reader{t: t, n: fuzzNode(t), net: netsim.New(), read: make(chan int, 100), next: make(chan struct{})}
		s.n.bodies.max = 8 * mib
		l, err := s.net.Listen("s:80")
		require.NoError(t, err)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := s.n.ReadBody(w, r, 4*mib)
			if body == nil {
				return
			}
			defer body.Release()
			s.read <- len(body.Bytes)
			<-s.next
		})}
		go func() { _ = srv.Serve(l) }()
		f(t, s)
		require.NoError(t, srv.Close())
		time.Sleep(time.Second) // for which a server may linger
		require.Zero(t, taken(s.n))
		require.Nil(t, s.n.bodies.over)
	})
}

// begin sends the head of a request with a body of n bytes, of chunks if that is negative, and
// returns its connection.
func (s *reader) begin(n int) net.Conn {
	conn, err := s.net.Dialer("c")(s.t.Context(), "tcp", "s:80")
	require.NoError(s.t, err)
	length := fmt.Sprintf("Content-Length: %d", n)
	if n < 0 {
		length = "Transfer-Encoding: chunked"
	}
	_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: s\r\n%s\r\n\r\n", length)
	require.NoError(s.t, err)
	return conn
}

// send sends part of a body without waiting.
func (s *reader) send(conn net.Conn, n int) {
	go func() { _, _ = conn.Write(make([]byte, n)) }()
	synctest.Wait()
	s.most = max(s.most, taken(s.n))
}

// status reads an answer and returns its status, and when it came.
func (s *reader) status(conn net.Conn) (int, time.Duration) {
	began := time.Now()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(s.t, err)
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, time.Since(began)
}

// Bodies take memory as they come. Over the bound one goes on and the others wait for it.
func TestBodiesShareABound(t *testing.T) {
	inReader(t, func(t *testing.T, s *reader) {
		announced := make([]net.Conn, 50)
		for i := range announced {
			announced[i] = s.begin(4 * mib)
			s.send(announced[i], 1000)
		}
		require.Zero(t, s.most, "those who have only announced much have taken nothing")
		for _, conn := range announced {
			require.NoError(t, conn.Close())
		}

		long := make([]net.Conn, 6)
		for i := range long {
			long[i] = s.begin(4 * mib)
			s.send(long[i], 4*mib)
		}
		require.Len(t, s.read, 3, "two within the bound, and the one that goes on over it")
		short := s.begin(1000)
		s.send(short, 1000)
		require.Len(t, s.read, 4, "short ones do not wait")
		for range len(long) + 1 {
			s.next <- struct{}{}
			s.send(short, 0)
		}
		for _, conn := range append(long, short) {
			status, _ := s.status(conn)
			require.Equal(t, 200, status)
		}
		require.LessOrEqual(t, s.most, 8*mib+4*mib+1)
	})
}

// Who gets no memory in time is told so.
func TestBodiesWaitInVain(t *testing.T) {
	inReader(t, func(t *testing.T, s *reader) {
		for range 3 {
			s.send(s.begin(4*mib), 4*mib)
		}
		require.Len(t, s.read, 3)
		late := s.begin(4 * mib)
		s.send(late, 4*mib)
		status, after := s.status(late)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Equal(t, s.n.cfg.OpTimeout, after)
		for range 3 {
			s.next <- struct{}{}
		}
	})
}

func TestBodiesThatDoNotCome(t *testing.T) {
	inReader(t, func(t *testing.T, s *reader) {
		patience := s.n.cfg.OpTimeout
		for _, sent := range []int{0, 1, firstRoom - 1, firstRoom, 3 * mib} {
			conn := s.begin(4 * mib)
			s.send(conn, sent)
			status, after := s.status(conn)
			require.Equal(t, http.StatusRequestTimeout, status)
			require.Equal(t, patience, after, sent)
			n, err := conn.Read(make([]byte, 1))
			require.Zero(t, n)
			require.ErrorIs(t, err, io.EOF, "the server waits for no more")
		}

		dribbling := s.begin(4 * mib)
		for range 9 {
			s.send(dribbling, 100)
			time.Sleep(patience / 10)
		}
		status, after := s.status(dribbling)
		require.Equal(t, http.StatusRequestTimeout, status)
		require.Equal(t, patience/10, after)

		steady := s.begin(mib)
		for range mib / firstRoom {
			time.Sleep(patience * 9 / 10)
			s.send(steady, firstRoom)
		}
		require.Equal(t, mib, <-s.read)
		time.Sleep(time.Hour)
		s.next <- struct{}{}
		status, _ = s.status(steady)
		require.Equal(t, 200, status, "no deadline is left of the body")
	})
}

func TestBodiesOfAllLengths(t *testing.T) {
	inReader(t, func(t *testing.T, s *reader) {
		for _, size := range []int{0, 1, firstRoom - 1, firstRoom, firstRoom + 1, 4 * firstRoom, 4*firstRoom + 1, mib, 4 * mib} {
			conn := s.begin(size)
			s.send(conn, size)
			require.Equal(t, size, <-s.read)
			s.next <- struct{}{}
			conn = s.begin(-1)
			_, err := fmt.Fprintf(conn, "%x\r\n%s\r\n0\r\n\r\n", max(size, 1), strings.Repeat("x", max(size, 1)))
			require.NoError(t, err)
			require.Equal(t, max(size, 1), <-s.read)
			s.next <- struct{}{}
		}
		status, after := s.status(s.begin(4*mib + 1))
		require.Equal(t, http.StatusRequestEntityTooLarge, status)
		require.Zero(t, after, "before anything has come")
		conn := s.begin(-1)
		go func() { _, _ = fmt.Fprintf(conn, "%x\r\n%s\r\n0\r\n\r\n", 4*mib+1, strings.Repeat("x", 4*mib+1)) }()
		status, _ = s.status(conn)
		require.Equal(t, http.StatusRequestEntityTooLarge, status)

		for _, n := range []int{100, -1} { // it ends too early
			conn := s.begin(n)
			s.send(conn, 99)
			require.NoError(t, conn.Close())
			synctest.Wait()
			require.Empty(t, s.read)
		}
	})
}

// The values in answers share the bound, too, and one exchange goes on.
func TestAnswersShareTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := fuzzNode(t)
		n.cfg.MaxValue, n.bodies.max = 4*mib, 8*mib
		body := wire.Append(nil, &wire.Frame{Type: wire.Hit, Op: 1, Stream: 1, Size: 4 * mib})
		for range 4*mib/firstRoom - 1 {
			body = wire.AppendChunk(body, 1, firstRoom)
			body = append(body, make([]byte, firstRoom)...)
		}
		var wg sync.WaitGroup
		var ends []io.Closer
		for range 4 {
			e := &exchange{Link: newLink(n, noConn{}, nil, &wire.Hello{}), ctx: t.Context(), memory: holding{of: &n.bodies}}
			e.exchange = e
			e.in.ready = true
			r, w := io.Pipe()
			ends = append(ends, w)
			wg.Go(func() {
				defer e.memory.drop()
				require.ErrorIs(t, e.readBody(io.MultiReader(bytes.NewReader(body), r)), io.ErrUnexpectedEOF)
			})
			synctest.Wait()
		}
		require.Equal(t, 3*4*mib, taken(n), "the fourth waits")
		for _, w := range ends {
			require.NoError(t, w.Close())
		}
		wg.Wait()
		require.Zero(t, taken(n))
	})
}
