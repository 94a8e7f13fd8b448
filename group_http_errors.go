package covey

// group_http_errors.go decides what an HTTP client is told of an error. Its text may have come from
// a function of a user's or from another peer, and hold a stack, an address or a password. So the
// client gets a sentence that is always the same, and the log the rest.

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// A refusal is the answer to a request over HTTP that failed.
type refusal struct {
	status   int
	text     string // has nothing that a function of a user's has said
	withheld error  // for the log, or nil
}

func (r *refusal) Error() string { return r.text }

// badRequest returns a refusal for a mistake in the request itself.
func badRequest(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, text: "covey: bad request: " + fmt.Sprintf(format, args...)}
}

// errNotCached refuses a request that must not load, where the value is missing.
var errNotCached = &refusal{status: http.StatusGatewayTimeout, text: "covey: not in the cache"}

// statuses are the errors that an HTTP client can tell apart.
var statuses = [...]struct {
	err    error
	status int
}{
	{ErrNotFound, http.StatusNotFound},
	{ErrNoLoader, http.StatusNotFound},
	{ErrTooLarge, http.StatusRequestEntityTooLarge},
	{ErrOutdated, http.StatusConflict},
	{ErrNotReplicated, http.StatusAccepted},
	{ErrOverloaded, http.StatusServiceUnavailable},
	{ErrClosed, http.StatusServiceUnavailable},
	{ErrUnconfirmed, http.StatusBadGateway},
	{ErrLoadTimeout, http.StatusGatewayTimeout},
	{context.DeadlineExceeded, http.StatusGatewayTimeout},
}

// refusalOf returns the answer to a request that failed with err.
func refusalOf(err error) *refusal {
	var refused *refusal
	if errors.As(err, &refused) {
		return refused
	}
	for _, s := range statuses {
		if !errors.Is(err, s.err) {
			continue
		}
		refused = &refusal{status: s.status, text: s.err.Error()}
		if s.status >= http.StatusInternalServerError {
			refused.withheld = err
		}
		return refused
	}
	return &refusal{status: http.StatusInternalServerError, text: "covey: the request failed; the server's log says why", withheld: err}
}

// refuse answers a request for a key with an error.
func (g *Group) refuse(w http.ResponseWriter, cache, key string, err error) {
	r := refusalOf(err)
	if r.withheld != nil && !errors.Is(r.withheld, context.Canceled) { // then the client has gone
		g.log.warn("covey: a request over HTTP failed", r.text, "cache", cache, "key", key, "status", r.status, "err", r.withheld)
	}
	http.Error(w, r.text, r.status)
}
