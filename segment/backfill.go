// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// A series that no rule read before is made from the log of events, by the pass
// that builds segments, as it comes to each contact. Behind the cursor of the
// pass, events are added as they come; before it, the log is all there is. What
// is written while the pass reads a window is read again, with its log, under
// the lock: an event counts once however the two meet.

// backfillWindow is the contacts of one step of a pass that reads events: what it
// makes of a window is in memory at once. It is a power of 2.
const backfillWindow = 1 << 11

// record is the series of one contact.
type record struct {
	id   uint64
	list []store.Series
}

// keep notes which series are complete in every record.
func (l *live) keep(keys [][16]byte) {
	l.feeds.kept = map[[16]byte]bool{}
	for _, k := range keys {
		l.feeds.kept[k] = true
	}
}

// traced returns the series of a contact, those that are new made from its events.
// They are valid until the next call. A record that is to be written goes to out.
func (f *feeds) traced(trail *store.Trail, id uint64, out *[]record) ([]store.Series, error) {
	have, err := trail.Series(id)
	if err != nil || !f.fresh {
		return have, err
	}
	list, err := f.remake(have, func(fn func(store.Event) error) error { return trail.Events(id, fn) })
	if err != nil {
		return nil, fmt.Errorf("reading the events of contact %d: %w", id, err)
	}
	if !sameSeries(have, list) {
		for i := range list {
			list[i].Data = bytes.Clone(list[i].Data)
		}
		*out = append(*out, record{id, list})
	}
	return list, nil
}

func sameSeries(a, b []store.Series) bool {
	return slices.EqualFunc(a, b, func(a, b store.Series) bool { return a.Key == b.Key && bytes.Equal(a.Data, b.Data) })
}

// remake is a record with the series that are new made from a contact's events,
// and without those that nobody keeps.
func (f *feeds) remake(have []store.Series, events func(fn func(store.Event) error) error) ([]store.Series, error) {
	fresh := map[[16]byte]*rule.Series{}
	err := events(func(s store.Event) error {
		var e *rule.Event
		for _, x := range f.byName[s.Name] {
			if x.kept {
				continue
			}
			if e == nil {
				var err error
				if e, err = eventOf(0, &s); err != nil {
					return err
				}
			}
			entry, ok := x.spec.Entry(e)
			if !ok || !ripe(e) {
				continue
			}
			k := x.spec.Key()
			if fresh[k] == nil {
				fresh[k] = &rule.Series{}
			}
			fresh[k].Add(entry)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var list []store.Series
	for _, s := range have {
		if f.kept[s.Key] {
			list = append(list, s)
		}
	}
	for k, s := range fresh {
		list = append(list, store.Series{Key: k, Data: s.Append(nil)})
	}
	slices.SortFunc(list, func(a, b store.Series) int { return a.Compare(b.Key) })
	return list, nil
}

// ripe reports whether an event of the log is one for rules: an open or a click
// is not while it is held, because nobody knows yet whether a person did it.
func ripe(e *rule.Event) bool {
	return e.Name != EventEmailOpened && e.Name != EventEmailLinkClicked || !pending(e)
}

// backfill is what [feeds.traced] does, for a contact that was written meanwhile.
func (t *tx) backfill(id uint64) error {
	f := &t.d.live.feeds
	if !f.fresh {
		return nil
	}
	have, err := t.series(id)
	if err != nil {
		return err
	}
	list, err := f.remake(have, func(fn func(store.Event) error) error { return t.d.store.Events(id, minTime, fn) })
	if err != nil {
		return fmt.Errorf("reading the events of contact %d: %w", id, err)
	}
	if !sameSeries(have, list) {
		t.fed[id] = &fed{list: list}
	}
	return nil
}

// keepAll writes the records that the pass made, but for those that were made
// again since.
func (t *tx) keepAll(list []record) {
	for i := range list {
		if _, missed := t.d.live.missed[list[i].id]; !missed {
			t.putSeries(list[i].id, list[i].list)
		}
	}
}

// freeze keeps rules from being asked that read a series which is not complete:
// for a while nobody fed it, because the rule did not compile. Their members stand
// until they are built anew.
func (l *live) freeze(rs *ruleset) {
	for _, i := range rs.lacking(l.feeds.kept) {
		if c := &rs.list[i]; c.err == nil {
			c.rule, c.frozen = nil, true
		}
	}
	rs.choose()
}

// prune forgets the series that nobody feeds from now on: should a rule ask for
// them again, they are made from the log.
func (l *live) prune(b *store.Batch) {
	fed := map[[16]byte]bool{}
	for _, k := range append(l.current.keys(), l.next.keys()...) {
		fed[k] = true
	}
	before := len(l.feeds.kept)
	maps.DeleteFunc(l.feeds.kept, func(k [16]byte, _ bool) bool { return !fed[k] })
	if len(l.feeds.kept) != before {
		b.Kept(slices.Collect(maps.Keys(l.feeds.kept)))
	}
	if len(l.feeds.kept) == 0 && l.build.Cursor == 0 {
		b.DropSeries()
	}
}
