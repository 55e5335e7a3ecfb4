// SPDX-License-Identifier: Apache-2.0

package deliver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	deliveries *prometheus.HistogramVec
	signing    *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		deliveries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "segue_delivery_seconds",
			Help:    "Time of one SMTP transaction, from MAIL to the last reply. Rising at one provider: it slows us down.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}, []string{"provider"}),
		signing: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "segue_sign_seconds",
			Help:    "Time of signing one message with all keys of its domain.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 4, 8),
		}, []string{"backend"}), // libcrypto, crypto/rsa, crypto/ed25519: what made the costliest signature
	}
	if reg != nil {
		reg.MustRegister(m.deliveries, m.signing)
	}
	return m
}

func (m *metrics) delivery(provider string, d time.Duration) {
	if provider == "" {
		provider = "other"
	}
	m.deliveries.WithLabelValues(provider).Observe(d.Seconds())
}

// signer makes the series of a backend, so that it is seen before the first message.
func (m *metrics) signer(backend string) { m.signing.WithLabelValues(backend) }

func (m *metrics) signed(backend string, d time.Duration) {
	m.signing.WithLabelValues(backend).Observe(d.Seconds())
}
