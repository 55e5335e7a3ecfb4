// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/stats"
	"github.com/seguemta/segue/segment/store"
)

// warnings is what a person should look at. One that has no members because its
// rule is wrong, or is not built yet, says so by its state.
func (d *DB) warnings(f *Figures, fill *fieldFill) ([]stats.Warning, error) {
	list := []stats.Warning{}
	if f.State == StateFailed {
		return list, nil
	}
	add := func(w stats.Warning, ok bool) {
		if ok {
			list = append(list, w)
		}
	}
	members := uint64(f.Members) //nolint:gosec // a size
	life, err := d.store.Life(f.Name)
	if err != nil {
		return nil, err
	}
	now := d.settled()
	if f.State == StateLive {
		add(stats.Few(members))
		if members == 0 {
			empty, err := d.emptySince(f.Name, life.Since)
			if err != nil {
				return nil, err
			}
			add(stats.Empty(0, now.Sub(empty)))
		}
		add(stats.Jump(members+f.Left-min(f.Entered, members+f.Left), members, aDay))
	}
	for _, o := range f.Overlaps {
		add(stats.Overlapping(o.Overlap, o.With))
	}
	for _, w := range d.thin(f.Name, fill) {
		add(w, true)
	}
	last := life.Since
	if life.Used.After(last) {
		last = life.Used
	}
	add(stats.Unused(!life.Used.IsZero(), now.Sub(last)))
	return list, nil
}

// emptySince is when a segment without members had one last: the end of the hour
// in which somebody came or went. born is when it was first known.
func (d *DB) emptySince(name string, born time.Time) (time.Time, error) {
	last := born
	today, _ := hourOf(d.settled())
	look := func(day uint32, f store.Flow) {
		for h := range f.Entered {
			if f.Entered[h]+f.Left[h] > 0 {
				last = later(last, time.Unix(int64(day)*86400+int64(h+1)*3600, 0))
			}
		}
	}
	if err := d.store.FlowSince(name, today-min(today, keptDays), look); err != nil {
		return last, err
	}
	d.newestFlows(name, look)
	return last, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// fieldFill is how many contacts have a value, by slot of the schema.
type fieldFill struct {
	held
	filled   []uint64
	looked   uint64
	contacts uint64
}

// fillLook is how many contacts are looked at for it, spread over all.
const fillLook = 2000

// filled counts which fields contacts have. Each contact counts once, whichever of
// its accounts has the value.
func (d *DB) filled(ctx context.Context) (*fieldFill, error) {
	d.stats.filling.Lock()
	defer d.stats.filling.Unlock()
	now := d.now()
	if f := d.stats.fill; f != nil && f.holds(now) {
		return f, nil
	}
	x := &fieldFill{filled: make([]uint64, d.schema.Len()), contacts: uint64(d.mem.contacts())} //nolint:gosec // a size
	rs := d.rules()
	s := &subject{}
	s.fit(rs)
	from := d.stored()
	from.accounts = map[uint64]*knownAccount{}
	err := d.sample(ctx, fillLook, func(id uint64, c *store.Contact) error {
		from.have = c
		if _, _, err := s.read(d, from, id, now); err != nil {
			return err
		}
		x.looked++
		for slot := range x.filled {
			if slices.ContainsFunc(s.pairs, func(v *rule.Values) bool { return v.Slots[slot].Type() != rule.Missing }) {
				x.filled[slot]++
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking at the fields of contacts: %w", err)
	}
	x.held = d.hold(now)
	d.stats.fill = x
	return x, nil
}

// thin warns of the fields of a rule that hardly anybody has. Tags, lists and what
// Segue computes are sparse by nature.
func (d *DB) thin(name string, fill *fieldFill) (list []stats.Warning) {
	r := d.ruleOf(name)
	if r == nil {
		return nil
	}
	for _, field := range r.Reads() {
		slot, _, ok := d.schema.Slot(field)
		declared := strings.HasPrefix(field, "contact.") || strings.HasPrefix(field, "account.")
		if !ok || !declared && !slices.Contains([]string{"role", "language", "time_zone", "source", "consent_at"}, field) {
			continue
		}
		w, warn := stats.Thin(field, fill.filled[slot], fill.looked)
		if warn && fill.looked < fill.contacts {
			w.Text += fmt.Sprintf("; of %s contacts, %s were looked at", wilson.Count(fill.contacts), wilson.Count(fill.looked))
		}
		if warn {
			list = append(list, w)
		}
	}
	return list
}

// ruleOf is the configured rule of a segment, nil if it does not compile.
func (d *DB) ruleOf(name string) *rule.Rule {
	d.live.mu.RLock()
	defer d.live.mu.RUnlock()
	rs := d.live.current
	if d.live.next != nil {
		rs = d.live.next
	}
	if i := rs.find(name); i >= 0 {
		return rs.list[i].rule
	}
	return nil
}

// segmentCollector tells the sizes and the warnings of segments.
type segmentCollector struct{ d *DB }

// collectSegments registers it, once segments are loaded.
func (d *DB) collectSegments(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	if err := r.Register(&segmentCollector{d}); err != nil {
		return fmt.Errorf("registering metrics of segments: %w", err)
	}
	return nil
}

func (*segmentCollector) members() *prometheus.Desc {
	return prometheus.NewDesc("segue_segment_members", "Contacts in a segment.", []string{"segment"}, nil)
}

func (*segmentCollector) warnings() *prometheus.Desc {
	return prometheus.NewDesc("segue_segment_warnings",
		"Things about a segment that a person should look at, by kind; segue segment show says what they are.", []string{"segment", "kind"}, nil)
}

// Describe implements prometheus.Collector.
func (c *segmentCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.members()
	out <- c.warnings()
}

// Collect implements prometheus.Collector. Segments are those of the
// configuration, and kinds are few.
func (c *segmentCollector) Collect(out chan<- prometheus.Metric) {
	for _, s := range c.d.Segments() {
		out <- prometheus.MustNewConstMetric(c.members(), prometheus.GaugeValue, float64(s.Members), s.Name)
	}
	list, err := c.d.Overview(context.Background())
	if err != nil {
		c.d.log.Error("the warnings of segments could not be computed", slog.Any("error", err))
		return
	}
	kinds := []string{stats.KindFew, stats.KindEmpty, stats.KindOverlap, stats.KindField, stats.KindJump, stats.KindUnused}
	for i := range list {
		for _, kind := range kinds {
			n := 0
			for _, w := range list[i].Warnings {
				if w.Kind == kind {
					n++
				}
			}
			out <- prometheus.MustNewConstMetric(c.warnings(), prometheus.GaugeValue, float64(n), list[i].Name, kind)
		}
	}
}
