// SPDX-License-Identifier: Apache-2.0

package throttle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/reputation/bounce"
)

// tightRules act on few observations, so that random lives reach everything.
const tightRules = `
rule slow
text busy
when 1 in 10m slow rate 1/m for 15m
when 3 in 30m suspend source for 30m
next wait
yes 450 busy
no 450 x

rule less
text much
when 1 in 10m slow rate 30/m connections 2 per_connection 9 for 15m
next wait
yes 450 much
no 450 x

rule segment
text content
when 2 in 30m suspend segment for 1h
next wait
yes 550 content
no 450 x

rule lane
text laned
when 1 in 30m suspend lane for 1h
next wait
yes 550 laned
no 450 x

rule look
text odd
when 2 in 10m alert
next look
yes 450 odd
no 450 x

rate bounces
counts bounced
sample 10
in 1h
low 5% slow to 50% connections 4 for 1h
high 20% suspend source for 2h
next look

rate complaints
counts complained
sample 10
in 24h
low 2% slow to 50% for 1h
next look
`

func tight(t interface{ Fatal(args ...any) }, provider string) *Policy {
	rules, err := Parse("tight", tightRules)
	if err != nil {
		t.Fatal(err)
	}
	return rules.For(provider, Normal{Reports: true}, Damping{})
}

func drawObservation(t *rapid.T) Observation {
	o := Observation{Outcome: rapid.SampledFrom([]Outcome{Delivered, Deferred, Bounced, Complained}).Draw(t, "outcome")}
	o.Site = fmt.Sprint("mx", rapid.IntRange(0, 5).Draw(t, "site"))
	o.Lane = Lane{Stream: "marketing", Segment: fmt.Sprint("s", rapid.IntRange(0, 40).Draw(t, "segment")), Tier: "active"}
	if o.Outcome == Deferred || o.Outcome == Bounced {
		o.Reply = rfc5321.Reply{Code: 450, Text: rapid.SampledFrom([]string{"busy", "much", "content", "laned", "odd", "later"}).Draw(t, "reply")}
		o.Verdict = rapid.SampledFrom([]bounce.Verdict{bounce.Suppress, bounce.Reputation, bounce.Ignore}).Draw(t, "verdict")
		o.Transactional = rapid.IntRange(0, 9).Draw(t, "transactional") == 0
	}
	return o
}

func drawProvider(t *rapid.T) string {
	return rapid.SampledFrom([]string{"google", ""}).Draw(t, "provider")
}

func drawPause(t *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{0, time.Second, 20 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 9 * time.Hour, 30 * time.Hour}).Draw(t, "pause")
}

func stored(t *rapid.T, s *State) []byte {
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// open reports whether b allows something that a does not.
func open(a, b Limits) bool {
	wider := func(x, y float64) bool { return x != 0 && (y == 0 || y > x) }
	if a.Suspended && !b.Suspended || b.Until.Before(a.Until) || wider(a.Rate, b.Rate) ||
		wider(float64(a.Connections), float64(b.Connections)) || wider(float64(a.PerConnection), float64(b.PerConnection)) {
		return true
	}
	return slices.ContainsFunc(a.Lanes, func(x Suspension) bool {
		return !slices.ContainsFunc(b.Lanes, func(y Suspension) bool {
			return y.Target == x.Target && y.Name == x.Name && !y.Until.Before(x.Until)
		})
	})
}

// TestLives holds what must hold whatever happens: no observation ever opens
// anything, changes downward are a minute apart and steps upward an hour, states
// are bounded and survive the store, and each act has its evidence.
func TestLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		provider := drawProvider(t)
		p, s, now := tight(t, provider), New("a1", provider), start()
		var down, up time.Time
		bad := 0
		for range rapid.IntRange(1, 150).Draw(t, "n") {
			now = now.Add(drawPause(t))
			acts := p.Tick(s, now)
			before := p.Limits(s, now)
			o := drawObservation(t)
			if o.Outcome != Delivered {
				bad++
			}
			acts = append(acts, p.Observe(s, now, o)...)
			after := p.Limits(s, now)
			if open(before, after) {
				t.Fatalf("%+v opens %+v to %+v", o, before, after)
			}
			if o.Outcome == Delivered && fmt.Sprint(before) != fmt.Sprint(after) {
				t.Fatalf("a delivery changes %+v to %+v", before, after)
			}
			for _, a := range acts {
				switch a.Kind {
				case Slow, Suspend:
					if a.Time.Sub(down) < time.Minute {
						t.Fatalf("a change %s after the last: %s", a.Time.Sub(down), a)
					}
					down = a.Time
					if a.Count == 0 || int(a.Count) > bad || a.Rule == "" || a.Next == "" || a.Undo() == "" || a.Until.Before(a.Time) {
						t.Fatalf("without evidence, of %d bad observations: %+v", bad, a)
					}
					if a.Kind == Suspend && a.Until.Sub(a.Time) > 24*time.Hour {
						t.Fatalf("too long: %s", a)
					}
				case Raise, Recovered:
					if a.Time.Sub(up) < time.Hour {
						t.Fatalf("a step up %s after the last: %s", a.Time.Sub(up), a)
					}
					up = a.Time
				default:
				}
			}
			b := stored(t, s)
			if len(b) > 1<<15 {
				t.Fatalf("%d octets", len(b))
			}
			if _, err := Decode(b); err != nil {
				t.Fatalf("%v: %s", err, b)
			}
		}
		// Left alone, everything is normal again: nothing holds for good.
		p.Tick(s, now.Add(30*24*time.Hour))
		if l := p.Limits(s, now.Add(30*24*time.Hour)); fmt.Sprint(l) != fmt.Sprint(Limits{}) || !p.Next(s).IsZero() {
			t.Fatalf("after a month: %+v, next %s", l, p.Next(s))
		}
	})
}

// TestSplits: storing and loading between observations, and asking in between
// what is due, changes neither acts nor states.
func TestSplits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		provider := drawProvider(t)
		p, one, two, now := tight(t, provider), New("a1", provider), New("a1", provider), start()
		var first, second []Act
		for range rapid.IntRange(1, 80).Draw(t, "n") {
			pause := drawPause(t)
			if rapid.Bool().Draw(t, "store") {
				var err error
				if two, err = Decode(stored(t, two)); err != nil {
					t.Fatal(err)
				}
			}
			if rapid.Bool().Draw(t, "tick") {
				second = append(second, p.Tick(two, now.Add(pause/3))...)
				p.Limits(two, now.Add(pause/2))
			}
			now = now.Add(pause)
			o := drawObservation(t)
			first = append(first, p.Observe(one, now, o)...)
			second = append(second, p.Observe(two, now, o)...)
		}
		a, _ := json.Marshal(first)
		b, _ := json.Marshal(second)
		if !bytes.Equal(a, b) {
			t.Fatalf("acts\n%s\n%s", a, b)
		}
		if x, y := stored(t, one), stored(t, two); !bytes.Equal(x, y) {
			t.Fatalf("states\n%s\n%s", x, y)
		}
	})
}

// TestNoActWithoutEvidence: deliveries, and replies that no rule knows, do nothing.
func TestNoActWithoutEvidence(t *testing.T) {
	p := builtinRules(t).For("google", Normal{Reports: true}, Damping{})
	s, now := New("a1", "google"), start()
	greylisted := refused(rfc5321.Reply{Code: 451, Enhanced: rfc5321.EnhancedCode{4, 7, 1}, Text: "Greylisted, try again later"})
	for i := range 50000 {
		o := Observation{Outcome: Delivered}
		if i%3 == 0 {
			o = greylisted
		}
		if acts := p.Observe(s, now, o); len(acts) > 0 {
			t.Fatalf("%s", acts[0])
		}
		now = now.Add(100 * time.Millisecond)
	}
	if l := p.Limits(s, now); fmt.Sprint(l) != fmt.Sprint(Limits{}) {
		t.Fatalf("%+v", l)
	}
}

// TestBounds: however many lanes, segments and replies, a state stays small and can
// be read again. When so many lanes are suspended, it is the source that is.
func TestBounds(t *testing.T) {
	p := tight(t, "google")
	s, now := New("a1", "google"), start()
	var acts []Act
	for i := range 5000 {
		o := refused(rfc5321.Reply{Code: 450, Text: []string{"laned", "content", "odd"}[i%3]})
		o.Lane.Segment = fmt.Sprint("segment ", i)
		acts = append(acts, p.Observe(s, now, o)...)
		if len(s.Counters) > maxCounters || len(s.Lanes) > maxLanes {
			t.Fatalf("%d counters, %d lanes", len(s.Counters), len(s.Lanes))
		}
		if i%3 == 0 {
			now = now.Add(time.Minute)
		}
		if s.suspended() {
			break
		}
	}
	last := acts[len(acts)-1]
	if len(s.Lanes) != maxLanes || last.Kind != Suspend || last.Target != TargetSource || !strings.Contains(last.Note, "lane marketing/segment ") {
		t.Errorf("%d lanes, then %s", len(s.Lanes), last)
	}
	one := New("a1", "google")
	for range 1000 { // within one minute of a change, so that nothing takes the matches away
		p.Observe(one, now, refused(rfc5321.Reply{Code: 450, Text: "busy"}))
	}
	if n := len(one.Counters[0].Times); n > 3 {
		t.Errorf("%d matches are kept", n)
	}
	for _, s := range []*State{s, one} {
		b, err := s.Encode()
		if err != nil || len(b) > 1<<15 {
			t.Errorf("%d octets, %v", len(b), err)
		}
		if _, err := Decode(b); err != nil {
			t.Error(err)
		}
	}
}

// TestReload: other rules take a state over: what runs goes on, what is counted for
// rules of the same name stays, what belongs to rules that are gone goes.
func TestReload(t *testing.T) {
	p := tight(t, "google")
	s, now := New("a1", "google"), start()
	p.Observe(s, now, refused(rfc5321.Reply{Code: 450, Text: "busy"}))
	p.Observe(s, now, refused(rfc5321.Reply{Code: 550, Text: "content"}))
	p.Observe(s, now, Observation{Outcome: Bounced, Verdict: bounce.Suppress})
	rules, err := Parse("other", tightRules[:strings.Index(tightRules, "rule less")]+tightRules[strings.Index(tightRules, "rate bounces"):])
	if err != nil {
		t.Fatal(err)
	}
	q := rules.For("google", Normal{}, Damping{})
	if l := q.Limits(s, now); l.Rule != "slow" || l.Rate == 0 {
		t.Errorf("%+v", l)
	}
	q.Tick(s, now)
	if len(s.Counters) != 1 || s.Counters[0].Rule != "slow" || len(s.Rings) != 2 || s.Rings[0].Of[s.Rings[0].Slot%slots] != 3 {
		t.Errorf("%+v %+v", s.Counters, s.Rings)
	}
}

// TestObserveAllocatesNothing where no rule matches.
func TestObserveAllocatesNothing(t *testing.T) {
	p := builtinRules(t).For("google", Normal{Reports: true}, Damping{})
	s, now := New("a1", "google"), start()
	later := refused(rfc5321.Reply{Code: 451, Text: "greylisted, please come back in a while"})
	for name, o := range map[string]Observation{"a 250": {Outcome: Delivered}, "an unknown reply": later} {
		if n := testing.AllocsPerRun(100, func() { p.Observe(s, now, o) }); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// TestDecodeRefuses what is no state, and says what is wrong.
func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`:             "bad throttle state: unexpected end of JSON input",
		`{"version":2}`: "bad throttle state: version 2, this program reads 1",
		`{"version":1,"source":"a1","provider":"x","counters":[{"rule":"r","times":[2,1]}]}`:    `bad throttle state of "a1" at "x": counter of rule "r" is not one`,
		`{"version":1,"source":"a1","rings":[{"rule":"r","slot":-1}]}`:                          `bad throttle state of "a1" at "": counts of rule "r" are of no time`,
		`{"version":1,"source":"a1","rings":[{"rule":"r","slot":9000000000000000000}]}`:         `bad throttle state of "a1" at "": counts of rule "r" are of no time`,
		`{"version":1,"source":"a1","suspended":{"target":"source","rule":"r","running":true}}`: `bad throttle state of "a1" at "": suspension of source "" by rule "r" is not one`,
		`{"version":1,"source":"a1","slowed":{"rate":1}}`:                                       `bad throttle state of "a1" at "": slowed without an end or a limit`,
		`{"version":1,"source":"a1","pinned":{"by":"x","rate":-1}}`:                             `bad throttle state of "a1" at "": pinned to a negative limit`,
		strings.Repeat(" ", maxStored+1):                                                        "bad throttle state: 262145 octets, at most 262144",
	} {
		if _, err := Decode([]byte(text)); !errors.Is(err, ErrState) || err.Error() != want {
			t.Errorf("%.90s: %v\nwant %s", text, err, want)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	p := builtinRules(b).For("google", Normal{Reports: true}, Damping{})
	now := start()
	unknown := refused(rfc5321.Reply{Code: 451, Enhanced: rfc5321.EnhancedCode{4, 7, 1}, Text: "Greylisted, please come back in a while; see http://postgrey.schweikert.ch/help/example.com.html"})
	for name, o := range map[string]Observation{"delivered": {Outcome: Delivered}, "unmatched": unknown} {
		b.Run(name, func(b *testing.B) {
			s := New("a1", "google")
			b.ReportAllocs()
			for b.Loop() {
				p.Observe(s, now, o)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(tightRules)
	f.Add("rule a\ntext x * yy\nwhen 1 in 1s slow rate 1/h connections 2 per_connection 3 to 1% for 1h\nnext n\nyes 450 x yy\nno 450 z\n")
	f.Add("rate r\nprovider a b\ncounts deferred\nsample 1\nin 168h\nhigh 99.9% alert\nnext n\n")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := Parse("f", text)
		if err != nil {
			return
		}
		p := rules.For("a", Normal{Reports: true}, Damping{})
		s := New("a1", "a")
		for i := range 50 {
			p.Observe(s, start().Add(time.Duration(i)*time.Minute), refused(rfc5321.Reply{Code: 450, Text: text}))
		}
		if _, err := s.Encode(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzDecode: a state that is accepted can be used, and is bounded.
func FuzzDecode(f *testing.F) {
	p := tight(f, "google")
	s := New("a1", "google")
	f.Add([]byte(`{"version":1,"source":"a1"}`))
	for i, text := range []string{"busy", "content", "laned", "odd", "content", "busy", "busy"} {
		p.Observe(s, start().Add(time.Duration(i)*time.Minute), refused(rfc5321.Reply{Code: 450, Text: text}))
		b, err := s.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	p.Pin(s, start().Add(time.Hour), Pin{Rate: 1, By: "ann"})
	b, _ := s.Encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err != nil {
			return
		}
		for i := range 40 {
			p.Observe(s, start().Add(time.Duration(i)*time.Minute), refused(rfc5321.Reply{Code: 450, Text: "busy content"}))
		}
		p.Limits(s, start())
		p.Next(s)
		if _, err := s.Encode(); err != nil {
			t.Fatal(err)
		}
	})
}
