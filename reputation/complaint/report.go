// SPDX-License-Identifier: Apache-2.0

package complaint

import (
	"cmp"
	"slices"

	"github.com/seguemta/segue/mta/event"
)

// Counts are recipients.
type Counts struct {
	Delivered  uint64 `json:"delivered,omitempty"`
	Complaints uint64 `json:"complaints,omitempty"`
}

func (c Counts) plus(d Counts) Counts {
	return Counts{Delivered: c.Delivered + d.Delivered, Complaints: c.Complaints + d.Complaints}
}

// Tally is what happened on one day: by segment ("" = none), then provider ("" = other).
type Tally map[string]map[string]Counts

// Add counts an event; it reports whether the event counts.
func (t Tally) Add(e *event.Event) bool {
	var c Counts
	switch e.Kind {
	case event.Delivered:
		c.Delivered = 1
	case event.Complained:
		c.Complaints = 1
	default:
		return false
	}
	of := t[e.Segment]
	if of == nil {
		of = make(map[string]Counts)
		t[e.Segment] = of
	}
	of[e.Provider] = of[e.Provider].plus(c)
	return true
}

// Line is what a report says of one segment.
type Line struct {
	Segment    string  `json:"segment"`    // "" = mail without a segment
	Complaints uint64  `json:"complaints"` // from providers that report
	Delivered  uint64  `json:"delivered"`  // to providers that report
	Elsewhere  uint64  `json:"elsewhere"`  // delivered to the others: complaints unknown
	Known      bool    `json:"known"`      // something was delivered where complaints are reported
	Share      float64 `json:"share"`
	Low        float64 `json:"low"` // 95 % interval
	High       float64 `json:"high"`
}

// Report adds tallies up, a line a segment, the one with the most certain trouble
// first. interval gives the bounds of a share; reports says whether a provider reports
// complaints, beside those whose complaints are counted.
func Report(days []Tally, reports func(provider string) bool, interval func(hits, of uint64) (low, high float64)) []Line {
	sums := make(map[string]map[string]Counts)
	seen := make(map[string]bool)
	for _, t := range days {
		for segment, of := range t {
			if sums[segment] == nil {
				sums[segment] = make(map[string]Counts)
			}
			for provider, c := range of {
				sums[segment][provider] = sums[segment][provider].plus(c)
				seen[provider] = seen[provider] || c.Complaints > 0
			}
		}
	}
	list := make([]Line, 0, len(sums))
	for segment, of := range sums {
		l := Line{Segment: segment, High: 1}
		for provider, c := range of {
			if !seen[provider] && !reports(provider) {
				l.Elsewhere += c.Delivered
				continue
			}
			l.Delivered += c.Delivered
			l.Complaints += c.Complaints
		}
		if l.Known = l.Delivered > 0; l.Known {
			// Mail delivered before the first of these days can complain in them.
			of := max(l.Delivered, l.Complaints)
			l.Share = float64(l.Complaints) / float64(of)
			l.Low, l.High = interval(l.Complaints, of)
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b Line) int {
		return cmp.Or(cmp.Compare(b.Low, a.Low), cmp.Compare(b.Complaints, a.Complaints), cmp.Compare(a.Segment, b.Segment))
	})
	return list
}
