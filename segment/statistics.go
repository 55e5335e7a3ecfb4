// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// Statistics of segments are of two kinds. Results are what became of mail: they
// are counted in the commit that applies the event, so each once. Flows are who
// came and went: they are counted in memory and stored with the members; what
// was not stored is counted again from the flips, of which each says one of them.

// keptDays is for how many days statistics are kept.
const (
	keptDays = 100
	aDay     = 24 * time.Hour
)

// dayKey is a day of a segment.
type dayKey struct {
	name string
	day  uint32 // since 1970
}

// dayFlow is a day of a segment in memory.
type dayFlow struct {
	store.Flow
	stored bool
}

// statistics is what is known of the flow of segments and not stored yet. Who
// writes holds d.write and then live.mu, who reads holds live.mu.
type statistics struct {
	flows map[dayKey]*dayFlow
	names map[*roster]string // of the rosters of a ruleset
	of    *ruleset

	looking sync.Mutex // guards told
	told    overview
	filling sync.Mutex // guards fill
	fill    *fieldFill
}

// hourOf is the day and the hour of an instant, UTC.
func hourOf(at time.Time) (day uint32, hour int) {
	return seconds(at) / 86400, at.UTC().Hour()
}

// flow returns a day of a segment to be changed. A new one begins with the members
// that there are. Where the store cannot be read, it counts from nothing.
func (d *DB) flow(name string, at time.Time, r *roster) *dayFlow {
	day, _ := hourOf(at)
	k := dayKey{name, day}
	f := d.stats.flows[k]
	if f != nil {
		return f
	}
	f = &dayFlow{Flow: store.Flow{Size: uint64(r.size())}} //nolint:gosec // a size
	if r == nil {
		f.Size = d.sizeBefore(name, day)
	}
	stored, ok, err := d.store.Flow(name, day)
	if err != nil {
		d.log.Error("reading the size of a segment failed, it is counted anew from here", slog.String("segment", name), slog.Any("error", err))
	}
	if ok {
		f.Flow = stored
	}
	d.stats.flows[k] = f
	return f
}

// sizeBefore is the size that a segment had when a day began, as far as is known.
func (d *DB) sizeBefore(name string, day uint32) (size uint64) {
	last := uint32(0)
	take := func(at uint32, f store.Flow) {
		if at < day && at >= last {
			last, size = at, f.Size
		}
	}
	if err := d.store.FlowSince(name, 0, take); err != nil {
		d.log.Error("reading the sizes of a segment failed", slog.String("segment", name), slog.Any("error", err))
	}
	for k, f := range d.stats.flows {
		if k.name == name {
			take(k.day, f.Flow)
		}
	}
	return size
}

// name knows the segments that mail goes by from their members.
func (s *statistics) name(rs *ruleset, r *roster) string {
	if s.of != rs {
		s.of, s.names = rs, make(map[*roster]string, len(rs.list))
		for i := range rs.list {
			if c := &rs.list[i]; c.roster != nil {
				s.names[c.roster] = c.def.Name
			}
		}
	}
	return s.names[r]
}

// since notes when contacts entered, in the same commit.
func (t *tx) since() {
	for _, m := range t.moves {
		name := t.d.stats.name(t.d.live.current, m.r)
		switch {
		case name == "":
		case m.in:
			t.b.Entered(m.id, name, &store.Entered{Time: t.d.settled(), Generation: m.r.generation, Cause: t.why(m.id)})
		default:
			t.b.Entered(m.id, name, nil)
		}
	}
}

// flowed counts who came and went, after the commit. The caller holds live.mu;
// the moves are not made yet.
func (t *tx) flowed() {
	s, now := &t.d.stats, t.d.settled()
	for _, m := range t.moves {
		if name := s.name(t.d.live.current, m.r); name != "" {
			in, out := uint64(1), uint64(0)
			if !m.in {
				in, out = out, in
			}
			t.d.flow(name, now, m.r).count(now, in, out)
		}
	}
	for i := range t.flips {
		if f := &t.flips[i]; f.Kind == FlipRebuilt {
			var r *roster
			if at := t.d.live.current.find(f.Segment); at >= 0 {
				r = t.d.live.current.list[at].roster
			}
			t.d.flow(f.Segment, f.Time, r).count(f.Time, f.Entered, f.Left)
		}
	}
}

// count counts into an hour of a day.
func (f *dayFlow) count(at time.Time, entered, left uint64) {
	_, h := hourOf(at)
	f.Entered[h] += entered
	f.Left[h] += left
	f.Size = f.Size + entered - min(left, f.Size+entered)
	f.stored = false
}

// recount counts a flip that was committed before the store was opened. Those
// of a swap are in its own flip.
func (d *DB) recount(f *Flip) {
	switch {
	case f.Kind == FlipRebuilt:
		d.flow(f.Segment, f.Time, nil).count(f.Time, f.Entered, f.Left)
	case f.Cause == causeDefinition:
	case f.Kind == FlipEntered:
		d.flow(f.Segment, f.Time, nil).count(f.Time, 1, 0)
	case f.Kind == FlipLeft:
		d.flow(f.Segment, f.Time, nil).count(f.Time, 0, 1)
	}
}

// loadStatistics begins the day of every segment with the size that it has, and
// its life if it is new.
func (d *DB) loadStatistics() error {
	b := d.store.Batch()
	defer b.Close()
	now := d.settled()
	for _, s := range d.Segments() {
		f := d.flow(s.Name, now, nil)
		f.Size, f.stored = uint64(s.Members), false //nolint:gosec // a size
		life, err := d.store.Life(s.Name)
		if err != nil {
			return err
		}
		if life.Since.IsZero() {
			b.Life(s.Name, store.Life{Since: now})
		}
	}
	return b.Settle()
}

// saveFlows writes the days that changed; the caller holds d.write and live.mu,
// and marks them after the commit with flowsSaved.
func (d *DB) saveFlows(b *store.Batch) {
	for k, f := range d.stats.flows {
		if !f.stored {
			b.Flow(k.name, k.day, &f.Flow)
		}
	}
	b.Flowed(d.write.flips)
}

// flowsSaved forgets the days that nobody counts into any more.
func (d *DB) flowsSaved() {
	today, _ := hourOf(d.settled())
	for k, f := range d.stats.flows {
		if f.stored = true; k.day+1 < today {
			delete(d.stats.flows, k)
		}
	}
}

// result counts what became of a message, for the segment that the event says it
// went by: that is the one of its lane, fixed when the mail was taken.
func (t *tx) result(e *event.Event) {
	if e.Segment == "" {
		return
	}
	r := t.results(e.Segment, e.Time)
	switch e.Kind {
	case event.Accepted:
		r.Sent++
	case event.Delivered:
		r.Delivered++
	case event.Bounced, event.DSN:
		r.Bounced++
	case event.Complained:
		r.Complained++
	case event.Unsubscribed:
		r.Unsubscribed++
	default:
	}
}

// results returns what this write adds to a day of a segment.
func (t *tx) results(name string, at time.Time) *store.Results {
	day, _ := hourOf(at)
	k := dayKey{name, day}
	if t.outcomes == nil {
		t.outcomes = map[dayKey]*store.Results{}
	}
	if t.outcomes[k] == nil {
		t.outcomes[k] = &store.Results{}
	}
	return t.outcomes[k]
}

// stageResults writes the results, in the commit of what they count.
func (t *tx) stageResults() error {
	used := map[string]time.Time{}
	for k, add := range t.outcomes {
		sum, err := t.d.store.Results(k.name, k.day)
		if err != nil {
			return err
		}
		sum.Add(*add)
		t.b.Results(k.name, k.day, &sum)
		if at := time.Unix(int64(k.day)*86400, 0); add.Sent > 0 && at.After(used[k.name]) {
			used[k.name] = at
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		life, err := t.d.store.Life(name)
		if err != nil {
			return err
		}
		if life.Since.IsZero() {
			life.Since = used[name]
		}
		if used[name].After(life.Used) {
			life.Used = used[name]
			t.b.Life(name, life)
		}
	}
	return nil
}

// Limits of what finds the message that was opened or clicked.
const (
	openedWithin = 30 * aDay // after its delivery
	openedLook   = 2000      // events of the contact
)

// opened counts an opened or clicked message, once, when it is known who did it.
// Its event names the message
// in the property email_id, as Segment's e-mail specification does, and the
// segment is that of the delivery in the contact's log. An event that names none is
// of no segment. The caller has not added the event to the log yet.
func (t *tx) opened(contact uint64, e *rule.Event) error {
	if e.Name != EventEmailOpened && e.Name != EventEmailLinkClicked {
		return nil
	}
	message := e.Properties["email_id"]
	ref, machine := message.String(), byMachine(e)
	if ref == "" {
		t.d.metrics.unattributed.Inc()
		return nil
	}
	log, err := t.d.newest(contact, e.Time-openedWithin.Microseconds(), openedLook)
	if err != nil {
		return err
	}
	segment := ""
	for _, x := range append(log, t.events[contact]...) {
		switch {
		case !refersTo(&x, ref) || pending(&x):
		case x.Name == EventEmailDelivered:
			by := x.Properties["segment"]
			segment = by.Text()
		case x.Name == e.Name && byMachine(&x) == machine:
			return nil // it was before
		}
	}
	if segment == "" {
		t.d.metrics.unattributed.Inc()
		return nil
	}
	r := t.results(segment, time.UnixMicro(e.Time))
	*map[string]map[bool]*uint64{
		EventEmailOpened:      {false: &r.Opened, true: &r.OpenedByMachine},
		EventEmailLinkClicked: {false: &r.Clicked, true: &r.ClickedByMachine},
	}[e.Name][machine]++
	return nil
}

// refersTo reports whether an event is about a message: "2N9C.0" is a recipient of
// "2N9C".
func refersTo(e *rule.Event, message string) bool {
	v := e.Properties["email_id"]
	a, _, _ := strings.Cut(v.String(), ".")
	b, _, _ := strings.Cut(message, ".")
	return strings.EqualFold(a, b)
}

// byMachine reports whether an event says that no person did it.
func byMachine(e *rule.Event) bool {
	machine := e.Properties[propertyMachine]
	return machine.Boolean()
}

// trimStatistics removes the days that are no longer kept.
func (d *DB) trimStatistics(now time.Time) error {
	err := d.tidy(func(b *store.Batch) error {
		day, _ := hourOf(now.Add(-keptDays * aDay))
		d.live.mu.Lock()
		maps.DeleteFunc(d.stats.flows, func(k dayKey, _ *dayFlow) bool { return k.day < day })
		d.live.mu.Unlock()
		return d.store.OldDays(day, func(key []byte) error {
			b.Drop(key)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("removing old statistics of segments: %w", err)
	}
	return nil
}
