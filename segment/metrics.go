// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the contacts. All labels are bounded.
type metrics struct {
	suppressions *prometheus.CounterVec
	events       prometheus.Counter
	strange      prometheus.Counter
}

func newMetrics(r prometheus.Registerer, d *DB) (*metrics, error) {
	m := &metrics{
		suppressions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_suppressions_total",
			Help: "Suppressions added, by reason. A jump in hard_bounce points at a bad list, one in complaint at a bad campaign.",
		}, []string{"reason"}), // hard_bounce, soft_bounce, complaint, unsubscribe, invalid, manual, policy, other
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_contact_events_total",
			Help: "Events of the queue folded into contacts. If it stands still while mail flows, tiers and suppressions are out of date.",
		}),
		strange: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_contact_events_unusable_total",
			Help: "Events about a contact whose address cannot be read. Expected to stay 0.",
		}),
	}
	for _, reason := range reasons() {
		m.suppressions.WithLabelValues(reason)
	}
	if r == nil {
		return m, nil
	}
	contacts := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "segue_contacts",
		Help: "Contacts in the database.",
	}, func() float64 { return float64(d.mem.contacts()) })
	suppressed := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "segue_suppressions",
		Help: "Suppressions in the database, expired ones included.",
	}, func() float64 { return float64(d.mem.suppressions()) })
	for _, c := range []prometheus.Collector{m.suppressions, m.events, m.strange, contacts, suppressed} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering contact metrics: %w", err)
		}
	}
	return m, nil
}

func reasons() []string {
	return []string{
		ReasonHardBounce, ReasonSoftBounce, ReasonComplaint, ReasonUnsubscribe,
		ReasonInvalid, ReasonManual, ReasonPolicy, "other",
	}
}

// suppressed counts one; a reason that an operator made up counts as other.
func (m *metrics) suppressed(reason string) {
	if !slices.Contains(reasons(), reason) {
		reason = "other"
	}
	m.suppressions.WithLabelValues(reason).Inc()
}
