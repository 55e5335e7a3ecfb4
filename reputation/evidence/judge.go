// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"strings"

	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/reputation/warmup"
)

// Limits are the largest shares that a gate lets pass; 0 = nothing may happen
// at all, 1 = no limit.
type Limits struct {
	Deferred     float64 // refused for reputation, of the recipients attempted
	Bounced      float64 // hard, of the recipients attempted
	Complained   float64 // of the mail delivered at providers of which complaints are known
	Unsubscribed float64 // of the mail delivered at the others
	StepBack     float64 // how many times a limit leads a step back; 0 = never
}

// Finding is one rate of a sample beside its limit.
type Finding struct {
	Measure string      // deferred, bounced, complained, unsubscribed
	Rate    wilson.Rate // Of 0 = unknown
	Limit   float64
	Above   bool   // it speaks against going on
	Text    string // for people
}

// Findings are all rates of a sample, whether they speak against anything or not.
func (l *Limits) Findings(s *Sample) []Finding {
	var list []Finding
	for _, r := range l.rates(s) {
		f := Finding{Measure: r.measure, Rate: wilson.Interval(r.ratio.Hits, r.ratio.Of), Limit: r.limit, Above: r.above(1)}
		f.Text = fmt.Sprintf("%s %s %s", f.Rate, r.what, r.of)
		if f.Above {
			f.Text = r.text(1)
		}
		list = append(list, f)
	}
	return list
}

// rate is one rate of a sample and its limit.
type rate struct {
	measure  string
	what, of string
	ratio    Ratio
	limit    float64
}

func (l *Limits) rates(s *Sample) []rate {
	return []rate{
		{"deferred", "refused for reputation", "of those attempted", Ratio{s.Deferred, s.Attempted}, l.Deferred},
		{"bounced", "bounced", "of those attempted", Ratio{s.Bounced, s.Attempted}, l.Bounced},
		{"complained", "complained", "of those delivered", s.Complaints, l.Complained},
		{"unsubscribed", "unsubscribed", "where complaints are unknown", s.Unsubscribes, l.Unsubscribed},
	}
}

// above reports whether a rate speaks: the low end of its interval is above so
// many times the limit, and there are enough events.
func (r *rate) above(times float64) bool {
	return r.ratio.Hits >= Events && wilson.Interval(r.ratio.Hits, r.ratio.Of).Low > r.limit*times
}

func (r *rate) text(times float64) string {
	limit := wilson.Percent(r.limit)
	if times > 1 {
		limit = fmt.Sprintf("%g times %s", times, limit)
	}
	return fmt.Sprintf("%s %s %s, above %s", wilson.Interval(r.ratio.Hits, r.ratio.Of), r.what, r.of, limit)
}

// Judge says what a sample speaks for. hold is pooled over [Days]; back is the
// part of it that no earlier step back has answered yet: the same bad day leads
// one step back, not seven.
func (l *Limits) Judge(hold, back *Sample) warmup.Evidence {
	return warmup.Evidence{Hold: l.against(hold, 1), StepBack: l.stepBack(back)}
}

// Judge judges the [Days] up to a day for one state of a warm-up. since is the first day that no
// step back has answered yet. Where several providers share the state, each of them speaks
// for itself, and where none does, all together.
func (b *Book) Judge(l *Limits, day, since warmup.Day, asked ...Asked) warmup.Evidence {
	var out warmup.Evidence
	var hold, back Sample
	for _, a := range asked {
		a.From, a.To = day-Days+1, day
		h := b.Sample(a)
		a.From = max(since, a.From)
		s := b.Sample(a)
		one := l.Judge(&h, &s)
		if len(asked) == 1 {
			return one
		}
		out = warmup.Evidence{Hold: at(out.Hold, a.Provider, one.Hold), StepBack: at(out.StepBack, a.Provider, one.StepBack)}
		hold.Add(h)
		back.Add(s)
	}
	all := l.Judge(&hold, &back)
	if out.Hold == "" {
		out.Hold = all.Hold
	}
	if out.StepBack == "" {
		out.StepBack = all.StepBack
	}
	return out
}

// at joins what was said so far with what one provider adds.
func at(said, provider, more string) string {
	switch {
	case more == "":
		return said
	case said == "":
		return "at " + provider + ": " + more
	}
	return said + "; at " + provider + ": " + more
}

func (l *Limits) stepBack(s *Sample) string {
	if l.StepBack == 0 {
		return ""
	}
	return l.against(s, l.StepBack)
}

// against is what speaks against going on, so many times over the limits. A filter
// that takes most mail for spam is above every limit; one that takes part of it is above the first.
func (l *Limits) against(s *Sample, times float64) string {
	var list []string
	for _, r := range l.rates(s) {
		if r.above(times) {
			list = append(list, r.text(times))
		}
	}
	if s.Filter == Red || s.Filter == Yellow && times <= 1 {
		list = append(list, fmt.Sprintf("%s says %s", s.Told, s.Filter))
	}
	return strings.Join(list, "; ")
}

// Text is a sample in one line, for people.
func (s *Sample) Text() string {
	complaints := "complaints unknown"
	if s.Complaints.Of > 0 {
		complaints = wilson.Interval(s.Complaints.Hits, s.Complaints.Of).String() + " complained"
	}
	return fmt.Sprintf("%s attempted, %s delivered, %s refused for reputation, %s bounced, %s, %s unsubscribed",
		wilson.Count(s.Attempted), wilson.Count(s.Delivered), wilson.Count(s.Deferred), wilson.Count(s.Bounced), complaints, wilson.Count(s.Unsubscribed))
}
