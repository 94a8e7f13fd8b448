package link

// bodies.go bounds the memory for what comes over plain HTTP. It grows as the
// bytes come, whatever the other end has announced, and all bodies of a process
// share one bound for it. Over the bound a body waits until others have been
// dealt with. Since all of them might wait with a half of theirs, one goes on.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// bodies is the memory for what comes over plain HTTP to a node.
type bodies struct {
	max int

	mu    sync.Mutex
	bytes int
	over  *holding      // the one that goes on over max
	freed chan struct{} // is closed when some has been given back; nil: nobody waits
}

// A holding is the part of it that one body has.
type holding struct {
	of    *bodies
	bytes int
}

// take waits until there is room for n bytes more.
func (h *holding) take(ctx context.Context, n int) error {
	s := h.of
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.bytes+n > s.max && s.over != h {
		if s.over == nil {
			s.over = h
			break
		}
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		freed := s.freed
		s.mu.Unlock()
		select {
		case <-freed:
			s.mu.Lock()
		case <-ctx.Done():
			s.mu.Lock()
			return context.Cause(ctx)
		}
	}
	s.bytes += n
	h.bytes += n
	return nil
}

// give gives n bytes back.
func (h *holding) give(n int) {
	if n == 0 {
		return
	}
	s := h.of
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= n
	h.bytes -= n
	if s.over == h && h.bytes == 0 {
		s.over = nil
	}
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
}

// drop gives everything back.
func (h *holding) drop() { h.give(h.bytes) }

// A Body is what came with a request.
type Body struct {
	Bytes []byte
	holding
}

// Release ends the use of the body, which must not be used any more. It may be called twice.
func (b *Body) Release() {
	b.Bytes = nil
	b.drop()
}

// ReadBody reads the body of a request, of limit bytes at most. Each 64 KiB of it
// have to come within Config.OpTimeout. If they do not, or if there is no memory,
// it answers with an error and returns nil.
func (n *Node) ReadBody(w http.ResponseWriter, r *http.Request, limit int) *Body {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // which strangers have
	b := &Body{holding: holding{of: &n.bodies}}
	err := b.read(w, r, limit, n.cfg.OpTimeout)
	if err == nil {
		return b
	}
	b.Release()
	status := http.StatusBadRequest
	switch over := (*http.MaxBytesError)(nil); {
	case errors.As(err, &over):
		status = http.StatusRequestEntityTooLarge
		err = fmt.Errorf("the body has more than %d bytes", over.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		status = http.StatusRequestTimeout
		err = fmt.Errorf("%d bytes of the body have not come within %v", firstRoom, n.cfg.OpTimeout)
	case errors.Is(err, errNoRoom):
		status = http.StatusServiceUnavailable
	}
	http.Error(w, "covey: "+err.Error(), status)
	return nil
}

// WriteBody writes the body of an answer, as long as the other end takes 64 KiB of it
// within Config.OpTimeout.
func (n *Node) WriteBody(w http.ResponseWriter, body []byte) {
	control := http.NewResponseController(w)
	for part := range slices.Chunk(body, firstRoom) {
		_ = control.SetWriteDeadline(time.Now().Add(n.cfg.OpTimeout))
		if _, err := w.Write(part); err != nil {
			return
		}
	}
}

func (b *Body) read(w http.ResponseWriter, r *http.Request, limit int, patience time.Duration) error {
	announced := limit
	switch {
	case r.ContentLength > int64(limit):
		return &http.MaxBytesError{Limit: int64(limit)}
	case r.ContentLength >= 0:
		announced = int(r.ContentLength)
	}
	src := http.MaxBytesReader(w, r.Body, int64(limit))
	control := http.NewResponseController(w)
	for {
		if len(b.Bytes) > announced { // a middleware has unpacked it
			announced = limit
		}
		// One byte more than there should be, in which the end shows.
		if err := b.grow(r.Context(), announced+1, patience); err != nil {
			return err
		}
		_ = control.SetReadDeadline(time.Now().Add(patience))
		err := b.part(src)
		if err != nil && err != io.EOF {
			return err // and the deadline stays, for what the server skips of the body
		}
		_ = control.SetReadDeadline(time.Time{})
		if err == io.EOF {
			return nil
		}
	}
}

// part reads 64 KiB, or less if there is no room for them.
func (b *Body) part(src io.Reader) error {
	for end := min(cap(b.Bytes), len(b.Bytes)+firstRoom); len(b.Bytes) < end; {
		n, err := src.Read(b.Bytes[len(b.Bytes):end])
		b.Bytes = b.Bytes[:len(b.Bytes)+n]
		if err != nil {
			return err
		}
	}
	return nil
}

// grow makes room for more, up to limit bytes in all. The first room is not
// counted, so that short bodies wait for no long ones.
func (b *Body) grow(ctx context.Context, limit int, patience time.Duration) error {
	had := cap(b.Bytes)
	if len(b.Bytes) < had {
		return nil
	}
	size := min(limit, max(roomGrowth*had, firstRoom))
	if had > 0 {
		ctx, cancel := context.WithTimeoutCause(ctx, patience, errNoRoom)
		defer cancel()
		if err := b.take(ctx, size-b.bytes); err != nil {
			return err
		}
	}
	b.Bytes = append(make([]byte, 0, size), b.Bytes...)
	return nil
}
