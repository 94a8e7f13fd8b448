// Command grafana writes the dashboard of the metrics that promcovey exports, as JSON for Grafana:
//
//	go run ./internal/grafana >grafana.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

func main() {
	if _, err := os.Stdout.Write(dashboard()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A panel shows queries over time. In them C stands for the series of the caches that are chosen, G
// for those of the groups, and R for the time over which rates are taken.
type panel struct {
	title string
	about string
	unit  string // Grafana's name of it; "" = a number
	stack bool
	lines []line
}

type line struct{ query, legend string }

// A row has a title and up to three panels beside each other.
type row struct {
	title  string
	panels []panel
}

const perSecond = "ops"

var rows = []row{
	{"Requests", []panel{
		{"Requests by where the answer came from", "hit: what this process owns; hit_l1: a copy of another's key; hit_peer: the owner had it; hit_replica: another had it; stale: over, but served; negative: known not to be there; miss: it had to be loaded.", perSecond, true,
			[]line{{`sum by (result) (rate(covey_requests_total{C}[R]))`, "{{result}}"}}},
		{"Answered without a load", "The part of the requests that needed no load of their own.", "percentunit", false,
			[]line{{`1 - sum by (cache) (rate(covey_requests_total{C,result="miss"}[R])) / sum by (cache) (rate(covey_requests_total{C}[R]))`, "{{cache}}"}}},
		{"Writes", "Unconfirmed: it is not known whether they took effect everywhere.", perSecond, false, []line{
			{`sum(rate(covey_puts_total{C}[R]))`, "puts"}, {`sum(rate(covey_deletes_total{C}[R]))`, "deletes"},
			{`sum(rate(covey_writes_unconfirmed_total{C}[R]))`, "unconfirmed"}}},
	}},
	{"Origin", []panel{
		{"Loads by result", "", perSecond, true, []line{
			{`sum by (result) (rate(covey_loads_total{C}[R]))`, "{{result}}"},
			{`sum by (reason) (rate(covey_loads_refused_total{C}[R]))`, "refused: {{reason}}"}}},
		{"How long loads take", "", "s", false, []line{
			{`histogram_quantile(0.5, sum by (le) (rate(covey_load_duration_seconds_bucket{C}[R])))`, "median"},
			{`histogram_quantile(0.99, sum by (le) (rate(covey_load_duration_seconds_bucket{C}[R])))`, "99 %"}}},
		{"Load spared and load in the background", "", perSecond, false, []line{
			{`sum(rate(covey_loads_coalesced_total{C}[R]))`, "waited for another's load"}, {`sum(rate(covey_refreshes_total{C}[R]))`, "refreshes"},
			{`sum(rate(covey_refreshes_skipped_total{C}[R]))`, "refreshes skipped"}, {`sum(rate(covey_soft_timeouts_total{C}[R]))`, "stale since a load was slow"},
			{`sum(rate(covey_fills_discarded_total{C}[R]))`, "loaded but not stored"}}},
		{"Loads in progress", "", "", false, []line{{`sum by (cache) (covey_loads_in_flight{C})`, "{{cache}}"}}},
		{"Breakers open", "Processes whose breaker lets no loads through, or only probes.", "", false,
			[]line{{`sum by (cache, state) (covey_breaker_state{C,state!="closed"})`, "{{cache}}: {{state}}"}}},
	}},
	{"Memory", []panel{
		{"Bytes", "", "bytes", false, []line{
			{`sum by (cache) (covey_bytes{C} + covey_l1_bytes{C})`, "{{cache}}"}, {`sum by (cache) (covey_capacity_bytes{C})`, "{{cache}}: bound"},
			{`sum by (cache) (covey_replica_bytes{C})`, "{{cache}}: replicas"}}},
		{"Entries", "", "", false, []line{
			{`sum by (cache) (covey_entries{C})`, "{{cache}}"}, {`sum by (cache) (covey_l1_entries{C})`, "{{cache}}: copies"},
			{`sum by (cache) (covey_replicas{C})`, "{{cache}}: replicas"}, {`sum by (cache) (covey_capacity_entries{C} > 0)`, "{{cache}}: bound"}}},
		{"What leaves", "Evictions of live entries tell that the cache is small for its load.", perSecond, false, []line{
			{`sum(rate(covey_evictions_total{C}[R]))`, "evicted"}, {`sum(rate(covey_expirations_total{C}[R]))`, "expired"}, {`sum(rate(covey_too_large_total{C}[R]))`, "too large"}}},
	}},
	{"Group", []panel{
		{"Members and those that may act", "", "", false, []line{
			{`max(covey_group_members{G})`, "members"}, {`sum(covey_group_acting{G})`, "may act"}, {`sum(covey_group_settled{G})`, "have settled"}}},
		{"Views", "Changes of the members, and how many different views there are, which is 1 but for moments.", "", false, []line{
			{`sum(changes(covey_group_view_epoch{G}[R])) / count(covey_group_view_epoch{G})`, "changes"},
			{`count(count_values("epoch", covey_group_view_epoch{G}))`, "views"}}},
		{"Peers not linked", "As each process sees them.", "", false, []line{{`count by (self) (covey_peer_up{G} == 0 and on (self, peer) covey_peer_self{G} == 0)`, "{{self}}"}}},
		{"Round trips", "", "s", false, []line{{`max by (peer) (covey_peer_round_trip_seconds{G})`, "{{peer}}"}}},
		{"Share of the keys", "", "percentunit", false, []line{{`max by (peer) (covey_peer_share_ratio{G})`, "{{peer}}"}}},
		{"Between peers", "", perSecond, false, []line{
			{`sum(rate(covey_served_total{C}[R]))`, "answered"}, {`sum(rate(covey_peer_errors_total{C}[R]))`, "asked in vain"},
			{`sum(rate(covey_not_owner_total{C}[R]))`, "not the owner"}, {`sum(rate(covey_loans_total{C}[R]))`, "copies lent"}, {`sum(rate(covey_recalls_total{C}[R]))`, "copies recalled"}}},
		{"Deletions that go on", "Keys whose deletion could not be confirmed.", "", false, []line{{`sum by (self) (covey_group_writes_pursued{G})`, "{{self}}"}}},
	}},
	{"Replicas, changes, restarts", []panel{
		{"Replicas", "", perSecond, false, []line{
			{`sum(rate(covey_replicas_sent_total{C}[R]))`, "sent"}, {`sum(rate(covey_replicas_refused_total{C}[R]))`, "refused"},
			{`sum(rate(covey_replicas_missed_total{C}[R]))`, "to be sent later"}, {`sum(rate(covey_replica_reads_total{C}[R]))`, "read"}}},
		{"Hedges and peeks", "", perSecond, false, []line{
			{`sum(rate(covey_hedges_total{C}[R]))`, "hedges"}, {`sum(rate(covey_hedges_won_total{C}[R]))`, "hedges that were faster"},
			{`sum(rate(covey_peeks_total{C}[R]))`, "peeks"}, {`sum(rate(covey_peeks_hit_total{C}[R]))`, "peeks that spared a load"}}},
		{"Age of the last snapshot", "", "s", false, []line{{`max by (cache) (time() - (covey_snapshot_timestamp_seconds{C} > 0))`, "{{cache}}"}}},
	}},
}

func dashboard() []byte {
	type dict = map[string]any
	var panels []dict
	y := 0
	id := 0
	next := func() int { id++; return id }
	for _, r := range rows {
		panels = append(panels, dict{"id": next(), "type": "row", "title": r.title, "collapsed": false, "panels": []any{}, "gridPos": dict{"x": 0, "y": y, "w": 24, "h": 1}})
		y++
		for i, p := range r.panels {
			var targets []dict
			for k, l := range p.lines {
				targets = append(targets, dict{"refId": string(rune('A' + k)), "expr": expand(l.query), "legendFormat": l.legend, "datasource": source})
			}
			stacking := "none"
			if p.stack {
				stacking = "normal"
			}
			panels = append(panels, dict{
				"id": next(), "type": "timeseries", "title": p.title, "description": p.about, "datasource": source, "targets": targets,
				"gridPos":     dict{"x": i % 3 * 8, "y": y + i/3*8, "w": 8, "h": 8},
				"fieldConfig": dict{"defaults": dict{"unit": p.unit, "min": 0, "custom": dict{"stacking": dict{"mode": stacking}, "fillOpacity": 10}}, "overrides": []any{}},
				"options":     dict{"legend": dict{"displayMode": "list", "placement": "bottom"}, "tooltip": dict{"mode": "multi"}},
			})
		}
		y += (len(r.panels) + 2) / 3 * 8
	}
	variable := func(name, label, query string) dict {
		return dict{"name": name, "label": label, "type": "query", "datasource": source, "query": query, "definition": query, "refresh": 2, "multi": true, "includeAll": true, "allValue": ".*", "current": dict{"text": "All", "value": "$__all"}}
	}
	b, err := json.MarshalIndent(dict{
		"title": "Covey", "uid": "covey", "tags": []string{"covey", "cache"}, "schemaVersion": 39, "editable": true, "refresh": "30s",
		"time": dict{"from": "now-1h", "to": "now"}, "panels": panels,
		"templating": dict{"list": []dict{
			{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
			variable("instance", "Process", "label_values(covey_entries, instance)"),
			variable("cache", "Cache", `label_values(covey_entries{instance=~"$instance"}, cache)`),
		}},
	}, "", " ")
	if err != nil {
		panic(err) // it is made of plain values
	}
	return append(b, '\n')
}

var source = map[string]any{"type": "prometheus", "uid": "${datasource}"}

// expand puts in what stands for C, G and R.
func expand(query string) string {
	return strings.NewReplacer(`{C}`, `{instance=~"$instance",cache=~"$cache"}`, `{C,`, `{instance=~"$instance",cache=~"$cache",`,
		`{G}`, `{instance=~"$instance"}`, `[R]`, `[$__rate_interval]`).Replace(query)
}
