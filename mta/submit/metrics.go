// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	seconds *prometheus.HistogramVec
	logins  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "segue_accept_seconds",
			Help:    "Time from the last octet of a submitted message to our reply. It is mostly the synced commit: where it grows, look at the disk.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{
			"result", // accepted, refused (5xx), deferred (4xx)
		}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_logins_total",
			Help: "AUTH attempts at submission. A rise of failed ones is a wrong password in an application, or someone who guesses; limited ones were refused unchecked, after too many failures.",
		}, []string{
			"result", // ok, failed, limited
		}),
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	m.seconds = adopt(reg, m.seconds, &errs)
	m.logins = adopt(reg, m.logins, &errs)
	return m, errors.Join(errs...)
}

// adopt registers a collector, or takes the equal one of another listener.
func adopt[T prometheus.Collector](reg prometheus.Registerer, c T, errs *[]error) T {
	err := reg.Register(c)
	if dup, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if old, ok := dup.ExistingCollector.(T); ok {
			return old
		}
	}
	if err != nil {
		*errs = append(*errs, fmt.Errorf("registering a metric: %w", err))
	}
	return c
}

func (m *metrics) observe(result string, d time.Duration) {
	m.seconds.WithLabelValues(result).Observe(d.Seconds())
}
