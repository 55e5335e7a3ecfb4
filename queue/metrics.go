// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are views of the counts, computed when they are read.
type metrics struct {
	q       *Queue
	waiting *prometheus.Desc
	allowed *prometheus.Desc
	used    *prometheus.Desc
}

func newMetrics(reg prometheus.Registerer, q *Queue) {
	m := &metrics{
		q: q,
		waiting: prometheus.NewDesc("segue_queue_recipients",
			"Recipients in the queue. A growing number of state=waiting at one provider: look at segue queue why.",
			[]string{"state", "tier", "provider"}, nil), // state: waiting, held, in_flight
		allowed: prometheus.NewDesc("segue_warmup_allowed",
			"Recipients a source may reach today at a provider in warm-up.", []string{"source", "provider"}, nil),
		used: prometheus.NewDesc("segue_warmup_used",
			"Recipients charged today against the warm-up budget of a source at a provider.", []string{"source", "provider"}, nil),
	}
	if reg != nil {
		reg.MustRegister(m)
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.waiting
	ch <- m.allowed
	ch <- m.used
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	type key struct{ tier, provider string }
	sums := make(map[key]Count)
	for _, l := range m.q.Lanes() {
		k := key{l.Tier, orOther(l.Provider)}
		t := sums[k]
		t.Waiting += l.Waiting
		t.Held += l.Held
		t.InFlight += l.InFlight
		sums[k] = t
	}
	for k, n := range sums {
		for state, v := range map[string]int{"waiting": n.Waiting, "held": n.Held, "in_flight": n.InFlight} {
			ch <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(v), state, k.tier, k.provider)
		}
	}
	for _, b := range m.q.BudgetsToday() {
		if b.Key.Source != "" {
			ch <- prometheus.MustNewConstMetric(m.allowed, prometheus.GaugeValue, float64(b.Allowed), b.Key.Source, b.Key.Provider)
			ch <- prometheus.MustNewConstMetric(m.used, prometheus.GaugeValue, float64(b.Used), b.Key.Source, b.Key.Provider)
		}
	}
}

func orOther(provider string) string {
	if provider == "" {
		return "other"
	}
	return provider
}
