// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// loadRanks finds the ranks that the rules ask for, by the model of today. Where they
// are not complete, the pass that builds segments ranks everybody first, and rules
// that mail goes by stand still until then. What nobody asks for is forgotten.
func (d *DB) loadRanks() error {
	l := &d.live
	have, found, err := d.store.Ranking()
	if err != nil {
		return err
	}
	fits := found && d.scores != nil && have.Identity == d.scores.Identity()
	serves := fits && have.Built
	if !serves && (found || d.scores != nil) {
		l.current.freezeRanked()
	}
	b := d.store.Batch()
	defer b.Close()
	if found && (!fits || !l.next.ranked && !l.current.ranked) {
		b.DropRanks()
	}
	if l.next.ranked || l.current.ranked && serves {
		l.ranks = &ranks{identity: d.scores.Identity(), built: serves}
		b.Ranking(store.Ranking{Identity: l.ranks.identity, Built: serves})
	}
	if l.next.ranked {
		l.next.ranks = l.ranks
	}
	if l.current.ranked && serves {
		l.current.ranks = l.ranks
	}
	return b.Settle()
}

// freezeRanked leaves the members of segments as they are whose rule reads the score
// of an account, itself, of colleagues or by way of others.
func (rs *ruleset) freezeRanked() {
	what := rule.Change{Slots: []int{rule.SlotAccountScore}}
	what.Counted = rs.set.AffectedCounted(what)
	for _, i := range rs.set.Affected(what) {
		if c := &rs.list[i]; c.rule != nil {
			c.rule, c.frozen = nil, true
		}
	}
	rs.choose()
}

// endRanks notes, at the end of a pass, that everybody has a rank.
func (l *live) endRanks(b *store.Batch, level int) (ended *ranks) {
	r := l.next.ranks
	if r == nil || r.built || level != rankLevel {
		return nil
	}
	b.Ranking(store.Ranking{Identity: r.identity, Built: true})
	return r
}

// rankLevel is the level of the pass that ranks contacts: no rule is asked.
const rankLevel = -1

// tryRanks makes the scores of accounts known to a ruleset that is tried: by the
// ranks, where there are any, else by reading all contacts of an account.
func (d *DB) tryRanks(rs *ruleset) *alone {
	if !rs.ranked {
		return nil
	}
	if rs.ranks = d.rules().ranks; rs.ranks != nil {
		return nil
	}
	rs.ranks = &ranks{built: true}
	return d.alone(rs, 0)
}

// shownAlone is up to how many contacts of an account are read for the score that
// people see, where no rule keeps it. They look at one contact, and would wait.
const shownAlone = 2000

// showAccounts adds the scores of accounts, where there is a model.
func (d *DB) showAccounts(rs *ruleset, list []Membership, now time.Time) error {
	if d.scores == nil {
		return nil
	}
	standing := d.standing
	if rs.ranks == nil {
		standing = d.alone(rs, shownAlone).standing
	}
	for i := range list {
		contacts, err := standing(list[i].ID)
		if err != nil {
			return err
		}
		if len(contacts) > 0 {
			x, _ := d.scores.AccountScore(contacts, now.UnixMicro())
			value := x.ValueAt(now.UnixMicro())
			list[i].Score = &value
		}
	}
	return nil
}

// foundRank is the rank of a contact that a pass found.
type foundRank struct {
	id uint64
	is store.Ranked
}

// rank notes the rank of a subject that was read, in the pass that ranks.
func (f *found) rank(d *DB, s *subject, from source, level int) error {
	if level != rankLevel {
		return nil
	}
	if _, _, err := s.totalOf(d, from); err != nil {
		return err
	}
	f.ranks = append(f.ranks, foundRank{s.id, d.rank(s)})
	return nil
}

// rankFound takes in what a pass found, but for those that were written meanwhile.
func (t *tx) rankFound(list []foundRank) error {
	for _, x := range list {
		if _, missed := t.d.live.missed[x.id]; missed {
			continue
		}
		if err := t.rank(x.id, x.is); err != nil {
			return fmt.Errorf("ranking contact %d: %w", x.id, err)
		}
	}
	return nil
}

// alone computes the scores of accounts from all their contacts, where no rule needs
// them all the time.
type alone struct {
	d     *DB
	most  int // contacts of an account that are read; of one with more nothing is known; 0 = all
	known map[uint64][]rule.Decay
	s     *subject
}

func (d *DB) alone(rs *ruleset, most int) *alone {
	a := &alone{d: d, most: most, known: map[uint64][]rule.Decay{}, s: &subject{}}
	a.s.fit(rs)
	return a
}

func (a *alone) standing(account uint64) ([]rule.Decay, error) {
	list, ok := a.known[account]
	if ok {
		return list, nil
	}
	now := a.d.now()
	err := a.d.store.ContactsBehind(account, 0, func(contact uint64) error {
		if a.most > 0 && len(list) == a.most {
			list = nil
			return errEnough
		}
		from := a.d.stored()
		if _, _, err := a.s.records(a.d, from, contact, now); errors.Is(err, store.ErrCorrupt) {
			return nil // it is gone since
		} else if err != nil {
			return err
		}
		if _, _, err := a.s.totalOf(a.d, from); err != nil {
			return err
		}
		list = append(list, a.s.total)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("reading the contacts of account %d: %w", account, err)
	}
	if len(a.known) >= walkAccounts {
		clear(a.known)
	}
	a.known[account] = slices.Clip(a.d.scores.Contenders(list))
	return a.known[account], nil
}
