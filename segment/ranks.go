// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/store"
)

// The score of an account is that of its best contacts, at any moment. Where a rule
// reads account_score, the store keeps what each contact scores under each of its
// accounts, in an order in which time changes nothing: by what stays of a score,
// then by what fades. All scores fade with the same half-life, so of those with the
// same fit the best few are so for good, and an account's score follows from the
// best few of each fit: a contact more costs nothing, however many there are.
//
// A contact is ranked when it is judged, before any rule is asked. Where that
// changes the account's score so that it stands otherwise to a number that a rule
// compares it with, or will do so sooner, all contacts of the account are judged
// again. Time alone needs no such thing: the deadline of a contact is no later than
// the next instant at which the score of one of its accounts passes such a number.

// ranks is the ranking of all contacts.
type ranks struct {
	identity [16]byte // of the model
	built    bool     // every contact has its rank
}

// standings keeps the scores that those of accounts are made of, for accounts that
// were asked for.
type standings struct {
	sync.RWMutex
	known  map[uint64][]rule.Decay
	writes uint64 // commits that changed some: what was read before one may be old
}

// ranking is what a write changes of ranks.
type ranking struct {
	contacts map[uint64]*reranked
	accounts map[uint64]map[uint64]*store.Rank // by account and contact; nil = it left
	known    map[uint64][]rule.Decay           // standings of these accounts
	seen     map[uint64][][]rule.Decay         // by what contacts of these accounts may have been judged
}

type reranked struct{ was, is store.Ranked }

// totalOf is what a subject scores in all, from its best fit.
func (s *subject) totalOf(d *DB, from source) (best float64, state *score.State, err error) {
	if state, err = from.behaviour(s.id); err != nil {
		return 0, nil, err
	}
	best = s.fits(d.scores)
	s.total = d.scores.Total(best, state)
	return best, state, nil
}

// rank is what is kept of a subject whose total is known. Where nothing fades, it
// does not matter since when.
func (d *DB) rank(s *subject) store.Ranked {
	x := store.Ranked{Rank: store.Rank{Base: s.total.Base, Order: math.Inf(-1)}}
	if s.total.Value > 0 {
		x.Value, x.At, x.Order = s.total.Value, s.total.At, d.scores.Order(&s.total)
	}
	for _, v := range s.pairs {
		if v.Account != 0 {
			x.Accounts = append(x.Accounts, v.Account)
		}
	}
	slices.Sort(x.Accounts)
	return x
}

// scoreAccounts gives the pairs of a subject the scores of their accounts. Until the
// turn of such a score (see turn) they may take it for a number that stays. It is one
// that fades only where it is compared with what is no number written out, and then
// they are asked again when its best contacts change.
func (s *subject) scoreAccounts(d *DB, from source) error {
	for _, v := range s.pairs {
		var list []rule.Decay
		if v.Account != 0 {
			var err error
			if list, err = from.standing(v.Account); err != nil {
				return fmt.Errorf("the score of account %d: %w", v.Account, err)
			}
		}
		s.standings = append(s.standings, list)
		x, _ := d.scores.AccountScore(list, v.Now.UnixMicro())
		switch {
		case len(list) == 0:
		case s.fading:
			v.Decays[rule.DecayAccountScore] = x
		default:
			v.Slots[rule.SlotAccountScore] = rule.NumberValue(x.ValueAt(v.Now.UnixMicro()))
		}
	}
	return nil
}

// turn is the first instant at which time alone may change what rules see of the
// scores of a subject's accounts, zero for never.
func (rs *ruleset) turn(s *subject) time.Time {
	next := int64(score.Never)
	for n, list := range s.standings {
		next = min(next, rs.turnOf(list, s.pairs[n].Now))
	}
	if next == score.Never {
		return time.Time{}
	}
	return time.UnixMicro(next).UTC()
}

func (rs *ruleset) turnOf(list []rule.Decay, now time.Time) int64 {
	next := rs.scores.Turn(list, rs.levels, now.UnixMicro())
	if rs.others {
		_, until := rs.scores.AccountScore(list, now.UnixMicro())
		next = min(next, until)
	}
	return next
}

// standing is what the committed score of an account is made of.
func (d *DB) standing(account uint64) ([]rule.Decay, error) {
	c := &d.standings
	c.RLock()
	list, ok := c.known[account]
	writes := c.writes
	c.RUnlock()
	if ok {
		return list, nil
	}
	list, err := d.standingBut(account, nil)
	if err != nil {
		return nil, err
	}
	c.Lock()
	defer c.Unlock()
	if c.writes == writes {
		if c.known == nil || len(c.known) >= keptAccounts {
			c.known = map[uint64][]rule.Decay{}
		}
		c.known[account] = list
	}
	return list, nil
}

// standingBut is that, with changes.
func (d *DB) standingBut(account uint64, changed map[uint64]*store.Rank) ([]rule.Decay, error) {
	kept, err := d.store.Ranks(account, d.scores.Most(), func(contact uint64) bool { _, ok := changed[contact]; return ok })
	if err != nil {
		return nil, err
	}
	list := make([]rule.Decay, 0, len(kept)+len(changed))
	for _, x := range kept {
		list = append(list, d.scores.Decay(x.Base, x.Value, x.At))
	}
	for _, x := range changed {
		if x != nil {
			list = append(list, d.scores.Decay(x.Base, x.Value, x.At))
		}
	}
	return slices.Clip(d.scores.Contenders(list)), nil
}

// forget drops what a commit changed.
func (c *standings) forget(changed map[uint64]map[uint64]*store.Rank) {
	if len(changed) == 0 {
		return
	}
	c.Lock()
	defer c.Unlock()
	c.writes++
	for account := range changed {
		delete(c.known, account)
	}
}

func (r *stored) standing(account uint64) ([]rule.Decay, error) {
	if r.alone != nil {
		return r.alone.standing(account)
	}
	return r.d.standing(account)
}

// standing is that of the DB, as this write leaves it.
func (t *tx) standing(account uint64) ([]rule.Decay, error) {
	changed := t.ranking.accounts[account]
	if changed == nil {
		return t.d.standing(account)
	}
	if list, ok := t.ranking.known[account]; ok {
		return list, nil
	}
	list, err := t.d.standingBut(account, changed)
	if err == nil {
		t.ranking.known[account] = list
	}
	return list, err
}

// rankAll ranks contacts whose score or accounts this write may have changed,
// before any of them is judged.
func (t *tx) rankAll(ids []uint64, now time.Time) error {
	l := &t.d.live
	if l.ranks == nil {
		return nil
	}
	s := t.d.subject(l.current)
	defer t.d.subjects.Put(s)
	for _, id := range ids {
		_, forced := t.again[id]
		_, written := t.records[id]
		_, known := t.d.mem.armed(id)
		if st := t.peek(id); st.Address == 0 || !forced && !written && known || !l.ranks.built && id > l.build.Cursor {
			continue
		}
		if _, _, err := s.records(t.d, t, id, now); err != nil {
			return err
		}
		if _, _, err := s.totalOf(t.d, t); err != nil {
			return err
		}
		if err := t.rank(id, t.d.rank(s)); err != nil {
			return fmt.Errorf("ranking contact %d: %w", id, err)
		}
	}
	return nil
}

// rank gives a contact another rank. Without accounts it has none.
func (t *tx) rank(id uint64, is store.Ranked) error {
	x := t.ranking.contacts[id]
	if x == nil {
		was, _, err := t.d.store.Ranked(id)
		if err != nil {
			return err
		}
		x = &reranked{was, was}
	}
	if x.is.Equal(&is) || len(is.Accounts)+len(x.is.Accounts) == 0 {
		return nil
	}
	for _, account := range x.is.Accounts {
		if err := t.rankIn(account, id, nil); err != nil {
			return err
		}
	}
	for _, account := range is.Accounts {
		if err := t.rankIn(account, id, &is.Rank); err != nil {
			return err
		}
	}
	x.is = is
	if t.ranking.contacts == nil {
		t.ranking.contacts = map[uint64]*reranked{}
	}
	t.ranking.contacts[id] = x
	return nil
}

// rankIn does so in one account. By what was there before, others may have been
// judged.
func (t *tx) rankIn(account, id uint64, x *store.Rank) error {
	r := &t.ranking
	if r.accounts == nil {
		r.accounts, r.known, r.seen = map[uint64]map[uint64]*store.Rank{}, map[uint64][]rule.Decay{}, map[uint64][][]rule.Decay{}
	}
	if ranks := t.d.live.ranks; r.accounts[account] == nil {
		if ranks != nil && ranks.built {
			before, err := t.d.standing(account)
			if err != nil {
				return err
			}
			r.seen[account] = [][]rule.Decay{before}
		}
		r.accounts[account] = map[uint64]*store.Rank{}
	}
	r.accounts[account][id] = x
	delete(r.known, account)
	return nil
}

// unrank takes away the rank of a contact that is erased, also where ranks are not
// complete: nothing comes there again.
func (t *tx) unrank(id uint64) error { return t.rank(id, store.Ranked{}) }

// rankedColleagues has the contacts of accounts judged again of which the score
// changed so that a rule can tell; see colleagues for the room.
func (t *tx) rankedColleagues(room *int, now time.Time) error {
	for _, account := range slices.Sorted(maps.Keys(t.ranking.seen)) {
		is, err := t.standing(account)
		if err != nil {
			return err
		}
		seen := t.ranking.seen[account]
		if !slices.ContainsFunc(seen, func(was []rule.Decay) bool { return t.d.live.tellsScores(was, is, now) }) {
			if !slices.ContainsFunc(seen, func(was []rule.Decay) bool { return slices.Equal(was, is) }) {
				t.ranking.seen[account] = append(seen, is)
			}
			continue
		}
		t.ranking.seen[account] = [][]rule.Decay{is}
		if err := t.tellColleagues(account, room); err != nil {
			return err
		}
	}
	return nil
}

// tellsScores reports whether a rule can tell one score of an account from another,
// or will be able to before the deadlines of those who were judged by the first.
func (l *live) tellsScores(was, is []rule.Decay, now time.Time) bool {
	return slices.ContainsFunc([]*ruleset{l.current, l.next}, func(rs *ruleset) bool {
		if rs == nil || rs.ranks == nil {
			return false
		}
		if rs.scores.Tells(was, is, rs.levels, now.UnixMicro()) || rs.others && !slices.Equal(was, is) {
			return true
		}
		second := func(list []rule.Decay) int64 {
			at := rs.turnOf(list, now)
			return at/1e6 + min(at%1e6, 1)
		}
		return second(is) < second(was)
	})
}

// stageRanks writes what changed.
func (t *tx) stageRanks() {
	for id, x := range t.ranking.contacts {
		t.b.Ranked(id, &x.was, &x.is)
	}
}
