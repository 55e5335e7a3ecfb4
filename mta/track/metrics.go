// SPDX-License-Identifier: Apache-2.0

package track

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	events  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// Results of an event.
const (
	accepted = "accepted" // durable, or seen before
	rejected = "rejected" // named to the client
	limited  = "limited"  // 429, comes again
	failed   = "failed"   // 503, comes again
)

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_tracking_events_total",
			Help: "Events of the tracking API, each time that they came. Rejected ones are lost, the client was told why; limited and failed ones come again.",
		}, []string{
			"kind",   // identify, track, page, screen, group, alias, unknown
			"result", // accepted, rejected, limited, failed
		}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "segue_tracking_seconds",
			Help:    "Time from the last octet of a request of the tracking API to our answer. It is mostly the synced commit: where it grows, look at the disk.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{
			"status", // of HTTP
		}),
	}
	if reg == nil {
		return m, nil
	}
	if err := errors.Join(reg.Register(m.events), reg.Register(m.seconds)); err != nil {
		return nil, fmt.Errorf("registering a metric: %w", err)
	}
	return m, nil
}

func (m *metrics) count(kind Kind, result string) {
	if kind == "" {
		kind = "unknown"
	}
	m.events.WithLabelValues(string(kind), result).Inc()
}

func (m *metrics) answered(status int, took time.Duration) {
	m.seconds.WithLabelValues(strconv.Itoa(status)).Observe(took.Seconds())
}
