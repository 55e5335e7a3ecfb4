// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"math"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/store"
)

// SoftBounceRule says when an address that keeps failing for now is suppressed. Each
// bounce with verdict "count" scores 1, and loses half of it in HalfLife; a delivery
// or a sign of life ends the run.
type SoftBounceRule struct {
	Score    float64       // that suppresses; 0 = none does
	HalfLife time.Duration // of the score
	Over     time.Duration // the least age of the run: many bounces of one bad day are one
	Expires  time.Duration // how long the suppression holds: a mailbox is emptied some day
}

// DefaultSoftBounceRule is the rule where the configuration says nothing.
func DefaultSoftBounceRule() SoftBounceRule {
	const day = 24 * time.Hour
	return SoftBounceRule{Score: 5, HalfLife: 30 * day, Over: 3 * day, Expires: 90 * day}
}

// orDefault is the rule, or the default where nothing is said.
func (r SoftBounceRule) orDefault() SoftBounceRule {
	if r == (SoftBounceRule{}) {
		return DefaultSoftBounceRule()
	}
	return r
}

// faded is the score below which a run has ended by time alone.
const faded = 0.25

// bounce is the effect of one bounce on a run; true means that it is enough.
func (r SoftBounceRule) bounce(s *store.SoftBounces, at uint32) bool {
	if s.First != 0 {
		s.Score *= math.Exp2(-float64(max(at, s.Last)-s.Last) / r.HalfLife.Seconds())
	}
	if s.First == 0 || s.Score < faded {
		s.Score, s.First = 0, at
	}
	s.Score++
	s.Last = max(s.Last, at)
	return r.Score > 0 && s.Score >= r.Score && float64(s.Last)-float64(s.First) >= r.Over.Seconds()
}

// beforeExpiry is how long before its expiry mail must last have been deferred for its
// expiry to be a bounce: longer than any delay between two attempts.
const beforeExpiry = 24 * 60 * 60

// softBounce folds an event into the run of soft bounces of a contact.
func (t *tx) softBounce(id uint64, e *event.Event) {
	run, has := t.run(id)
	at := seconds(e.Time)
	switch e.Kind {
	case event.Delivered, event.Engaged:
		if has {
			t.soft[id] = nil
		}
		return
	case event.Deferred:
		if e.Verdict == verdictCount {
			run.Deferred = at
			t.soft[id] = &run
		}
		return
	case event.Expired: // what the last attempts met was of this kind
		if run.Deferred == 0 || at-min(run.Deferred, at) > beforeExpiry {
			return
		}
	default:
		if e.Verdict != verdictCount {
			return
		}
	}
	rule := t.d.softRule
	if !rule.bounce(&run, at) {
		t.soft[id] = &run
		return
	}
	t.soft[id] = nil // it begins anew when the suppression has ended
	t.soften(id, e, &run)
}

// soften suppresses an address that kept failing: for marketing, and for the stream
// that met it last. Transactional mail is still tried.
func (t *tx) soften(id uint64, e *event.Event, run *store.SoftBounces) {
	scopes := []string{StreamScope(marketing)}
	if e.Stream != "" && e.Stream != marketing && e.Stream != transactional {
		scopes = append(scopes, StreamScope(e.Stream))
	}
	k := addressKey(e.Address)
	why := fmt.Sprintf("soft bounces since %s score %.1f; the last: %s",
		instant(run.First).Format(time.DateOnly), run.Score, evidence(e))
	for _, s := range scopes {
		t.addSuppression(store.Suppression{
			Hash: t.d.hashes.Address(k), Scope: s, Address: k, Reason: ReasonSoftBounce,
			Source: SourceEvent, Evidence: bounded(why), Created: e.Time, Expires: e.Time.Add(t.d.softRule.Expires),
		}, id, e.Time)
	}
}

// run is the run of soft bounces of a contact as this tx sees it.
func (t *tx) run(id uint64) (store.SoftBounces, bool) {
	if s, ok := t.soft[id]; ok {
		if s == nil {
			return store.SoftBounces{}, false
		}
		return *s, true
	}
	t.d.mem.mu.RLock()
	defer t.d.mem.mu.RUnlock()
	s, ok := t.d.mem.soft[id]
	return s, ok
}

// stageSoft writes the runs that changed to the batch.
func (t *tx) stageSoft() {
	for id, s := range t.soft {
		t.b.SoftBounces(id, s)
	}
}

// showSoft shows them in memory. The caller holds its lock.
func (t *tx) showSoft() {
	for id, s := range t.soft {
		if s == nil {
			delete(t.d.mem.soft, id)
		} else {
			t.d.mem.soft[id] = *s
		}
	}
}
