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
	tracking     tracking
	hits         *prometheus.CounterVec

	disagreements prometheus.Counter
	unattributed  prometheus.Counter
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
	m.tracking = newTracking()
	m.hits = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "segue_hits_total",
		Help: "Opens and clicks as they were judged. Machines are never counted as people; many of them are usual for recipients behind a gateway.",
	}, []string{"kind", "verdict"}) // open, click; human, machine
	m.disagreements = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "segue_segment_disagreements_total",
		Help: "Contacts whose segments were found wrong when they were judged again, and were repaired. Expected to stay 0: more is a fault of Segue.",
	})
	m.unattributed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "segue_segment_unattributed_total",
		Help: "Opens and clicks that count for no segment: they name no message in email_id, or one that was delivered to nobody by a segment.",
	})
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
	all := append(m.tracking.all(), m.suppressions, m.hits, m.events, m.strange, m.disagreements, m.unattributed, contacts, suppressed)
	for _, c := range all {
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

// tracking counts the calls of the tracking API.
type tracking struct {
	calls                                              *prometheus.CounterVec
	commits, repeated, conflicts, undeclared, unusable prometheus.Counter
}

func newTracking() tracking {
	t := tracking{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_tracking_calls_total",
			Help: "Calls of the tracking API that were read, by whether they were taken or rejected.",
		}, []string{"result"}), // taken, rejected
		commits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_tracking_commits_total",
			Help: "Commits of calls. Callers who wait at the same moment share one: calls by commits is how well that works.",
		}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_tracking_repeated_total",
			Help: "Calls that had been applied before and changed nothing. Clients that never get an answer in time make many.",
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_tracking_conflicts_total",
			Help: "Identify calls that gave a contact the address of another contact. Both kept their own.",
		}),
		undeclared: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_tracking_undeclared_total",
			Help: "Traits that were dropped because no attribute of their name is declared.",
		}),
		unusable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "segue_tracking_unusable_total",
			Help: "Traits and properties that were dropped: of another type than declared, null, lists, or too many.",
		}),
	}
	for _, result := range []string{"taken", "rejected"} {
		t.calls.WithLabelValues(result)
	}
	return t
}

func (t *tracking) all() []prometheus.Collector {
	return []prometheus.Collector{t.calls, t.commits, t.repeated, t.conflicts, t.undeclared, t.unusable}
}

// count counts the calls of one request that was committed.
func (m *metrics) count(r *request) {
	rejected := 0
	for i, p := range r.calls {
		if r.errs[i] != nil {
			rejected++
			continue
		}
		m.tracking.undeclared.Add(float64(p.undeclared))
		m.tracking.unusable.Add(float64(p.unusable))
	}
	m.tracking.calls.WithLabelValues("rejected").Add(float64(rejected))
	m.tracking.calls.WithLabelValues("taken").Add(float64(len(r.calls) - rejected))
}
