package k8s

// k8s.go is the discovery: a list of the service's slices, and then what changes in it.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coveycache/covey"
)

// Options are for [Service].
type Options struct {
	// Service is the name of the service whose endpoints are the members. It is required. Whether
	// the service is headless makes no difference.
	Service string
	// Namespace is the service's. Default: that of this pod.
	Namespace string
	// Port is the name of the port, as the service has it, at which the group is mounted. It may be
	// empty if the service has one port only.
	Port string
	// Scheme is http, the default, or https.
	Scheme string
	// Path is where the group is mounted. Default: covey.DefaultPath.
	Path string
	// PodNames has members go by the names of their pods, which a StatefulSet's keep over a restart,
	// and with them their keys. GroupOptions.Name has to be the pod's name then (metadata.name by
	// the downward API). Default: a member's name is its URL.
	PodNames bool
	// IPv6 takes the members' IPv6 addresses where a service has both kinds. GroupOptions.Self has
	// to be of the same kind.
	IPv6 bool

	// API is the URL of the API server. Default: that of the cluster in which this process is a pod.
	API string
	// Client sends the requests; it has to authenticate them. It must have no Timeout, as answers go
	// on for minutes. Default: a client with the certificates and the token of the pod's service
	// account, which are read again as they change.
	Client *http.Client
	// Logger takes warnings. Default: slog.Default().
	Logger *slog.Logger
}

// Service returns a covey.Discovery with the endpoints of a service: those that are ready and those
// that are not yet, but none that are terminating. The zone of a member is its endpoint's. Mistakes
// in the options, and a process that is in no cluster, are reported in one error.
//
// If the API server cannot be asked, or refuses, Watch returns that as an error, and the group tries
// again later and keeps the list that it has. Once there was a member, an empty list counts as a
// mistake, such as of a selector: it is logged and not passed on.
func Service(o Options) (covey.Discovery, error) {
	var errs []error
	if o.Service == "" {
		errs = append(errs, errors.New("k8s: Options.Service is empty"))
	}
	switch o.Scheme {
	case "":
		o.Scheme = "http"
	case "http", "https":
	default:
		errs = append(errs, fmt.Errorf("k8s: Options.Scheme is %q, neither http nor https", o.Scheme))
	}
	if o.Path == "" {
		o.Path = covey.DefaultPath
	}
	if !strings.HasPrefix(o.Path, "/") {
		errs = append(errs, fmt.Errorf("k8s: Options.Path is %q, which does not begin with a slash", o.Path))
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	err := o.fromCluster()
	if errs = append(errs, err); errors.Join(errs...) != nil {
		return nil, errors.Join(errs...)
	}
	return &service{o}, nil
}

type service struct{ Options }

const (
	// watchFor is for how long the server is asked to answer one watch, and up to half as long again,
	// so that not all pods ask at once.
	watchFor = 4 * time.Minute
	// overdue is how much later than it was to the answer may end.
	overdue = 15 * time.Second
	// again is the pause before a list or a watch that follows one too soon.
	again = time.Second
)

// Watch implements covey.Discovery.
func (s *service) Watch(ctx context.Context, update func([]covey.Member)) error {
	client := s.Client
	if client == nil {
		var err error
		if client, err = clusterClient(); err != nil {
			return err
		}
		defer client.CloseIdleConnections()
	}
	w := &watch{service: s, client: client, update: update}
	for {
		// 1. The whole list. Whatever goes wrong with it is for the group to log.
		if err := w.list(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		// 2. What changes in it, as long as the server knows where we are.
		for {
			began := time.Now()
			err := w.follow(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if time.Since(began) < again && !pause(ctx, again) {
				return nil
			}
			if err != nil {
				s.Logger.Info("covey: the watch of a service's endpoints has ended, listing them again", "service", s.Service, "err", err)
				break
			}
		}
	}
}

// pause waits, and reports whether ctx still lasts.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A watch is what one call of Watch knows.
type watch struct {
	*service
	client  *http.Client
	update  func([]covey.Member)
	slices  map[string]*slice
	version string // of the last change that is in slices
	told    []covey.Member
	asked   bool // update has been called
	warned  string
}

// list makes slices what the server has.
func (w *watch) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	all := make(map[string]*slice)
	query := url.Values{"limit": {"500"}}
	for {
		var page sliceList
		body, err := w.get(ctx, query)
		if err == nil {
			err = decode(body, &page)
		}
		if err != nil {
			return w.failed("list", err)
		}
		for i := range page.Items {
			all[page.Items[i].Metadata.Name] = &page.Items[i]
		}
		if w.version = page.Metadata.ResourceVersion; page.Metadata.Continue == "" {
			break
		}
		query.Set("continue", page.Metadata.Continue)
	}
	w.slices = all
	w.tell()
	return nil
}

// follow applies changes until the server ends its answer. An error says that the list has to be
// asked for again.
func (w *watch) follow(ctx context.Context) error {
	lasts := watchFor + rand.N(watchFor/2)
	ctx, cancel := context.WithTimeout(ctx, lasts+overdue)
	defer cancel()
	body, err := w.get(ctx, url.Values{
		"watch": {"1"}, "allowWatchBookmarks": {"true"},
		"resourceVersion": {w.version}, "timeoutSeconds": {fmt.Sprint(int(lasts.Seconds()))},
	})
	if err != nil {
		return w.failed("watch", err)
	}
	defer body.Close()
	events := newEvents(body)
	for {
		e, err := events.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil // its time is over
		case err != nil:
			return w.failed("watch", err)
		}
		switch e.Type {
		case "ADDED", "MODIFIED":
			w.slices[e.slice.Metadata.Name] = &e.slice
		case "DELETED":
			delete(w.slices, e.slice.Metadata.Name)
		case "BOOKMARK":
		case "ERROR":
			return w.failed("watch", &e.status)
		default:
			continue
		}
		w.version = e.slice.Metadata.ResourceVersion
		w.tell()
	}
}

// get sends a request for the service's slices.
func (w *watch) get(ctx context.Context, query url.Values) (io.ReadCloser, error) {
	query.Set("labelSelector", "kubernetes.io/service-name="+w.Service)
	u := fmt.Sprintf("%s/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices?%s",
		strings.TrimSuffix(w.API, "/"), url.PathEscape(w.Namespace), query.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp.Body, nil
}

func (w *watch) failed(what string, err error) error {
	return fmt.Errorf("k8s: %s of the endpointslices of service %q in namespace %q: %w", what, w.Service, w.Namespace, err)
}

// tell passes on the members, if they have changed.
func (w *watch) tell() {
	members, mistake := w.members()
	if mistake != "" && mistake != w.warned {
		w.Logger.Warn("covey: some endpoints of the service cannot be members", "service", w.Service, "err", mistake)
	}
	w.warned = mistake
	if len(members) == 0 && len(w.told) > 0 {
		w.Logger.Warn("covey: the service has no endpoints any more, keeping the last list of members", "service", w.Service)
		return
	}
	if w.asked && slices.Equal(members, w.told) {
		return
	}
	w.asked, w.told = true, members
	w.update(slices.Clone(members))
}
