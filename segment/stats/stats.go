// SPDX-License-Identifier: Apache-2.0

// Package stats is what can be said honestly about the numbers of a segment: a
// rate with its interval and its denominator, whether a segment differs from the
// rest, how much two segments overlap, and what a person should be warned of.
// Start with [Wilson] and [Compare].
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
	"strconv"
	"strings"
)

// z is the 97.5th percentile of the normal distribution: two-sided 95 %.
const z = 1.959963984540054

// power is its 80th percentile: how sure [Needed] is to see a difference.
const power = 0.8416212335729143

// Rate is a share of something counted, with the interval in which the true
// share lies.
type Rate struct {
	Hits  uint64  `json:"hits"`
	Of    uint64  `json:"of"` // the denominator; 0 = nothing can be said
	Share float64 `json:"share"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Wilson returns a rate with its score interval (Wilson 1927), which holds for
// few and for rare events too. Hits above the denominator count as the
// denominator. Out of nothing, everything is possible: 0 to 1.
func Wilson(hits, of uint64) Rate {
	hits = min(hits, of)
	r := Rate{Hits: hits, Of: of, High: 1}
	if of == 0 {
		return r
	}
	n := float64(of)
	p := float64(hits) / n
	middle := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	r.Share, r.Low, r.High = p, max(0, middle-half), min(1, middle+half)
	if hits == 0 {
		r.Low = 0 // exactly: the formula leaves the rounding of a sum
	}
	if hits == of {
		r.High = 1
	}
	return r
}

// String is the rate for people: "1 % (0.18 to 5.45 %, 1 of 100)".
func (r Rate) String() string {
	switch {
	case r.Of == 0:
		return "unknown (0 of 0)"
	case r.Hits == 0:
		return fmt.Sprintf("0 %% (under %s, 0 of %s)", Percent(r.High), Count(r.Of))
	default:
		return fmt.Sprintf("%s (%s to %s, %s of %s)", Percent(r.Share),
			strings.TrimSuffix(Percent(r.Low), " %"), Percent(r.High), Count(r.Hits), Count(r.Of))
	}
}

// Comparison is a segment beside the rest.
type Comparison struct {
	Segment     Rate    `json:"segment"`
	Rest        Rate    `json:"rest"`
	Difference  float64 `json:"difference"` // of the shares, the segment's minus the rest's
	Low         float64 `json:"low"`        // interval of the difference
	High        float64 `json:"high"`
	Significant bool    `json:"significant"` // the interval leaves out 0
}

// Compare holds the rate of a segment against that of everybody else. The
// interval of the difference is made of the two Wilson intervals (Newcombe 1998),
// so it holds for small segments, where a test by the normal distribution
// finds differences that are not there. The rest must not hold the segment.
func Compare(segment, rest Rate) Comparison {
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
		return fmt.Sprintf("%s, the rest %s: not significant", Percent(c.Segment.Share), Percent(c.Rest.Share))
	case c.Difference > 0:
		return fmt.Sprintf("%s, the rest %s: higher", Percent(c.Segment.Share), Percent(c.Rest.Share))
	default:
		return fmt.Sprintf("%s, the rest %s: lower", Percent(c.Segment.Share), Percent(c.Rest.Share))
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
	root := z*math.Sqrt(2*p*(1-p)) + power*math.Sqrt(a*(1-a)+b*(1-b))
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
	return fmt.Sprintf("%s in both: %s of the smaller, %s of either", Count(o.Both), Percent(o.Smaller), Percent(o.Jaccard))
}

// Percent writes a share as people read it: "0.18 %", "5.45 %", "34 %". Two
// decimals are kept below 10 %, one above, none where they are zero.
func Percent(share float64) string {
	p := share * 100
	decimals := 1
	if math.Abs(p) < 10 {
		decimals = 2
	}
	s := strconv.FormatFloat(p, 'f', decimals, 64)
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	if s == "-0" {
		s = "0"
	}
	if s == "0" && p > 0 {
		s = "under 0.01"
	}
	return s + " %"
}

// Count writes a number in groups of three digits: "5,000".
func Count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
