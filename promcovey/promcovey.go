// Package promcovey exports the statistics of covey's caches and groups as Prometheus metrics. Beside
// it are grafana.json, a dashboard for Grafana, and alerts.yml, rules for Prometheus, to be copied.
package promcovey

// promcovey.go is the collector: what it exports is read when Prometheus asks, and at no other time.

import (
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coveycache/covey"
)

// A Cache is a *covey.Cache[V] of any V.
type Cache interface {
	Name() string
	Stats() covey.Stats
}

// Options are for [New].
type Options struct {
	// ConstLabels are added to every metric.
	ConstLabels prometheus.Labels
	// NativeHistograms exports durations as native histograms, with four buckets for each doubling.
	// Default: classic ones, with one bucket for each factor of four, exact at the buckets' ends.
	NativeHistograms bool
}

// A Collector is a prometheus.Collector of any number of caches and groups. Its methods are safe for
// concurrent use.
type Collector struct {
	native bool
	d      descs

	mu     sync.Mutex
	caches []Cache
	groups []*covey.Group
}

// New returns a collector that has nothing to collect yet. Register it once, with
// prometheus.MustRegister or in a registry of its own.
func New(o Options) *Collector {
	return &Collector{native: o.NativeHistograms, d: newDescs(o.ConstLabels)}
}

// AddCache has a cache's statistics exported, with its name as the label cache. It returns an error
// if there is one of that name already.
func (c *Collector) AddCache(cache Cache) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, old := range c.caches {
		if old.Name() == cache.Name() {
			return fmt.Errorf("promcovey: there is a cache %q already", cache.Name())
		}
	}
	c.caches = append(c.caches, cache)
	return nil
}

// RemoveCache ends what AddCache began, for a cache that is closed. The series of that name end.
func (c *Collector) RemoveCache(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.caches = slices.DeleteFunc(c.caches, func(old Cache) bool { return old.Name() == name })
}

// AddGroup has a group's statistics exported, with this process's name in it as the label self, and
// those of its peers, each with its name as the label peer. When a peer leaves the group its series
// end. It returns an error if there is a group of that name already.
func (c *Collector) AddGroup(g *covey.Group) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, old := range c.groups {
		if old.Name() == g.Name() {
			return fmt.Errorf("promcovey: there is a group in which this process is %q already", g.Name())
		}
	}
	c.groups = append(c.groups, g)
	return nil
}

// RemoveGroup ends what AddGroup began.
func (c *Collector) RemoveGroup(g *covey.Group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.groups = slices.DeleteFunc(c.groups, func(old *covey.Group) bool { return old == g })
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.d.all {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	caches, groups := slices.Clone(c.caches), slices.Clone(c.groups)
	c.mu.Unlock()
	for _, one := range caches {
		c.collectCache(ch, one.Name(), one.Stats())
	}
	for _, g := range groups {
		c.collectGroup(ch, g)
	}
}
