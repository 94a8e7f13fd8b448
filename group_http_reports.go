package covey

// group_http_reports.go tells operators over HTTP how the members are, and where a key is and why.

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coveycache/covey/internal/link"
)

// isForOperators reports whether that is the path of what only operators ask for.
func isForOperators(path string) bool {
	return path == "peers" || path == "reports" || path == "explain"
}

// serveOperator answers what an operator asks for, in JSON.
func (g *Group) serveOperator(w http.ResponseWriter, r *http.Request, path string) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		http.Error(w, "covey: method not allowed: it must be GET", http.StatusMethodNotAllowed)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // other members are asked first
	var answer any
	switch of := r.FormValue("of"); {
	case path == "explain":
		e, ok := g.explainFor(w, r)
		if !ok {
			return
		}
		answer = e
	case path == "peers":
		answer = g.toldPeers()
	case of == "self":
		answer = toldReports([]Report{g.Report()})
	case of == "":
		answer = toldReports(g.Reports(r.Context()))
	default:
		http.Error(w, fmt.Sprintf("covey: of=%q is unknown: it must be self, or not be there", of), http.StatusBadRequest)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		g.refuse(w, r.FormValue("cache"), r.FormValue("key"), err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	g.node.WriteBody(w, body)
}

// explainFor explains the key that a request is for. If that fails it has answered with an error.
func (g *Group) explainFor(w http.ResponseWriter, r *http.Request) (e Explanation, ok bool) {
	name := r.FormValue("cache")
	c := g.cacheFor(w, name)
	if c == nil {
		return e, false
	}
	key, ok := keyFor(w, r)
	if !ok {
		return e, false
	}
	e, err := c.explanation(r.Context(), key)
	if err != nil {
		g.refuse(w, name, key, err)
		return e, false
	}
	for i := range e.States {
		e.States[i].Err = told(e.States[i].Err)
	}
	return e, true
}

func (g *Group) toldPeers() []Peer {
	all := g.Peers()
	for i := range all {
		p := &all[i]
		p.Err, p.Plain, p.LastErr = told(p.Err), told(p.Plain), told(p.LastErr)
	}
	return all
}

func toldReports(all []Report) []Report {
	for i := range all {
		all[i].Err = told(all[i].Err)
		for k := range all[i].Recent {
			if e := &all[i].Recent[k]; e.Err != nil {
				e.Err = errWithheld // of a loader's, perhaps, and from another member: only a text by now
			}
		}
	}
	return all
}

// errWithheld stands for errors whose text is not for HTTP clients.
var errWithheld = errors.New("covey: withheld over HTTP: the dashboard and Group.Recent have it")

// told returns what an HTTP client is told of an error that is part of an answer.
func told(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errNoMember) {
		return errNoMember
	}
	if reason := link.Reason(err); reason != nil {
		return reason
	}
	if r := refusalOf(err); r.status != http.StatusInternalServerError {
		return r
	}
	return errWithheld
}
