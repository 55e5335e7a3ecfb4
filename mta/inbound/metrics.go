// SPDX-License-Identifier: Apache-2.0

package inbound

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	messages *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{messages: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "segue_feedback_total",
		Help: "Mail at the feedback listener. Much forged is someone who makes bounces up, or tokens of a lost signing key; much relay is someone who looks for an open relay.",
	}, []string{
		"result", // bounce, report, unsubscribe, role; failed (told 451 or 554); refused: unknown, forged, expired, later_version, relay
	})}
	if reg == nil {
		return m, nil
	}
	err := reg.Register(m.messages)
	if dup, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok { // a second listener
		if old, ok := dup.ExistingCollector.(*prometheus.CounterVec); ok {
			m.messages = old
			return m, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("registering a metric: %w", err)
	}
	return m, nil
}
