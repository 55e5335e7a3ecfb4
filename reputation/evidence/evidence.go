// SPDX-License-Identifier: Apache-2.0

// Package evidence counts what receivers made of our mail and says when that
// speaks against sending more: the one place of such counts, which gates, rate rules
// and breakers read. It is pure: days, counts and figures are arguments, who reads the
// event log and who stores the counts is mta's business.
//
// Begin with [Key] and [Counts]: what is counted and about whom. A [Book] holds them and
// pools days ([Book.Sample]), and [Limits.Judge] judges a [Sample].
//
// # Cohorts
//
// Everything is counted on the day on which the recipient was attempted, in the
// engine's budget zone. A bounce mail, a complaint or an unsubscribe that comes
// days later counts for the day of delivery, because that is the mail it is about: a
// rate never has its numerator from other mail than its denominator. A recipient counts once
// a day as attempted and once as deferred, however often it was tried.
//
// # What is known of complaints
//
// Most large providers send no reports, or none to us. Where nobody reports, no
// complaint says nothing, and the rate is unknown, not 0: it is formed over those
// providers alone that do report. Elsewhere figures that an operator imports stand in
// for it ([Figure]: Postmaster Tools, SNDS), and where there are none, unsubscribes, which
// are what people press who find no other button.
//
// # When evidence speaks
//
// Only when even the low end of the 95 % interval is above the limit, and at least [Events]
// events were seen in the days that are pooled. One complaint of ten messages is
// noise; a ramp that stops for it never ends.
package evidence

import (
	"fmt"
	"slices"

	"github.com/seguemta/segue/reputation/warmup"
)

// Days is how many days are pooled for a judgement.
const Days = 7

// Keep is how many days counts and figures are kept: receivers remember about as long.
const Keep = 30

// Events is how many events a rate needs before it can speak against anybody.
const Events = 3

// Scope says what a name in a [Key] names.
type Scope string

// What is counted. A source's and a domain's counts are told apart from those
// of both together, which a figure about a domain is weighed with.
const (
	Source Scope = "source"
	Domain Scope = "domain" // that signs
	Route  Scope = "route"  // source/domain
	Lane   Scope = "lane"   // segment/tier
)

// Key is one thing that is counted on one day.
type Key struct {
	Scope    Scope
	Name     string // parts are joined by [Join]
	Provider string // a named provider or [warmup.Other]
	Day      warmup.Day
}

// Join is the name of a scope that has two parts.
func Join(a, b string) string { return a + "/" + b }

// Counts are recipients of one cohort.
type Counts struct {
	Attempted    uint64 `json:"attempted,omitempty"` // got a reply, whatever it was
	Delivered    uint64 `json:"delivered,omitempty"`
	Deferred     uint64 `json:"deferred,omitempty"` // refused for reputation, for now or for good
	Bounced      uint64 `json:"bounced,omitempty"`  // hard: the address is no good, told at once or by a bounce mail later
	Complained   uint64 `json:"complained,omitempty"`
	Unsubscribed uint64 `json:"unsubscribed,omitempty"`
}

// Add adds another cohort's counts.
func (c *Counts) Add(o Counts) {
	c.Attempted += o.Attempted
	c.Delivered += o.Delivered
	c.Deferred += o.Deferred
	c.Bounced += o.Bounced
	c.Complained += o.Complained
	c.Unsubscribed += o.Unsubscribed
}

// Kind is where a figure comes from.
type Kind string

// Sources of figures.
const (
	Postmaster Kind = "postmaster" // Google Postmaster Tools: spam rate of a domain on a day
	SNDS       Kind = "snds"       // Microsoft SNDS: filter result and complaint rate of an address on a day
)

// Provider is the provider that a kind of figure is about, by the name it has
// unless the operator gave another.
func (k Kind) Provider() string {
	switch k {
	case Postmaster:
		return "google"
	case SNDS:
		return "microsoft"
	}
	return ""
}

// Filter is the result of a provider's own filter in three steps.
type Filter string

// The filter results of SNDS.
const (
	Green  Filter = "green"  // under 10 % taken for spam
	Yellow Filter = "yellow" // 10 to 90 %
	Red    Filter = "red"    // above 90 %
)

// Figure is what a provider publishes about a domain or an address on a day.
type Figure struct {
	Provider   string  `json:"provider"`
	Complained float64 `json:"complained"`       // share of the mail that people called spam
	Filter     Filter  `json:"filter,omitempty"` // "" = the kind has none
}

// FigureKey says what a figure is about. A second figure with the same key
// takes the place of the first.
type FigureKey struct {
	Kind Kind
	Name string // domain (postmaster) or IP address (snds)
	Day  warmup.Day
}

// String is the key for people.
func (k FigureKey) String() string {
	from := "Postmaster Tools"
	if k.Kind == SNDS {
		from = "SNDS"
	}
	return fmt.Sprintf("%s for %s on %s", from, k.Name, k.Day)
}

// Book is what is known: the counts of the days that are kept, and the figures.
type Book struct {
	counts  map[Key]Counts
	figures map[FigureKey]Figure
}

// NewBook makes an empty book.
func NewBook() *Book {
	return &Book{counts: make(map[Key]Counts), figures: make(map[FigureKey]Figure)}
}

// Counts are the counts of a key.
func (b *Book) Counts(k Key) Counts { return b.counts[k] }

// Set replaces the counts of a key.
func (b *Book) Set(k Key, c Counts) { b.counts[k] = c }

// SetFigure takes a figure; a second one with the same key takes its place.
func (b *Book) SetFigure(k FigureKey, f Figure) { b.figures[k] = f }

// Old are the keys of days before a day, which nothing asks for any more; they are
// forgotten here.
func (b *Book) Old(before warmup.Day) (counts []Key, figures []FigureKey) {
	for k := range b.counts {
		if k.Day < before {
			counts = append(counts, k)
			delete(b.counts, k)
		}
	}
	for k := range b.figures {
		if k.Day < before {
			figures = append(figures, k)
			delete(b.figures, k)
		}
	}
	return counts, figures
}

// Asked is what a sample is about: a name at one provider, from one day to another,
// both included.
type Asked struct {
	Scope     Scope
	Name      string
	Provider  string
	From, To  warmup.Day
	Reports   bool     // the provider sends complaint reports
	Addresses []string // of the source, for figures about addresses
}

// Sample is pooled evidence.
type Sample struct {
	Counts
	Complaints   Ratio  // over mail of which complaints are known; Of 0 = unknown
	Unsubscribes Ratio  // over the mail of which they are not
	Filter       Filter // the last that the provider told
	Told         string // where Filter comes from
}

// Ratio is a share of something counted.
type Ratio struct{ Hits, Of uint64 }

// Add pools another sample, such as that of another provider.
func (s *Sample) Add(o Sample) {
	s.Counts.Add(o.Counts)
	s.Complaints.Hits, s.Complaints.Of = s.Complaints.Hits+o.Complaints.Hits, s.Complaints.Of+o.Complaints.Of
	s.Unsubscribes.Hits, s.Unsubscribes.Of = s.Unsubscribes.Hits+o.Unsubscribes.Hits, s.Unsubscribes.Of+o.Unsubscribes.Of
	if o.Filter.worse(s.Filter) {
		s.Filter, s.Told = o.Filter, o.Told
	}
}

func (f Filter) worse(than Filter) bool { return f.rank() > than.rank() }

func (f Filter) rank() int { return slices.Index([]Filter{"", Green, Yellow, Red}, f) }

// Sample pools the days that are asked for.
func (b *Book) Sample(a Asked) Sample {
	var s Sample
	for d := a.From; d <= a.To; d++ {
		c := b.counts[Key{a.Scope, a.Name, a.Provider, d}]
		s.Counts.Add(c)
		f := b.told(&a, d)
		switch {
		case a.Reports:
			s.Complaints.Hits += c.Complained
			s.Complaints.Of += c.Delivered
		case f.known:
			s.Complaints.Hits += f.complaints
			s.Complaints.Of += f.of
		default:
			s.Unsubscribes.Hits += c.Unsubscribed
			s.Unsubscribes.Of += c.Delivered
		}
		if f.filter != "" {
			s.Filter, s.Told = f.filter, f.text
		}
	}
	return s
}

// told is what figures say about a name on a day.
type told struct {
	known          bool // a rate of complaints
	complaints, of uint64
	filter         Filter
	text           string
}

// told weighs each figure that is about the name with what was delivered of the
// mail it speaks of: a rate alone has no sample.
func (b *Book) told(a *Asked, d warmup.Day) told {
	var t told
	take := func(k FigureKey, delivered uint64) {
		f, ok := b.figures[k]
		if !ok || f.Provider != a.Provider {
			return
		}
		t.known = true
		t.complaints += uint64(f.Complained*float64(delivered) + 0.5)
		t.of += delivered
		if f.Filter.worse(t.filter) {
			t.filter, t.text = f.Filter, k.String()
		}
	}
	delivered := b.counts[Key{a.Scope, a.Name, a.Provider, d}].Delivered
	if a.Scope == Domain {
		take(FigureKey{Postmaster, a.Name, d}, delivered)
	}
	if a.Scope != Source {
		return t
	}
	for k := range b.figures {
		if k.Kind == Postmaster && k.Day == d {
			if n := b.counts[Key{Route, Join(a.Name, k.Name), a.Provider, d}].Delivered; n > 0 {
				take(k, n)
			}
		}
	}
	for _, address := range a.Addresses {
		take(FigureKey{SNDS, address, d}, delivered)
	}
	return t
}
