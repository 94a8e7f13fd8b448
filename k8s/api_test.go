package k8s

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An apiServer speaks the API server's protocol of lists and watches for the slices of one namespace:
// pages, resource versions, bookmarks, a history that is compacted, and watches that end.
type apiServer struct {
	mu        sync.Mutex
	version   int
	slices    map[string]object
	history   []change
	compacted int           // versions up to this one are not remembered
	changed   chan struct{} // closed by the next change
	pageSize  int
	inStream  bool // a version that is too old is told within the answer, as for a watch that goes on
	token     func() string
	fail      func(w http.ResponseWriter) bool

	lists, watches int
	reset          chan struct{} // closed: watches break off
	seen           []string      // tokens
}

type object map[string]any

type change struct {
	version int
	kind    string
	object  object
}

func newAPI() *apiServer {
	return &apiServer{version: 100, slices: make(map[string]object), changed: make(chan struct{}), reset: make(chan struct{}), pageSize: 2}
}

// A pod is an endpoint of a slice.
type pod struct {
	ip, name, zone string
	terminating    bool
	notReady       bool
}

func sliceOf(service, name, kind string, ports []object, pods ...pod) object {
	var endpoints []object
	for _, p := range pods {
		endpoints = append(endpoints, object{
			"addresses":  []string{p.ip},
			"conditions": object{"ready": !p.notReady && !p.terminating, "serving": !p.notReady, "terminating": p.terminating},
			"targetRef":  object{"kind": "Pod", "name": p.name},
			"zone":       p.zone,
		})
	}
	return object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
		"metadata":  object{"name": name, "labels": object{"kubernetes.io/service-name": service}},
		"endpoints": endpoints, "ports": ports,
	}
}

var onePort = []object{{"name": "covey", "protocol": "TCP", "port": 8080}}

func (a *apiServer) set(service, name string, pods ...pod) {
	a.put(sliceOf(service, name, "IPv4", onePort, pods...))
}

func (a *apiServer) put(s object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	meta := s["metadata"].(object)
	kind := "MODIFIED"
	if _, ok := a.slices[meta["name"].(string)]; !ok {
		kind = "ADDED"
	}
	a.version++
	meta["resourceVersion"] = strconv.Itoa(a.version)
	a.slices[meta["name"].(string)] = s
	a.note(kind, s)
}

func (a *apiServer) remove(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.slices[name]
	delete(a.slices, name)
	a.version++
	gone := object{}
	for k, v := range s {
		gone[k] = v
	}
	gone["metadata"] = object{"name": name, "labels": s["metadata"].(object)["labels"], "resourceVersion": strconv.Itoa(a.version)}
	a.note("DELETED", gone)
}

func (a *apiServer) note(kind string, o object) {
	a.history = append(a.history, change{a.version, kind, o})
	close(a.changed)
	a.changed = make(chan struct{})
}

// compact forgets the history.
func (a *apiServer) compact() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	a.compacted, a.history = a.version, nil
}

// breakOff ends the watches that run.
func (a *apiServer) breakOff() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.reset)
	a.reset = make(chan struct{})
}

func refuse(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(statusOf(code, reason, message))
}

func statusOf(code int, reason, message string) object {
	return object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code}
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	fail, token := a.fail, a.token
	a.mu.Unlock()
	if fail != nil && fail(w) {
		return
	}
	if token != nil {
		got := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		a.mu.Lock()
		a.seen = append(a.seen, got)
		a.mu.Unlock()
		if got != token() {
			refuse(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized")
			return
		}
	}
	service, ok := strings.CutPrefix(r.FormValue("labelSelector"), "kubernetes.io/service-name=")
	if r.Method != http.MethodGet || r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices" || !ok {
		refuse(w, http.StatusForbidden, "Forbidden", `endpointslices.discovery.k8s.io is forbidden: User "x" cannot list resource "endpointslices"`)
		return
	}
	if r.FormValue("watch") == "1" {
		a.watch(w, r, service)
	} else {
		a.list(w, r, service)
	}
}

func (o object) isOf(service string) bool {
	return o["metadata"].(object)["labels"].(object)["kubernetes.io/service-name"] == service
}

func (a *apiServer) list(w http.ResponseWriter, r *http.Request, service string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	skip, _ := strconv.Atoi(r.FormValue("continue"))
	if skip == 0 {
		a.lists++
	}
	var all []string
	for name, s := range a.slices {
		if s.isOf(service) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	var items []object
	meta := object{"resourceVersion": strconv.Itoa(a.version)}
	for i, name := range all {
		if i < skip {
			continue
		}
		if len(items) == a.pageSize {
			meta["continue"] = strconv.Itoa(i)
			break
		}
		items = append(items, a.slices[name])
	}
	_ = json.NewEncoder(w).Encode(object{"kind": "EndpointSliceList", "metadata": meta, "items": items})
}

func (a *apiServer) watch(w http.ResponseWriter, r *http.Request, service string) {
	from, err := strconv.Atoi(r.FormValue("resourceVersion"))
	seconds, _ := strconv.Atoi(r.FormValue("timeoutSeconds"))
	if err != nil || seconds == 0 {
		refuse(w, http.StatusBadRequest, "BadRequest", "resourceVersion or timeoutSeconds")
		return
	}
	a.mu.Lock()
	a.watches++
	reset := a.reset
	a.mu.Unlock()
	over := time.NewTimer(time.Duration(seconds) * time.Second)
	defer over.Stop()
	bookmark := time.NewTicker(time.Minute)
	defer bookmark.Stop()
	send := func(kind string, o object) {
		_ = json.NewEncoder(w).Encode(object{"type": kind, "object": o})
		w.(http.Flusher).Flush()
	}
	w.Header().Set("Content-Type", "application/json")
	for flushed := false; ; flushed = true {
		a.mu.Lock()
		changed, gone, inStream := a.changed, from < a.compacted, a.inStream
		var news []change
		for _, c := range a.history {
			if c.version > from {
				news, from = append(news, c), c.version
			}
		}
		version := a.version
		a.mu.Unlock()
		if gone {
			const text = "too old resource version"
			if flushed || inStream {
				send("ERROR", statusOf(http.StatusGone, "Expired", text))
			} else {
				refuse(w, http.StatusGone, "Expired", text)
			}
			return
		}
		if !flushed {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
		}
		for _, c := range news {
			if c.object.isOf(service) {
				send(c.kind, c.object)
			}
		}
		select {
		case <-changed:
		case <-bookmark.C:
			if r.FormValue("allowWatchBookmarks") == "true" {
				from = version
				send("BOOKMARK", object{"kind": "EndpointSlice", "metadata": object{"resourceVersion": fmt.Sprint(version)}})
			}
		case <-over.C:
			return
		case <-reset:
			panic(http.ErrAbortHandler)
		case <-r.Context().Done():
			return
		}
	}
}
