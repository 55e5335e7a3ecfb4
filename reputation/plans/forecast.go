// SPDX-License-Identifier: Apache-2.0

package plans

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/reputation/warmup"
)

// Floors under which an address looks like one of a snowshoe spammer's, or is
// forgotten.
const (
	WeekFloor     = 40_000 // recipients a week and address
	ProviderFloor = 1_000  // recipients a day, provider and address
)

// maxDays ends a forecast that comes to no end.
const maxDays = 366

// Tier is contacts of one tier, in the order in which they are served.
type Tier struct {
	Name     string
	Contacts int
}

// Share is the part of the contacts at one provider.
type Share struct {
	Provider string
	Part     float64
}

// Asked is what a forecast is about: every contact is written to so often a week,
// from cold sources that share the mail evenly.
type Asked struct {
	Plan    warmup.Plan
	Tiers   []Tier  // best first
	Shares  []Share // of the contacts; empty = all at "other"
	Sources int
	PerWeek float64 // mails to a contact; 0 = the one mail only, no judgement of what comes after
}

// Day is one day of a forecast, all sources together.
type Day struct {
	Day     int            `json:"day"`    // from 1
	Stages  map[string]int `json:"stages"` // by provider or total; from 1, one more than there are = warm
	Allowed int            `json:"allowed"`
	Sent    map[string]int `json:"sent"` // by tier
	Total   int            `json:"total"`
	Waiting map[string]int `json:"waiting"`       // by tier, at the end of the day
	Why     string         `json:"why,omitempty"` // what waits, and for what
}

// Forecast is the answer: the days until every contact was written to once.
type Forecast struct {
	Days     []Day          `json:"days"`
	Begins   map[string]int `json:"begins"` // first day of a tier
	Ends     map[string]int `json:"ends"`   // last day of a tier
	Left     int            `json:"left"`   // never reached: Warnings say why
	Warnings []string       `json:"warnings"`
}

// ErrAsked is wrapped by a question that has no answer.
var ErrAsked = errors.New("this cannot be predicted")

// world is the mail that waits and the states of one source; the others are alike.
type world struct {
	asked   *Asked
	waiting map[string][]int // provider to contacts by tier, of one source
	states  map[string]warmup.State
	order   []string // providers
}

// Predict plays a plan until every contact had one mail. Each day is the
// scheduler's: what the stage allows and admits at each provider, best tier first, with the share of
// tier new, and the total of the source. Nothing speaks against going on.
func Predict(a Asked) (Forecast, error) {
	switch {
	case a.Sources < 1:
		return Forecast{}, fmt.Errorf("%w: at least one source is needed", ErrAsked)
	case len(a.Tiers) == 0:
		return Forecast{}, fmt.Errorf("%w: there are no contacts", ErrAsked)
	}
	if err := a.Plan.Validate(); err != nil {
		return Forecast{}, fmt.Errorf("%w: %w", ErrAsked, err)
	}
	w := newWorld(&a)
	f := Forecast{Begins: make(map[string]int), Ends: make(map[string]int), Warnings: []string{}}
	for day := 1; day <= maxDays && w.left() > 0; day++ {
		d := w.day(day)
		f.Days = append(f.Days, d)
		for tier := range d.Sent {
			if _, begun := f.Begins[tier]; !begun {
				f.Begins[tier] = day
			}
			f.Ends[tier] = day
		}
		if d.Total == 0 {
			break // tomorrow is like today
		}
	}
	if f.Left = w.left() * a.Sources; f.Left > 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("%s contacts are never reached: %s; write to those who are admitted more often, or advance by hand", count(f.Left), f.Days[len(f.Days)-1].Why))
	}
	f.Warnings = append(f.Warnings, a.floors()...)
	return f, nil
}

func newWorld(a *Asked) *world {
	w := &world{asked: a, waiting: make(map[string][]int), states: make(map[string]warmup.State)}
	shares := a.Shares
	if len(shares) == 0 {
		shares = []Share{{warmup.Other, 1}}
	}
	whole := 0.0
	for _, s := range shares {
		whole += s.Part
		w.order = append(w.order, s.Provider)
	}
	for i, t := range a.Tiers {
		given, each := 0, (t.Contacts+a.Sources-1)/a.Sources
		for n, s := range shares {
			if i == 0 {
				w.waiting[s.Provider] = make([]int, len(a.Tiers))
			}
			part := int(float64(each)*s.Part/whole + 0.5)
			if part = min(part, each-given); n == len(shares)-1 {
				part = each - given
			}
			w.waiting[s.Provider][i] = part
			given += part
		}
	}
	return w
}

func (w *world) left() int {
	n := 0
	for _, tiers := range w.waiting {
		for _, c := range tiers {
			n += c
		}
	}
	return n
}

// state is a provider's, or the total's where the plan says nothing about it.
func (w *world) state(provider string) warmup.State {
	if !w.asked.Plan.Own(provider) {
		provider = warmup.Total
	}
	return w.states[provider]
}

// today is what one day of one source allows and uses.
type today struct {
	total   warmup.Allowance
	allowed map[string]warmup.Allowance
	used    map[string]int
	news    map[string]int // of used, tier new
	sum     int
	sumNews int
}

// day sends what the day allows, tier by tier as the scheduler does, and judges it.
func (w *world) day(n int) Day {
	p, sources := &w.asked.Plan, w.asked.Sources
	d := Day{Day: n, Stages: make(map[string]int), Sent: make(map[string]int), Waiting: make(map[string]int)}
	t := today{
		total: p.Allowance(w.states[warmup.Total], warmup.Total), allowed: make(map[string]warmup.Allowance),
		used: make(map[string]int), news: make(map[string]int),
	}
	for _, name := range w.order {
		t.allowed[name] = p.Allowance(w.state(name), name)
		if p.Own(name) {
			d.Stages[name] = p.Position(w.states[name]) + 1
		}
	}
	if p.Own(warmup.Total) {
		d.Stages[warmup.Total] = p.Position(w.states[warmup.Total]) + 1
	}
	for _, reserved := range []bool{true, false} { // at the end of the day nothing is reserved any more
		w.serve(&d, &t, reserved)
	}
	d.Total, d.Allowed = t.sum*sources, t.most()*sources
	for i, tier := range w.asked.Tiers {
		for _, name := range w.order {
			d.Waiting[tier.Name] += w.waiting[name][i] * sources
		}
		if d.Waiting[tier.Name] == 0 {
			delete(d.Waiting, tier.Name)
		}
	}
	d.Why = w.why(&t)
	w.judge(n, &t)
	return d
}

// serve sends the best tier first, within the allowance of each provider and the
// total.
func (w *world) serve(d *Day, t *today, reserved bool) {
	for i, tier := range w.asked.Tiers {
		for _, name := range w.order {
			n := min(w.waiting[name][i], t.room(name, tier.Name, reserved))
			if n <= 0 {
				continue
			}
			w.waiting[name][i] -= n
			t.used[name] += n
			t.sum += n
			if tier.Name == warmup.TierNew {
				t.news[name] += n
				t.sumNews += n
			}
			d.Sent[tier.Name] += n * w.asked.Sources
		}
	}
}

// room is how many recipients of a tier the day still takes at a provider.
func (t *today) room(provider, tier string, reserved bool) int {
	a := t.allowed[provider]
	if a.Limited && len(a.Admit) > 0 && !slices.Contains(a.Admit, tier) {
		return 0
	}
	room := int(^uint(0) >> 1)
	for _, b := range []struct {
		a          warmup.Allowance
		used, news int
	}{{a, t.used[provider], t.news[provider]}, {t.total, t.sum, t.sumNews}} {
		if !b.a.Limited {
			continue
		}
		left := b.a.Allowed - b.used
		if reserved && tier != warmup.TierNew {
			left -= max(0, b.a.Reserved-b.news)
		}
		room = min(room, left)
	}
	return room
}

// most is what the day allows a source; 0 = there is no limit.
func (t *today) most() int {
	sum := 0
	for _, a := range t.allowed {
		if !a.Limited {
			return t.total.Allowed
		}
		sum += a.Allowed
	}
	if t.total.Limited {
		return min(sum, t.total.Allowed)
	}
	return sum
}

// judge ends the day for every key that the plan says something about.
func (w *world) judge(n int, t *today) {
	end := func(key string, a warmup.Allowance, used int) {
		if !a.Limited && !w.states[key].Done || !w.asked.Plan.Own(key) {
			return
		}
		w.states[key], _ = w.asked.Plan.Advance(w.states[key], warmup.Ended{Day: warmup.Day(n), Provider: key, Used: used, Allowed: a.Allowed}, warmup.Evidence{}) //nolint:gosec // at most maxDays
	}
	for _, name := range w.order {
		end(name, t.allowed[name], t.used[name])
	}
	end(warmup.Total, t.total, t.sum)
}

// why says where mail waits and for what.
func (w *world) why(t *today) string {
	var list []string
	for _, name := range w.order {
		var out []string
		a, waits := t.allowed[name], 0
		for i, tier := range w.asked.Tiers {
			switch n := w.waiting[name][i]; {
			case n == 0:
			case a.Limited && len(a.Admit) > 0 && !slices.Contains(a.Admit, tier.Name):
				out = append(out, tier.Name)
			default:
				waits += n
			}
		}
		var parts []string
		if waits > 0 {
			parts = append(parts, fmt.Sprintf("%s of %s used", count(t.used[name]), count(a.Allowed)))
		}
		if len(out) > 0 {
			parts = append(parts, "the stage does not admit "+strings.Join(out, ", "))
		}
		if len(parts) > 0 {
			list = append(list, name+": "+strings.Join(parts, ", "))
		}
	}
	return strings.Join(list, "; ")
}

// floors warns of sources that would have too little to do once they are warm.
func (a *Asked) floors() []string {
	if a.PerWeek == 0 {
		return nil
	}
	contacts := 0
	for _, t := range a.Tiers {
		contacts += t.Contacts
	}
	week := float64(contacts) * a.PerWeek / float64(a.Sources)
	var list []string
	if week < WeekFloor {
		list = append(list, fmt.Sprintf("%s recipients a week and source are under %s: receivers forget such an address, and many of them look like a snowshoe spammer's; use %s",
			count(int(week)), count(WeekFloor), plural(max(1, int(float64(contacts)*a.PerWeek)/WeekFloor), "source")))
	}
	whole := 0.0
	for _, s := range a.Shares {
		whole += s.Part
	}
	for _, s := range a.Shares {
		if n := week / 7 * s.Part / whole; n < ProviderFloor && s.Provider != warmup.Other {
			list = append(list, fmt.Sprintf("%s recipients a day and source at %s are under %s, which it takes to keep a reputation there", count(int(n)), s.Provider, count(ProviderFloor)))
		}
	}
	return list
}

func count(n int) string { return wilson.Count(uint64(max(0, n))) }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}
