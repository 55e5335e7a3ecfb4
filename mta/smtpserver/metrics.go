// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	connections *prometheus.GaugeVec
	refused     *prometheus.CounterVec
	ended       *prometheus.CounterVec
	cut         *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, purpose string) (*metrics, error) {
	r := registrar{reg: reg}
	m := &metrics{
		connections: register(&r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "segue_smtp_connections",
			Help: "Client connections open now. At max_connections further clients are told 421.",
		}, []string{"purpose"})),
		refused: register(&r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_smtp_connections_refused_total",
			Help: "Connections turned away with 421 in the banner's place.",
		}, []string{
			"purpose",
			"reason", // total, address, draining
		})),
		ended: register(&r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_smtp_connections_ended_total",
			Help: "Connections that we ended for what the client did. line_end and nul are broken clients or smuggling.",
		}, []string{
			"purpose",
			"reason", // timeout, line_end, nul, long_command, too_much, http, unsynchronised, errors, idle_commands
		})),
		cut: register(&r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_smtp_cut_total",
			Help: "Transactions that did not finish within the time that a shutdown gives; their clients try again.",
		}, []string{"purpose"})),
	}
	m.connections.WithLabelValues(purpose)
	m.cut.WithLabelValues(purpose)
	return m, errors.Join(r.errs...)
}

type registrar struct {
	reg  prometheus.Registerer // may be nil
	errs []error
}

// register adds a collector, or returns the equal one that another listener added.
func register[T prometheus.Collector](r *registrar, c T) T {
	if r.reg == nil {
		return c
	}
	err := r.reg.Register(c)
	if dup, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if old, ok := dup.ExistingCollector.(T); ok {
			return old
		}
	}
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("registering a metric: %w", err))
	}
	return c
}
