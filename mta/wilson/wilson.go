// SPDX-License-Identifier: Apache-2.0

// Package wilson is a rate with the interval in which the truth lies, and how
// people read both. Start with [Interval].
//
// It is pure arithmetic and stands on the lowest level, because whoever judges by a
// rate judges by the same interval: the figures of a segment, the gate of a
// warm-up stage, a rule about the rate of a provider's replies. All intervals are two-sided,
// of 95 %.
//
// # How it is used
//
// An act against somebody asks for [Rate.Low]: only when even the low end of the
// interval is above a limit does the evidence speak. A release asks for [Rate.High].
// The share itself is for people to read.
package wilson

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Z is the 97.5th percentile of the normal distribution: two-sided 95 %.
const Z = 1.959963984540054

// Rate is a share of something counted, with the interval in which the true
// share lies.
type Rate struct {
	Hits  uint64  `json:"hits"`
	Of    uint64  `json:"of"` // the denominator; 0 = nothing can be said
	Share float64 `json:"share"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Interval returns a rate with its score interval (Wilson 1927), which holds for
// few and for rare events too. Hits above the denominator count as the
// denominator. Out of nothing, everything is possible: 0 to 1.
func Interval(hits, of uint64) Rate {
	hits = min(hits, of)
	r := Rate{Hits: hits, Of: of, High: 1}
	if of == 0 {
		return r
	}
	n := float64(of)
	p := float64(hits) / n
	middle := (p + Z*Z/(2*n)) / (1 + Z*Z/n)
	half := Z / (1 + Z*Z/n) * math.Sqrt(p*(1-p)/n+Z*Z/(4*n*n))
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
