// SPDX-License-Identifier: Apache-2.0

package rule

import "math"

// window is the ages of entries that count, in microseconds: from younger to
// below older.
type window struct {
	older, younger int64
	ever           bool // older is not looked at
}

func windowOf(e *Events) window {
	return window{micros(e.Older), micros(e.Younger), e.Older == 0}
}

func micros(d Duration) int64 { return int64(d) / 1000 }

// of returns the entries that count at an instant: two binary searches.
func (w *window) of(s *Series, now int64) []Entry {
	to := upTo(s.Entries, now-w.younger)
	if w.ever {
		return s.Entries[:to]
	}
	return s.Entries[upTo(s.Entries[:to], now-w.older):to]
}

// upTo is how many of the sorted entries are not after an instant.
func upTo(entries []Entry, at int64) int {
	n := len(entries)
	if n == 0 || entries[n-1].Time <= at { // most often: nothing is in the future
		return n
	}
	lo, hi := 0, n-1
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if entries[mid].Time <= at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// gauge is a compiled aggregate of events.
type gauge struct {
	window
	series   int
	function Function
	pair     bool // only events of the pair's account, and of none
}

// counts reports whether an entry of this account counts for these values.
func (g *gauge) counts(account uint64, v *Values) bool {
	return !g.pair || account == 0 || account == v.Account
}

// count is what the function count says.
func (g *gauge) count(v *Values) float64 {
	s := &v.Series[g.series]
	entries := g.of(s, v.Now.UnixMicro())
	n := len(entries)
	if g.pair && s.scoped > 0 {
		n = 0
		for i := range entries {
			if g.counts(entries[i].Account, v) {
				n++
			}
		}
	}
	out := float64(n)
	if g.ever {
		for i := range s.Dropped {
			if g.counts(s.Dropped[i].Account, v) {
				out += float64(s.Dropped[i].Count)
			}
		}
	}
	return out
}

// number is what any function that yields a number says; false where it is missing.
func (g *gauge) number(v *Values) (float64, bool) {
	if g.function == Counting {
		return g.count(v), true
	}
	s := &v.Series[g.series]
	var t Aggregate
	if g.ever && g.function != DistinctDays {
		for i := range s.Dropped {
			if g.counts(s.Dropped[i].Account, v) {
				t.join(&s.Dropped[i])
			}
		}
	}
	entries := g.of(s, v.Now.UnixMicro())
	if g.function == DistinctDays {
		return g.days(entries, v), true
	}
	for i := range entries {
		if g.counts(entries[i].Account, v) {
			t.add(&entries[i])
		}
	}
	switch g.function {
	case Sum:
		return t.Sum, true
	case Avg:
		return t.Sum / float64(t.Count), t.Count > 0
	case Min:
		return t.Min, t.Count > 0
	default:
		return t.Max, t.Count > 0
	}
}

// days counts the days in UTC on which something happened. Entries are sorted,
// so those of one day stand together.
func (g *gauge) days(entries []Entry, v *Values) float64 {
	n, last := 0, int64(math.MinInt64)
	for i := range entries {
		if !g.counts(entries[i].Account, v) {
			continue
		}
		if day := dayOf(entries[i].Time); day != last {
			n, last = n+1, day
		}
	}
	return float64(n)
}

const dayMicros = 24 * 60 * 60 * 1_000_000

func dayOf(micro int64) int64 {
	day := micro / dayMicros
	if micro%dayMicros < 0 {
		day--
	}
	return day
}

// instant is what first and last say; false where no event counts.
func (g *gauge) instant(v *Values) (int64, bool) {
	s := &v.Series[g.series]
	entries := g.of(s, v.Now.UnixMicro())
	at, found := int64(0), false
	if g.ever {
		for i := range s.Dropped {
			d := &s.Dropped[i]
			switch {
			case !g.counts(d.Account, v):
			case g.function == First && (!found || d.First < at):
				at, found = d.First, true
			case g.function == Last && (!found || d.Last > at):
				at, found = d.Last, true
			}
		}
	}
	if found && g.function == First {
		return at, true // dropped ones are older
	}
	for i := range entries {
		e := &entries[i]
		if g.function == Last {
			e = &entries[len(entries)-1-i]
		}
		if g.counts(e.Account, v) {
			return e.Time, true
		}
	}
	return at, found
}
