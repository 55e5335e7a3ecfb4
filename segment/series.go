// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"maps"
	"slices"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// Rules see no events but the series that those leave behind, all series of a
// contact in one record. A series is fed by each write with an event, and is
// complete: it has the contact's whole history, or the pass that builds segments
// makes it from the log of events first; see backfill.go.

// feeds is which events are kept as series, for the rules that mail goes by and
// for those under construction. The zero value is none.
type feeds struct {
	kept   map[[16]byte]bool  // series that are complete in every record
	byName map[string][]*feed // by the name of the event
	all    []*feed
	fresh  bool // there are series that only contacts behind the cursor of the pass have
}

// feed is one series.
type feed struct {
	spec    *rule.SeriesSpec
	kept    bool
	current int  // its number in the rules that mail goes by, -1 = they do not read it
	built   bool // those under construction read it
}

// refeed computes which events are kept. The caller holds d.write, or the store
// is being opened.
func (l *live) refeed() {
	f := feeds{kept: l.feeds.kept, byName: map[string][]*feed{}}
	known := map[[16]byte]*feed{}
	for _, rs := range []*ruleset{l.current, l.next} {
		if rs == nil {
			continue
		}
		specs := rs.set.Series()
		for i := range specs {
			k := specs[i].Key()
			x := known[k]
			if x == nil {
				x = &feed{spec: &specs[i], kept: f.kept[k], current: -1}
				known[k] = x
			}
			if rs == l.current {
				x.current = i
			} else {
				x.built = true
			}
		}
	}
	for _, x := range known {
		if !x.kept && !x.built {
			continue // rules that are frozen: nobody asks them
		}
		f.fresh = f.fresh || !x.kept
		f.all = append(f.all, x)
		f.byName[x.spec.Event] = append(f.byName[x.spec.Event], x)
	}
	l.feeds = f
}

// keys is the series that a ruleset reads.
func (rs *ruleset) keys() [][16]byte {
	specs := rs.set.Series()
	list := make([][16]byte, len(specs))
	for i := range specs {
		list[i] = specs[i].Key()
	}
	return list
}

// lacking is the rules that read a series which is not complete, and those that
// refer to them.
func (rs *ruleset) lacking(kept map[[16]byte]bool) []int {
	var what rule.Change
	for i, k := range rs.keys() {
		if !kept[k] {
			what.Series = append(what.Series, i)
		}
	}
	if what.Series == nil {
		return nil
	}
	return rs.set.Affected(what)
}

// fed is the series of one contact as a write leaves them.
type fed struct {
	list    []store.Series
	current []int // numbers of those that changed, in the rules that mail goes by
}

// feed adds the events of this write to the series that they belong to. A contact
// none of whose events belongs anywhere is not read.
func (t *tx) feed() error {
	f := feeding{t: t}
	for _, id := range slices.Sorted(maps.Keys(t.events)) { // they are read in the order in which they lie
		if err := f.add(id, t.events[id]); err != nil {
			return fmt.Errorf("series of contact %d: %w", id, err)
		}
	}
	return nil
}

// feeding is the series of one contact while a write adds to them, then those of
// the next, in the same room.
type feeding struct {
	t    *tx
	id   uint64
	read bool
	have []store.Series // once read
	open []opened
	data []byte // room for series as they are stored
}

// opened is a series that a write adds to.
type opened struct {
	feed    *feed
	series  rule.Series
	changed bool
}

// add adds the events of one contact.
func (f *feeding) add(id uint64, events []rule.Event) error {
	f.id, f.read, f.have, f.open = id, false, nil, f.open[:0]
	l := &f.t.d.live
	for i := range events {
		e := &events[i]
		for _, x := range l.feeds.byName[e.Name] {
			if !x.kept && id > l.build.Cursor {
				continue // the pass comes there
			}
			entry, ok := x.spec.Entry(e)
			if !ok {
				continue
			}
			o, err := f.decode(x)
			if err != nil {
				return err
			}
			if old, err := f.repeated(events[:i], e, &o.series, entry); err != nil {
				return err
			} else if !old && o.series.Add(entry) {
				o.changed = true
			}
		}
	}
	return f.close()
}

// decode returns a series, decoded. It is valid until the next call.
func (f *feeding) decode(x *feed) (*opened, error) {
	for i := range f.open {
		if f.open[i].feed == x {
			return &f.open[i], nil
		}
	}
	if !f.read {
		var err error
		if f.have, err = f.t.series(f.id); err != nil {
			return nil, err
		}
		f.read = true
	}
	n := len(f.open)
	f.open = slices.Grow(f.open, 1)[:n+1]
	o := &f.open[n]
	o.feed, o.changed = x, false
	o.series.Reset()
	if at, found := slices.BinarySearchFunc(f.have, x.spec.Key(), store.Series.Compare); found {
		if _, err := o.series.Decode(f.have[at].Data); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// repeated reports whether an event that is older than all that a full series
// holds is in it already: the series cannot tell, the log can.
func (f *feeding) repeated(before []rule.Event, e *rule.Event, s *rule.Series, entry rule.Entry) (bool, error) {
	if len(s.Entries) < rule.MaxEntries || entry.Time > s.Entries[0].Time {
		return false, nil
	}
	k := eventKey(f.id, e)
	if slices.ContainsFunc(before, func(o rule.Event) bool { return eventKey(f.id, &o) == k }) {
		return true, nil
	}
	old, there, err := f.t.d.event(k)
	return there && ripe(&old), err
}

// close notes the series that changed, for the record and for the rules.
func (f *feeding) close() error {
	if !slices.ContainsFunc(f.open, func(o opened) bool { return o.changed }) {
		return nil
	}
	out := f.t.fedOf(f.id, f.have)
	out.list = slices.Grow(out.list, len(f.open))
	for i := range f.open {
		o := &f.open[i]
		if !o.changed {
			continue
		}
		key := o.feed.spec.Key()
		at, found := slices.BinarySearchFunc(out.list, key, store.Series.Compare)
		if !found {
			out.list = slices.Insert(out.list, at, store.Series{Key: key})
		}
		out.list[at].Data = f.stored(&o.series)
		if o.feed.current >= 0 {
			out.current = append(out.current, o.feed.current)
		}
	}
	return nil
}

// stored is a series as it is stored.
func (f *feeding) stored(s *rule.Series) []byte {
	const room = 8 << 10 // for some hundred of them: most are short
	if cap(f.data)-len(f.data) < room/16 {
		f.data = make([]byte, 0, room)
	}
	from := len(f.data)
	f.data = s.Append(f.data)
	return f.data[from:len(f.data):len(f.data)]
}

// fedOf returns the record of a contact's series, to be changed; have is what it
// was. What no rule needs any more is gone from it.
func (t *tx) fedOf(id uint64, have []store.Series) *fed {
	f := t.fed[id]
	if f == nil {
		l := &t.d.live
		f = &fed{list: slices.DeleteFunc(have, func(s store.Series) bool { return !l.keeps(id, s.Key) })}
		t.fed[id] = f
	}
	return f
}

// keeps reports whether a series of a contact is complete.
func (l *live) keeps(id uint64, key [16]byte) bool {
	return l.feeds.kept[key] || id <= l.build.Cursor && slices.ContainsFunc(l.feeds.all, func(x *feed) bool { return x.spec.Key() == key })
}

// series returns the series of a contact as this tx sees them.
func (t *tx) series(id uint64) ([]store.Series, error) {
	if f := t.fed[id]; f != nil {
		return f.list, nil
	}
	return t.d.series(id)
}

// series returns the series of a contact as they are stored.
func (d *DB) series(id uint64) ([]store.Series, error) {
	if d.mem.traceless(id) {
		return nil, nil
	}
	return d.store.SeriesOf(id)
}

// putSeries writes the series of a contact at commit.
func (t *tx) putSeries(id uint64, list []store.Series) {
	if len(list) > 0 {
		t.d.mem.trace(id)
	}
	t.b.Series(id, list)
}

// recall gives a subject what its events left behind. It comes last: all pairs
// share the series of the first.
func (s *subject) recall(from source, id uint64) error {
	specs := s.set.Series()
	if len(specs) == 0 || id == 0 {
		return nil
	}
	list, err := from.series(id)
	if err != nil {
		return fmt.Errorf("reading the series of contact %d: %w", id, err)
	}
	all := s.pairs[0].Series
	for i := range specs {
		if at, found := slices.BinarySearchFunc(list, specs[i].Key(), store.Series.Compare); found {
			if _, err := all[i].Decode(list[at].Data); err != nil {
				return fmt.Errorf("series of contact %d: %w", id, err)
			}
		}
	}
	for _, v := range s.pairs[1:] {
		v.Series = all
	}
	return nil
}
