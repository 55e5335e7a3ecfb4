// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/reputation/breaker"
)

// standings shows what rules and breakers have in force; it is computed when it is read.
// Labels are names of the configuration: import batches and campaigns, of which there may
// be any number, are counted and not named.
type standings struct {
	e         *Engine
	suspended *prometheus.Desc
	rate      *prometheus.Desc
	segment   *prometheus.Desc
	cohorts   *prometheus.Desc
}

func newStandings(e *Engine) *standings {
	return &standings{
		e: e,
		suspended: prometheus.NewDesc("segue_throttle_suspended",
			"1 while rules or an operator let nothing leave from a source at a provider: segue provider show.", []string{"source", "provider"}, nil),
		rate: prometheus.NewDesc("segue_throttle_rate",
			"Recipients a second that rules or an operator allow a source at a provider; absent where the normal rate holds.", []string{"source", "provider"}, nil),
		segment: prometheus.NewDesc("segue_breaker_state",
			"Whether marketing mail to a segment goes: 0 it does, 1 a part is tried (half-open, canary), 2 it is held by evidence (open, canary failed), 3 it is held by hand.",
			[]string{"segment"}, nil),
		cohorts: prometheus.NewDesc("segue_breaker_cohorts",
			"Import batches and campaigns whose mail does not just go: segue health names them.", []string{"kind", "state"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (s *standings) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.suspended, s.rate, s.segment, s.cohorts} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *standings) Collect(ch chan<- prometheus.Metric) {
	for p, l := range s.e.throttles.inForce() {
		held, rate := 0., l.Rate
		if l.Suspended {
			held, rate = 1, 0
		}
		ch <- prometheus.MustNewConstMetric(s.suspended, prometheus.GaugeValue, held, p.source, other(p.provider))
		if l.Suspended || rate > 0 {
			ch <- prometheus.MustNewConstMetric(s.rate, prometheus.GaugeValue, rate, p.source, other(p.provider))
		}
	}
	segments := make(map[string]float64)
	for _, x := range s.e.c.Segments {
		segments[x.Name] = 0
	}
	cohorts := make(map[[2]string]float64)
	for _, kind := range []breaker.Kind{breaker.Batch, breaker.Campaign} {
		for _, state := range []string{stateHalfOpen, stateCanary, stateOpen, stateRefused, stateHeld, stateOverridden} {
			cohorts[[2]string{string(kind), state}] = 0
		}
	}
	for _, x := range s.e.breakers.known() {
		state := stateOf(x)
		if _, ok := segments[x.Name]; ok && x.Kind == breaker.Segment {
			segments[x.Name] = stateNumber(state)
		}
		if k := [2]string{string(x.Kind), state}; x.Kind != breaker.Segment && state != stateClosed {
			cohorts[k]++
		}
	}
	for name, n := range segments {
		ch <- prometheus.MustNewConstMetric(s.segment, prometheus.GaugeValue, n, name)
	}
	for k, n := range cohorts {
		ch <- prometheus.MustNewConstMetric(s.cohorts, prometheus.GaugeValue, n, k[0], k[1])
	}
}

// stateNumber is a cohort's state as the metric has it.
func stateNumber(state string) float64 {
	switch state {
	case stateHalfOpen, stateCanary:
		return 1
	case stateOpen, stateRefused:
		return 2
	case stateHeld:
		return 3
	}
	return 0
}

// inForce is what the queue was told of sources at providers.
func (t *throttles) inForce() map[pair]schedule.Limit {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.limits)
}
