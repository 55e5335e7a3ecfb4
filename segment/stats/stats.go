// SPDX-License-Identifier: Apache-2.0

// Package stats is what can be said honestly about the numbers of a segment: a
// rate with its interval and its denominator, whether a segment differs from the
// rest, how much two segments overlap, and what a person should be warned of.
// Start with [Compare]; rates and their intervals are of package wilson.
//
// Every function takes plain numbers and gives a value with a text for people.
// The package counts nothing itself and has no clock and no I/O: whoever calls it
// says what is counted, and out of what. All intervals are of 95 %.
//
// # Why intervals
//
// Segments are small, and what matters of them is rare. No complaint among 100
// messages is compatible with a true rate of 3.7 %, one that no mailbox provider
// would take; one among 1,000 with anything from 0.02 to 0.56 %. A rate without its
// interval invites to act on noise.
package stats

import (
	"fmt"
	"math"

	"github.com/seguemta/segue/mta/wilson"
)

// power is the 80th percentile of the normal distribution: how sure [Needed] is
// to see a difference.
const power = 0.8416212335729143

// Comparison is a segment beside the rest.
type Comparison struct {
	Segment     wilson.Rate `json:"segment"`
	Rest        wilson.Rate `json:"rest"`
	Difference  float64     `json:"difference"` // of the shares, the segment's minus the rest's
	Low         float64     `json:"low"`        // interval of the difference
	High        float64     `json:"high"`
	Significant bool        `json:"significant"` // the interval leaves out 0
}

// Compare holds the rate of a segment against that of everybody else. The
// interval of the difference is made of the two Wilson intervals (Newcombe 1998),
// so it holds for small segments, where a test by the normal distribution
// finds differences that are not there. The rest must not hold the segment.
func Compare(segment, rest wilson.Rate) Comparison {
	c := Comparison{Segment: segment, Rest: rest, Low: -1, High: 1}
	if segment.Of == 0 || rest.Of == 0 {
		return c
	}
	c.Difference = segment.Share - rest.Share
	c.Low = c.Difference - math.Hypot(segment.Share-segment.Low, rest.High-rest.Share)
	c.High = c.Difference + math.Hypot(segment.High-segment.Share, rest.Share-rest.Low)
	c.Significant = c.Low > 0 || c.High < 0
	return c
}

// String is the comparison for people.
func (c Comparison) String() string {
	switch {
	case c.Segment.Of == 0 || c.Rest.Of == 0:
		return "not comparable: one side has nothing"
	case !c.Significant:
		return fmt.Sprintf("%s, the rest %s: not significant", wilson.Percent(c.Segment.Share), wilson.Percent(c.Rest.Share))
	case c.Difference > 0:
		return fmt.Sprintf("%s, the rest %s: higher", wilson.Percent(c.Segment.Share), wilson.Percent(c.Rest.Share))
	default:
		return fmt.Sprintf("%s, the rest %s: lower", wilson.Percent(c.Segment.Share), wilson.Percent(c.Rest.Share))
	}
}

// Needed is how many messages each of two groups must have had to tell a rate
// of a from one of b, in four of five cases. Equal rates cannot be told apart: it
// is 0 then, and where a rate is none.
func Needed(a, b float64) uint64 {
	if a == b || !(a >= 0 && a <= 1 && b >= 0 && b <= 1) {
		return 0
	}
	p := (a + b) / 2
	root := wilson.Z*math.Sqrt(2*p*(1-p)) + power*math.Sqrt(a*(1-a)+b*(1-b))
	n := math.Ceil(root * root / ((a - b) * (a - b)))
	if n >= math.MaxInt64 {
		return math.MaxInt64
	}
	return uint64(n)
}

// Overlap is what two segments share.
type Overlap struct {
	A       uint64  `json:"a"` // members of the one
	B       uint64  `json:"b"` // members of the other
	Both    uint64  `json:"both"`
	Jaccard float64 `json:"jaccard"` // both of either
	Smaller float64 `json:"smaller"` // both of the smaller one
}

// Share computes the overlap of two segments from their sizes. An empty segment
// overlaps with none.
func Share(a, b, both uint64) Overlap {
	both = min(a, b, both)
	o := Overlap{A: a, B: b, Both: both}
	if both > 0 {
		o.Jaccard = float64(both) / (float64(a) + float64(b) - float64(both))
		o.Smaller = float64(both) / float64(min(a, b))
	}
	return o
}

// String is the overlap for people.
func (o Overlap) String() string {
	return fmt.Sprintf("%s in both: %s of the smaller, %s of either", wilson.Count(o.Both), wilson.Percent(o.Smaller), wilson.Percent(o.Jaccard))
}
