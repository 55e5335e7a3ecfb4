// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawCounts(t *rapid.T) Counts {
	n := func(name string, most uint64) uint64 { return rapid.Uint64Range(0, most).Draw(t, name) }
	c := Counts{Delivered: n("delivered", 300), Bounced: n("bounced", 20), Spam: n("spam", 20)}
	c.Reporting = n("reporting", c.Delivered)
	c.Complained, c.Unsubscribed = n("complained", min(4, c.Reporting)), n("unsubscribed", min(6, c.Delivered))
	c.Answered = c.Delivered + c.Bounced + c.Spam
	c.Concluded = c.Answered
	return c
}

func stored(t *rapid.T, s *State) []byte {
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rank(l Level) int { return slices.Index([]Level{Good, Warn, Stop}, l) }

func judge(p *Policy, c Counts, pools []Pool) []Finding {
	s := New(Segment, "a")
	s.Window.Add(today, "", c, p.Days)
	return p.Health(s, pools...)
}

// TestBreakerMoreHarmNeverOpens: one recipient more that was harmed, or one that was
// harmed in place of one that was not, makes no measure look better, whatever the
// pools are; neither does harm in the pools.
func TestBreakerMoreHarmNeverOpens(t *testing.T) {
	p := DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		own := drawCounts(t)
		own.Delivered++
		own.Answered++
		pools := []Pool{{"tier", drawCounts(t)}, {"all", drawCounts(t)}}
		before := judge(p, own, pools)
		compare := func(what string, i int, after []Finding) {
			if rank(after[i].Level) < rank(before[i].Level) || after[i].Judged.Low < before[i].Judged.Low-1e-12 {
				t.Fatalf("%s makes %s look better: %s, then %s", what, before[i].Measure, before[i], after[i])
			}
		}
		for i, worse := range []Counts{{Reporting: 1, Complained: 1}, {Answered: 1, Bounced: 1}, {Answered: 1, Spam: 1}, {Delivered: 1, Unsubscribed: 1}} {
			more := own
			more.Add(worse)
			compare("one more", i, judge(p, more, pools))
			bad := slices.Clone(pools)
			bad[1].Counts.Add(worse)
			bad[1].Counts.Add(worse)
			compare("a worse pool", i, judge(p, own, bad))
		}
		instead := own
		instead.Delivered--
		instead.Bounced++
		instead.Reporting = min(instead.Reporting, instead.Delivered)
		after := judge(p, instead, pools)
		for i := range after {
			compare("a bounce instead of a delivery", i, after)
		}
	})
}

// TestBreakerNoActWithoutEvidence: under three events of its own, nothing opens, however bad the pools are.
func TestBreakerNoActWithoutEvidence(t *testing.T) {
	p := DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		own := drawCounts(t)
		own.Bounced, own.Spam = min(own.Bounced, 2), min(own.Spam, 2)
		own.Complained, own.Unsubscribed = min(own.Complained, 2), min(own.Unsubscribed, 2)
		s := New(Campaign, "a")
		p.Observe(s, Observation{Sent: start(), Day: today, Counts: own})
		if acts := p.Tick(s, start(), Pool{"all", Counts{Answered: 100, Bounced: 99, Spam: 99}}); len(acts) > 0 {
			t.Fatalf("%+v: %s", own, acts[0])
		}
	})
}

// TestSplits: the same observations in any order, in any batches, stored between
// any two of them, give the same state; and it is bounded.
func TestSplits(t *testing.T) {
	p := DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		var all []Observation
		for range rapid.IntRange(1, 40).Draw(t, "n") {
			at := start().Add(time.Duration(rapid.IntRange(0, 40*24).Draw(t, "hour")) * time.Hour)
			o := Observation{Sent: at, Day: today + int32(at.Sub(start())/(24*time.Hour)), Tier: rapid.SampledFrom([]string{"", "new", "active"}).Draw(t, "tier"), Sample: rapid.Bool().Draw(t, "sample"), Counts: drawCounts(t)}
			if o.Sample {
				o.Admitted = 1
			}
			all = append(all, o)
		}
		one, two := New(Segment, "a"), New(Segment, "a")
		p.Resize(one, start().Add(time.Hour), 500)
		p.Resize(two, start().Add(time.Hour), 500)
		for _, o := range all {
			p.Observe(one, o)
		}
		for _, o := range rapid.Permutation(all).Draw(t, "order") {
			// One half of it, then the other.
			half := o
			half.Counts = Counts{Delivered: o.Delivered / 2, Bounced: o.Bounced}
			rest := o
			rest.Delivered, rest.Bounced = o.Delivered-half.Delivered, 0
			p.Observe(two, half)
			if rapid.Bool().Draw(t, "store") {
				var err error
				if two, err = Decode(stored(t, two)); err != nil {
					t.Fatal(err)
				}
			}
			p.Observe(two, rest)
		}
		a, b := stored(t, one), stored(t, two)
		if !bytes.Equal(a, b) {
			t.Fatalf("states\n%s\n%s", a, b)
		}
		if len(a) > 8192 || len(one.Window) > p.Days {
			t.Fatalf("%d octets, %d days", len(a), len(one.Window))
		}
	})
}

// TestCanarySample: the sample is within its bounds, the same whoever asks, of a smaller cohort
// a part of that of a larger one's, different for each cohort, and even over the contacts in any order.
func TestCanarySample(t *testing.T) {
	p := DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]uint64{1, 150, 242, 300, 1000, 5000, 20000}).Draw(t, "size")
		first := rapid.Uint64Range(0, 1<<40).Draw(t, "first")
		chosen := func(name string, size uint64) map[uint64]bool {
			s := New(Batch, name)
			p.Resize(s, start(), size)
			in := map[uint64]bool{}
			for id := first; id < first+size; id++ {
				if a := p.Asks(s, start(), Contact{ID: id}); a.Go {
					in[id] = true
				}
			}
			return in
		}
		name := rapid.StringN(0, 8, -1).Draw(t, "name")
		in := chosen("a"+name, size)
		if n := uint64(len(in)); n < min(size, p.Least) || n > p.Most {
			t.Fatalf("%d of %d", n, size)
		}
		firstHalf, overlap := 0, 0
		other := chosen("b"+name, size)
		for id := range in {
			if id < first+size/2 {
				firstHalf++
			}
			if other[id] {
				overlap++
			}
		}
		if n := len(in); size >= 1000 && (firstHalf < n/3 || firstHalf > 2*n/3) {
			t.Fatalf("of %d chosen, %d are of the first half", n, firstHalf)
		}
		if size >= 5000 && overlap > len(in)/2 {
			t.Fatalf("%d of %d are the same as those of another cohort", overlap, len(in))
		}
		// As the cohort grows, nobody new of those it had is chosen.
		s := New(Batch, "a"+name)
		p.Resize(s, start(), 2*size)
		for id := first; id < first+size; id++ {
			if a := p.Asks(s, start(), Contact{ID: id}); a.Go && !in[id] {
				t.Fatalf("contact %d is chosen of %d and not of %d", id, 2*size, size)
			}
		}
	})
}

// TestCanaryDecides holds over random trials: nothing passes before its time or
// unconcluded, and harm in place of a delivery never makes a failed one pass.
func TestCanaryDecides(t *testing.T) {
	p := DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		c := drawCounts(t)
		c.Delivered++
		c.Answered++
		c.Concluded++
		c.Admitted = c.Concluded + rapid.Uint64Range(0, 30).Draw(t, "in flight")
		after := time.Duration(rapid.IntRange(0, 30*60).Draw(t, "minutes")) * time.Minute
		trial := Trial{Begun: start(), Started: start(), Counts: c}
		result, why := p.decide(&trial, start().Add(after))
		known := 2*c.Reporting >= c.Delivered
		if result == passed && (after < p.After || float64(c.Concluded) < 0.95*float64(c.Admitted) || !known && after < p.Unknown) {
			t.Fatalf("%+v passed after %s: %s", c, after, why)
		}
		if result == undecided && after >= p.Unknown && float64(c.Concluded) >= 0.95*float64(c.Admitted) {
			t.Fatalf("%+v is undecided after %s: %s", c, after, why)
		}
		if result == failed && c.Bounced < 3 && c.Spam < 3 && c.Complained < 3 && c.Unsubscribed < 3 {
			t.Fatalf("%+v failed: %s", c, why)
		}
		worse := trial
		worse.Counts.Delivered--
		worse.Counts.Bounced++
		worse.Counts.Reporting = min(worse.Counts.Reporting, worse.Counts.Delivered)
		if got, why := p.decide(&worse, start().Add(after)); result == failed && got != failed {
			t.Fatalf("%+v failed, and with a bounce more it does not: %s", c, why)
		}
	})
}

// TestDecodeRefuses what is no state, and says what is wrong.
func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`:             "bad breaker state: unexpected end of JSON input",
		`{"version":2}`: "bad breaker state: version 2, this program reads 1",
		`{"version":1,"name":"a","kind":"list","phase":"closed"}`:                                       `bad breaker state of list "a": kind is not segment, batch or campaign`,
		`{"version":1,"name":"a","kind":"batch","phase":"ajar"}`:                                        `bad breaker state of batch "a": phase "ajar" is not closed, open or half-open`,
		`{"version":1,"name":"a","kind":"batch","phase":"half-open"}`:                                   `bad breaker state of batch "a": half-open without a trial`,
		`{"version":1,"name":"a","kind":"batch","phase":"open"}`:                                        `bad breaker state of batch "a": open without an end`,
		`{"version":1,"name":"a","kind":"batch","phase":"closed","opened":-1}`:                          `bad breaker state of batch "a": opened or why is out of bounds`,
		`{"version":1,"name":"a","kind":"batch","phase":"closed","window":[{"day":2},{"day":2}]}`:       `bad breaker state of batch "a": the counts of day 2 are none`,
		`{"version":1,"name":"a","kind":"batch","phase":"closed","trial":{"size":9000000000000000000}}`: `bad breaker state of batch "a": the counts of the trial are none`,
		strings.Repeat(" ", maxStored+1):                                                                "bad breaker state: 65537 octets, at most 65536",
	} {
		if _, err := Decode([]byte(text)); !errors.Is(err, ErrState) || err.Error() != want {
			t.Errorf("%.90s: %v\nwant %s", text, err, want)
		}
	}
}

// FuzzDecode: a state that is accepted can be used.
func FuzzDecode(f *testing.F) {
	p := DefaultPolicy()
	s := New(Segment, "a")
	add := func() {
		b, err := s.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add()
	p.Resize(s, start(), 5000)
	p.Observe(s, Observation{Sent: start(), Day: today, Sample: true, Counts: Counts{Admitted: 1, Delivered: 1}})
	p.Observe(s, Observation{Sent: start(), Day: today, Counts: Counts{Answered: 100, Concluded: 100, Bounced: 50}})
	add()
	p.Tick(s, start())
	add()
	p.Tick(s, start().Add(25*time.Hour))
	add()
	p.Hold(s, start(), Hand{By: "ann"})
	add()
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err != nil {
			return
		}
		for i := range 40 {
			now := start().Add(time.Duration(i) * 9 * time.Hour)
			p.Observe(s, Observation{Sent: now, Day: today + int32(i), Sample: i%2 == 0, Counts: Counts{Admitted: 1, Concluded: 9, Answered: 9, Delivered: 7, Bounced: 2}})
			p.Tick(s, now)
			p.Resize(s, now, uint64(i))
			p.Asks(s, now, Contact{ID: uint64(i), Entered: now})
			p.Next(s, now)
		}
		if _, err := s.Encode(); err != nil {
			t.Fatal(err)
		}
	})
}
