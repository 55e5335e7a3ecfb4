// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"math"
	"slices"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/store"
)

// behaviour returns what a contact did, folded by the model of today. Where it
// was folded by another one, or never, the contact's events are folded again.
func (d *DB) behaviour(id uint64) (*score.State, error) {
	x, ok, err := d.store.Behaviour(id)
	return d.folded(id, x, ok, err)
}

// folded is what was read of a contact's behaviour, by the model of today.
func (d *DB) folded(id uint64, x store.Behaviour, ok bool, err error) (*score.State, error) {
	if err != nil {
		return nil, fmt.Errorf("reading the behaviour of contact %d: %w", id, err)
	}
	if ok && x.Model == d.scores.Key() {
		s, err := score.Decode(x.State)
		if err != nil {
			return nil, fmt.Errorf("contact %d: %w", id, err)
		}
		return &s, nil
	}
	list, err := d.events(id, minTime, math.MaxInt)
	if err != nil {
		return nil, err
	}
	s := &score.State{}
	for i := range list {
		if !pending(&list[i]) {
			d.scores.Fold(s, &list[i])
		}
	}
	return s, nil
}

// behaviour is that of the DB, as this tx sees it.
func (t *tx) behaviour(id uint64) (*score.State, error) {
	if s, ok := t.scores[id]; ok {
		return s, nil
	}
	return t.d.behaviour(id)
}

func (r *stored) behaviour(id uint64) (*score.State, error) { return r.d.behaviour(id) }

// rate folds an event into what a contact did. Call it before the event is among
// those that this tx shows.
func (t *tx) rate(id uint64, e *rule.Event) error {
	if t.d.scores == nil || !t.d.scores.Counts(e.Name) {
		return nil
	}
	s, err := t.behaviour(id)
	if err != nil {
		return err
	}
	if t.d.scores.Fold(s, e) {
		t.scores[id] = s
		if _, ok := t.again[id]; !ok {
			t.again[id] = false // rules may read the score
		}
	}
	return nil
}

// rate puts the scores of a subject where rules read them. Its fit is that of
// the account that it fits best with.
func (s *subject) rate(d *DB, from source) error {
	best, state, err := s.totalOf(d, from)
	if err != nil {
		return err
	}
	for _, v := range s.pairs {
		d.scores.Fill(v, best, state)
	}
	if !s.ranked {
		return nil
	}
	return s.scoreAccounts(d, from)
}

func (s *subject) fits(m *score.Model) float64 {
	best := 0.0
	for _, v := range s.pairs {
		best = max(best, m.Fit(v))
	}
	return best
}

// reads reports whether one of the rules reads one of the names, of the contact or
// of its colleagues.
func (rs *ruleset) reads(names ...string) bool {
	for i := range rs.set.Len() {
		if r := rs.set.Rule(i); r != nil && slices.ContainsFunc(r.Reads(), func(name string) bool { return slices.Contains(names, name) }) {
			return true
		}
	}
	return slices.ContainsFunc(rs.set.Counted(), func(c rule.Counted) bool {
		return slices.ContainsFunc(c.Reads(), func(name string) bool { return slices.Contains(names, name) })
	})
}

// Scores is what a contact scores at an instant, and why.
type Scores struct {
	Score     float64        `json:"score"`
	Fit       float64        `json:"fit"`
	Behaviour float64        `json:"behaviour"`
	Why       string         `json:"behaviour_reason"`
	Rules     []score.Reason `json:"fit_rules,omitempty"` // of the primary account
}

// scoresOf explains the scores of a subject that was read; nil without a model.
func (d *DB) scoresOf(s *subject) (*Scores, error) {
	if d.scores == nil {
		return nil, nil
	}
	state, err := d.behaviour(s.id)
	if err != nil {
		return nil, err
	}
	v := s.pairs[0]
	now, fit := v.Now.UnixMicro(), s.fits(d.scores)
	total, behaviour := d.scores.Total(fit, state), d.scores.Behaviour(state)
	return &Scores{
		Score: total.ValueAt(now), Fit: fit, Behaviour: behaviour.ValueAt(now),
		Why: d.scores.Describe(state, now), Rules: d.scores.Reasons(v),
	}, nil
}

// stageScores writes what was folded.
func (t *tx) stageScores() {
	for id, s := range t.scores {
		t.b.Behaviour(id, &store.Behaviour{Model: t.d.scores.Key(), State: s.Append(nil)})
	}
}
