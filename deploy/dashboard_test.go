// SPDX-License-Identifier: Apache-2.0

package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is the first set of the engine's metrics, with their labels. The
// dashboard shows them all.
const metrics = `
segue_recipients_total          result stream provider
segue_segment_recipients_total  result segment tier
segue_queue_recipients          state tier provider
segue_warmup_allowed            source provider
segue_warmup_used               source provider
segue_stage                     source provider
segue_suppressions_total        reason
segue_accept_seconds
segue_delivery_seconds          provider
segue_sign_seconds              backend
`

// alerted names metrics that only the alerts read: what they count happens
// rarely, so a dashboard would show nothing.
const alerted = "segue_overdraft_total segue_contact_events_total segue_clock_frozen segue_disk_free_bytes segue_disk_min_free_bytes segue_store_failing segue_store_slow_syncs_total segue_segment_disagreements_total segue_provider_outage segue_complaints_overdue segue_breaker_state segue_breaker_cohorts segue_throttle_suspended"

// labels returns the labels of each metric.
func labels() map[string][]string {
	table := map[string][]string{}
	for line := range strings.Lines(metrics) {
		if words := strings.Fields(line); len(words) > 0 {
			table[words[0]] = words[1:]
		}
	}
	return table
}

// A pages maps the name of a page to scrape to the function that serves it for
// the length of a test and returns its host:port.
type pages map[string]func(t *testing.T) string

// TestDashboardHasData evaluates every query of the dashboard in a Prometheus
// that scrapes a live page. To hold the dashboard to another program, name the
// function that starts it here.
func TestDashboardHasData(t *testing.T) {
	t.Parallel()
	for name, start := range (pages{"sample": samplePage, "engine": enginePage}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := runPrometheus(t, start(t))
			queries := dashboardQueries(t)
			eventually(t, 60*time.Second, func(ctx context.Context) error {
				var lacking []error
				for title, expr := range queries {
					err := p.hasData(ctx, title, expr)
					if err == nil {
						delete(queries, title)
					}
					lacking = append(lacking, err)
				}
				return errors.Join(lacking...)
			})
		})
	}
}

// TestDashboardCanLackData shows that the check above sees a query without data.
func TestDashboardCanLackData(t *testing.T) {
	t.Parallel()
	p := runPrometheus(t, samplePage(t))
	eventually(t, 30*time.Second, func(ctx context.Context) error { return p.hasData(ctx, "up", "up == 1") })
	for _, expr := range []string{`segue_no_such_metric`, `segue_stage{provider="nobody"}`, `segue_stage / 0 - segue_stage / 0`, `sum(`} {
		if err := p.hasData(t.Context(), "bad", expr); err == nil {
			t.Errorf("%s: found to have data", expr)
		}
	}
}

// hasData says what is wrong with the answer to a query: nothing is right only
// where at least one series has a number.
func (p prometheus) hasData(ctx context.Context, title, expr string) error {
	samples, err := p.query(ctx, expr)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", title, expr, err)
	}
	if !slices.ContainsFunc(samples, func(s sample) bool { return s.number() != "NaN" }) {
		return fmt.Errorf("%s: %s: no data in %d series", title, expr, len(samples))
	}
	return nil
}

// dashboardQueries returns the queries of the dashboard by the title of their
// panel, with the variables filled in as Grafana does for "All".
func dashboardQueries(t *testing.T) map[string]string {
	t.Helper()
	var board struct {
		Panels []struct {
			Title   string `json:"title"`
			Type    string `json:"type"`
			Targets []struct {
				RefID string `json:"refId"`
				Expr  string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
		Templating struct {
			List []struct {
				Name  string          `json:"name"`
				Type  string          `json:"type"`
				Query json.RawMessage `json:"query"`
			} `json:"list"`
		} `json:"templating"`
		Annotations struct {
			List []struct {
				Name string `json:"name"`
				Expr string `json:"expr"`
			} `json:"list"`
		} `json:"annotations"`
	}
	if err := json.Unmarshal([]byte(read(t, "grafana/overview.json")), &board); err != nil {
		t.Fatalf("reading the dashboard: %v", err)
	}
	queries := map[string]string{}
	for _, panel := range board.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %q asks nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			queries[panel.Title+" "+target.RefID] = filled(target.Expr)
		}
	}
	values := regexp.MustCompile(`label_values\((.*}), *([a-z]+)\)`)
	for _, variable := range board.Templating.List {
		if variable.Type != "query" {
			continue
		}
		var query struct {
			Query string `json:"query"`
		}
		if err := json.Unmarshal(variable.Query, &query); err != nil {
			t.Fatalf("variable %s: %v", variable.Name, err)
		}
		match := values.FindStringSubmatch(query.Query)
		if match == nil {
			t.Fatalf("variable %s: %q is no label_values(series{...}, label)", variable.Name, query.Query)
		}
		queries["variable "+variable.Name] = strings.TrimSuffix(match[1], "}") + ", " + match[2] + `!=""}`
	}
	for _, annotation := range board.Annotations.List {
		queries["annotation "+annotation.Name] = filled(annotation.Expr)
	}
	if len(queries) < 20 {
		t.Fatalf("only %d queries found: the dashboard has another form than this test knows", len(queries))
	}
	return queries
}

// filled replaces the variables of a query. Prometheus scrapes each second
// here, so short ranges hold enough.
func filled(expr string) string {
	return strings.NewReplacer("$__rate_interval", "30s", "$__range", "5m",
		"$instance", ".*", "$provider", ".*", "$stream", ".*").Replace(expr)
}

// TestMetricNames holds the dashboard and the alerts to the metrics of the
// engine, and the dashboard to all of them.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`\bsegue_[a-z_]+`)
	known := labels()
	used := map[string]bool{}
	for _, file := range []string{"grafana/overview.json", "prometheus/alerts.yml"} {
		for _, match := range name.FindAllString(read(t, file), -1) {
			match = strings.TrimSuffix(strings.TrimSuffix(match, "_bucket"), "_count")
			if _, ok := known[match]; !ok && !slices.Contains(strings.Fields(alerted), match) {
				t.Errorf("%s: the engine has no metric %s", file, match)
			}
			used[match] = used[match] || file == "grafana/overview.json"
		}
	}
	for metric := range known {
		if !used[metric] {
			t.Errorf("grafana/overview.json does not show %s", metric)
		}
	}
}

// samplePage serves the metrics of the design with values that move at each
// scrape, as an engine under load would.
func samplePage(t *testing.T) string {
	t.Helper()
	registry := client.NewPedanticRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	move := sampleMetrics(registry)
	page := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		move()
		page.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// sampleMetrics registers the metrics and returns a function that moves them.
func sampleMetrics(registry *client.Registry) func() {
	values := map[string][]string{
		"result": {"accepted", "delivered", "deferred", "bounced"}, "stream": {"transactional", "marketing"},
		"provider": {"google", "other"}, "segment": {"trial", ""}, "tier": {"active", "dormant"}, "state": {"waiting", "held"},
		"source": {"a1"}, "reason": {"hard_bounce", "complaint"}, "backend": {"rsa"},
	}
	var moves []func()
	table := labels()
	for _, name := range slices.Sorted(maps.Keys(table)) {
		add := adder(registry, name, table[name])
		for _, set := range combinations(table[name], values) {
			moves = append(moves, func() { add(set) })
		}
	}
	return func() {
		for _, move := range moves {
			move()
		}
	}
}

// adder registers one metric, of the type that its name tells, and returns a
// function that moves one of its series.
func adder(registry *client.Registry, name string, labels []string) func([]string) {
	switch {
	case strings.HasSuffix(name, "_total"):
		v := client.NewCounterVec(client.CounterOpts{Name: name, Help: name}, labels)
		registry.MustRegister(v)
		return func(set []string) { v.WithLabelValues(set...).Add(3) }
	case strings.HasSuffix(name, "_seconds"):
		v := client.NewHistogramVec(client.HistogramOpts{Name: name, Help: name}, labels)
		registry.MustRegister(v)
		return func(set []string) { v.WithLabelValues(set...).Observe(0.02) }
	default:
		v := client.NewGaugeVec(client.GaugeOpts{Name: name, Help: name}, labels)
		registry.MustRegister(v)
		return func(set []string) { v.WithLabelValues(set...).Set(40) }
	}
}

// combinations returns every set of values of the labels.
func combinations(labels []string, values map[string][]string) [][]string {
	sets := [][]string{nil}
	for _, label := range labels {
		var longer [][]string
		for _, set := range sets {
			for _, value := range values[label] {
				longer = append(longer, append(slices.Clone(set), value))
			}
		}
		sets = longer
	}
	return sets
}
