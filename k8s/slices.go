package k8s

// slices.go knows the part of the API's objects that matters here, and makes members of them.

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/coveycache/covey"
)

// The objects are those of discovery.k8s.io/v1 and meta/v1.
type (
	slice struct {
		Metadata    metadata   `json:"metadata"`
		AddressType string     `json:"addressType"`
		Endpoints   []endpoint `json:"endpoints"`
		Ports       []port     `json:"ports"`
	}
	sliceList struct {
		Metadata metadata `json:"metadata"`
		Items    []slice  `json:"items"`
	}
	metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue"`
	}
	endpoint struct {
		Addresses  []string `json:"addresses"`
		Conditions struct {
			Terminating *bool `json:"terminating"`
		} `json:"conditions"`
		TargetRef *struct {
			Name string `json:"name"`
		} `json:"targetRef"`
		Zone *string `json:"zone"`
	}
	port struct {
		Name *string `json:"name"`
		Port *int32  `json:"port"`
	}
	// A status is why the server refuses something.
	status struct {
		Message string `json:"message"`
		Reason  string `json:"reason"`
		Code    int    `json:"code"`
	}
)

func (s *status) Error() string {
	return fmt.Sprintf("the API server answers %d %s: %s", s.Code, s.Reason, s.Message)
}

const (
	maxText = 4 << 10  // bytes of a refusal
	maxList = 64 << 20 // bytes of a page of the list
)

// refusal returns the error of an answer whose status is not 200.
func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxText))
	s := status{Code: resp.StatusCode, Reason: http.StatusText(resp.StatusCode)}
	if json.Unmarshal(text, &s) != nil {
		s.Message = strings.TrimSpace(string(text))
	}
	return &s
}

// decode reads one object and closes the body.
func decode(body io.ReadCloser, into any) error {
	defer body.Close()
	return json.NewDecoder(io.LimitReader(body, maxList)).Decode(into)
}

// An event is a change of a slice, or an error.
type event struct {
	Type   string
	slice  slice
	status status
}

type events struct{ dec *json.Decoder }

func newEvents(r io.Reader) events { return events{json.NewDecoder(r)} }

func (e events) next() (event, error) {
	var raw struct {
		Type   string          `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	if err := e.dec.Decode(&raw); err != nil {
		return event{}, err
	}
	ev := event{Type: raw.Type}
	if raw.Type == "ERROR" {
		return ev, json.Unmarshal(raw.Object, &ev.status)
	}
	return ev, json.Unmarshal(raw.Object, &ev.slice)
}

// members returns whom the slices list, sorted by name, each once. An endpoint may be in two slices
// while it moves from one to the other. mistake says why some cannot be members.
func (w *watch) members() (members []covey.Member, mistake string) {
	kind := "IPv4"
	if w.IPv6 || !w.has(kind) {
		kind = "IPv6"
	}
	for _, name := range slices.Sorted(maps.Keys(w.slices)) {
		s := w.slices[name]
		if s.AddressType != kind || len(s.Endpoints) == 0 {
			continue
		}
		number, err := w.portOf(s)
		if err != nil {
			mistake = err.Error()
			continue
		}
		for _, e := range s.Endpoints {
			if len(e.Addresses) == 0 || e.Conditions.Terminating != nil && *e.Conditions.Terminating {
				continue
			}
			m := covey.Member{URL: w.Scheme + "://" + net.JoinHostPort(e.Addresses[0], number) + w.Path}
			if w.PodNames {
				if e.TargetRef == nil || e.TargetRef.Name == "" {
					mistake = fmt.Sprintf("slice %q: the endpoint %s has no pod whose name it could go by", name, e.Addresses[0])
					continue
				}
				m.Name = e.TargetRef.Name
			}
			if e.Zone != nil {
				m.Zone = *e.Zone
			}
			members = append(members, m)
		}
	}
	slices.SortFunc(members, func(a, b covey.Member) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.URL, b.URL))
	})
	members = slices.CompactFunc(members, func(a, b covey.Member) bool { return a.Name == b.Name && a.URL == b.URL })
	return members, mistake
}

// has reports whether there are endpoints with addresses of that kind.
func (w *watch) has(kind string) bool {
	for _, s := range w.slices {
		if s.AddressType == kind && len(s.Endpoints) > 0 {
			return true
		}
	}
	return false
}

// portOf returns the number of the port at which the endpoints of a slice are reached.
func (w *watch) portOf(s *slice) (string, error) {
	var names []string
	for _, p := range s.Ports {
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		if p.Port != nil && (name == w.Port || w.Port == "" && len(s.Ports) == 1) {
			return strconv.Itoa(int(*p.Port)), nil
		}
		names = append(names, strconv.Quote(name))
	}
	return "", fmt.Errorf("slice %q has no port %q, but %s: set Options.Port", s.Metadata.Name, w.Port, strings.Join(names, ", "))
}
