// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/mta/codec"
)

// genHit draws a hit within some minutes of delivery, so that bursts, early
// hits and repeated requesters are common.
func genHit() *rapid.Generator[Hit] {
	var agents []string
	for _, a := range browsers() {
		agents = append(agents, a)
	}
	slices.Sort(agents)
	return rapid.Custom(func(t *rapid.T) Hit {
		h := Hit{
			Kind:  Kind(rapid.IntRange(0, 1).Draw(t, "kind")),
			At:    midnight().Add(time.Duration(rapid.IntRange(-2_000, 200_000).Draw(t, "ms")) * time.Millisecond),
			Agent: rapid.SampledFrom(agents).Draw(t, "agent"),
			Addr:  netip.AddrFrom4([4]byte{192, 0, 2, byte(rapid.IntRange(1, 3).Draw(t, "addr"))}),
			Head:  rapid.IntRange(0, 9).Draw(t, "head") == 0,
			ID:    rapid.Uint64().Draw(t, "id"),
		}
		if h.Kind == Click {
			h.Link = uint32(rapid.IntRange(1, 5).Draw(t, "link"))
			h.Honeypot = h.Link == 5
		}
		return h
	})
}

// sweeper is a domain that is known to follow every link.
func sweeper(r *Rules) Domain {
	var d Domain
	d.Deliver(r, midnight(), 40)
	for range 40 {
		d.sweep(r, midnight(), time.Minute)
	}
	return d
}

// judgeAll plays hits in the order in which they are given, asking at every
// instant at which something is due, and through the binary form each time.
func judgeAll(t *rapid.T, r *Rules, d *Domain, hits []Hit) []Verdict {
	var out []Verdict
	m := Held{Delivered: midnight(), Links: 4}
	due := func(now time.Time) {
		for at, ok := m.Until(r); ok && !at.After(now); at, ok = m.Until(r) {
			if early := m.Due(r, d, at.Add(-time.Microsecond)); early != nil {
				t.Fatalf("judged before the hold was over: %v", early)
			}
			stored := m.Append(nil)
			again, err := DecodeHeld(stored)
			if err != nil || !bytes.Equal(again.Append(nil), stored) {
				t.Fatalf("the binary form reads back as %+v, %v; it was %+v", again, err, m)
			}
			m = again
			got := m.Due(r, d, at)
			if len(got) == 0 {
				t.Fatalf("nothing is due at %s", at)
			}
			out = append(out, got...)
		}
	}
	for _, h := range hits {
		due(h.At)
		m.Hit(r, h)
	}
	due(midnight().Add(time.Hour))
	return out
}

// TestVerdictProperties holds, for any hits in the order of their time, what
// the package comment promises.
func TestVerdictProperties(t *testing.T) {
	r := Default()
	rapid.Check(t, func(t *rapid.T) {
		hits := rapid.SliceOfN(genHit(), 1, 12).Draw(t, "hits")
		slices.SortStableFunc(hits, func(a, b Hit) int { return a.At.Compare(b.At) })
		d := sweeper(&r)
		verdicts := judgeAll(t, &r, &d, hits)
		if len(verdicts) != len(hits) {
			t.Fatalf("%d verdicts about %d hits", len(verdicts), len(hits))
		}
		for i, v := range verdicts {
			if v.Hit != hits[i] {
				t.Fatalf("verdict %d is about %+v, wanted %+v", i, v.Hit, hits[i])
			}
			if !(v.Score >= 0 && v.Score <= 1) || v.Human != (v.Score >= r.Human) {
				t.Fatalf("score %g and human %v", v.Score, v.Human)
			}
			if v.Engages() && (!v.Human || v.Hit.Kind != Click) {
				t.Fatalf("%s promotes", v.Reason())
			}
			if v.Human && (v.Hit.Head || v.Hit.Honeypot || v.Hit.At.Before(midnight())) {
				t.Fatalf("%+v is a person's", v.Hit)
			}
			if len(v.Evidence) == 0 && v.Score != 1 {
				t.Fatalf("score %g for no reason", v.Score)
			}
		}
		// A person who comes an hour later, from elsewhere, is one whatever happened.
		m := Held{Delivered: midnight()}
		for _, h := range hits {
			m.Hit(&r, h)
		}
		m.Due(&r, &d, midnight().Add(30*time.Minute))
		late := Hit{Kind: Click, At: midnight().Add(time.Hour), Link: 1, Agent: browsers()["chrome"], Addr: netip.MustParseAddr("198.51.100.200")}
		got := m.Due(&r, &d, m.Hit(&r, late))
		if len(got) != 1 || !got[0].Engages() {
			t.Fatalf("a person an hour later: %+v", got)
		}
	})
}

// TestVerdictsDoNotDependOnArrival gives the same hits in another order, all
// before the first is due.
func TestVerdictsDoNotDependOnArrival(t *testing.T) {
	r := Default()
	rapid.Check(t, func(t *rapid.T) {
		hits := rapid.SliceOfN(genHit(), 1, 12).Draw(t, "hits")
		told := func(hits []Hit) []string {
			m := Held{Delivered: midnight()}
			for _, h := range hits {
				m.Hit(&r, h)
			}
			var out []string
			for _, v := range m.Due(&r, nil, midnight().Add(time.Hour)) {
				out = append(out, fmt.Sprintf("%+v %s", v.Hit, v.Reason()))
			}
			slices.Sort(out)
			return out
		}
		want := told(hits)
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(hits), func(i, j int) { hits[i], hits[j] = hits[j], hits[i] })
		if got := told(hits); !reflect.DeepEqual(got, want) {
			t.Fatalf("in another order:\n%s\nwanted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestMoreEvidenceNeverHelps makes one hit more suspicious in one respect.
func TestMoreEvidenceNeverHelps(t *testing.T) {
	r := Default()
	rapid.Check(t, func(t *rapid.T) {
		hits := rapid.SliceOfN(genHit(), 1, 8).Draw(t, "hits")
		scores := func() (sum float64) {
			m := Held{Delivered: midnight()}
			for _, h := range hits {
				m.Hit(&r, h)
			}
			for _, v := range m.Due(&r, nil, midnight().Add(time.Hour)) {
				sum += v.Score
			}
			return sum
		}
		before := scores()
		h := &hits[rapid.IntRange(0, len(hits)-1).Draw(t, "which")]
		if rapid.Bool().Draw(t, "head") {
			h.Head = true
		} else {
			h.Honeypot = true
		}
		if after := scores(); after > before+1e-12 {
			t.Fatalf("scores rose from %g to %g", before, after)
		}
	})
}

func TestFlood(t *testing.T) {
	r, m := Default(), Held{}
	for i := range MaxHits + 10 {
		m.Hit(&r, Hit{At: midnight().Add(time.Duration(i) * 100 * time.Millisecond), Agent: browsers()["chrome"], Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})})
	}
	got := m.Due(&r, nil, midnight().Add(time.Hour))
	if len(got) != MaxHits {
		t.Fatalf("%d verdicts", len(got))
	}
	for _, v := range got {
		if v.Human || !strings.Contains(v.Reason(), "one of more than 64 hits") {
			t.Fatalf("a flood is %s", v.Reason())
		}
	}
	if len(m.Append(nil)) > 40 {
		t.Errorf("after the flood %d bytes are kept", len(m.Append(nil)))
	}
}

// TestDomainLearns lets one recipient after the other of a domain be scanned,
// until a single click at the gateway's pace is not believed any more, and
// forgets it again.
func TestDomainLearns(t *testing.T) {
	r, d := Default(), Domain{}
	scan := func(at time.Time, links int) {
		m := Held{Delivered: at, Links: links}
		for i := range links {
			m.Hit(&r, Hit{Kind: Click, At: at.Add(90*time.Second + time.Duration(i)*time.Second), Link: uint32(i), Agent: browsers()["chrome"]})
		}
		m.Due(&r, &d, at.Add(time.Hour))
	}
	alone := func(at time.Time) Verdict {
		m := Held{Delivered: at, Links: 1}
		due := m.Hit(&r, Hit{Kind: Click, At: at.Add(95 * time.Second), Link: 1, Agent: browsers()["chrome"]})
		before := d
		v := m.Due(&r, &d, due)[0]
		if !v.Human && d.Swept > before.Swept*1.0001 {
			t.Error("the domain learned from its own suspicion")
		}
		return v
	}
	at := midnight()
	for range 5 {
		if v := alone(at); !v.Human && d.Swept < leastSwept {
			t.Errorf("too little is known: %s", v.Reason())
		}
		d.Deliver(&r, at, 1)
		scan(at, 4)
		at = at.Add(time.Hour)
	}
	v := alone(at)
	if v.Human || !strings.Contains(v.Reason(), "71% of the mails have every link followed, after 1m30s on average") {
		t.Errorf("after five scans: %s", v.Reason())
	}
	d.Deliver(&r, at, 30)
	if v := alone(at); !v.Human {
		t.Errorf("thirty mails later that were not scanned: %s", v.Reason())
	}
	if _, _, ok := d.Sweeps(); ok {
		t.Errorf("%+v still sweeps", d)
	}
	for range 200 {
		d.Deliver(&r, at, 1)
		scan(at, 4)
	}
	d.Deliver(&r, at.Add(365*24*time.Hour), 0)
	if _, _, ok := d.Sweeps(); ok || d.Swept > 1 {
		t.Errorf("a year later: %+v", d)
	}
}

// TestDomainLearnsOncePerMessage scans one message twice.
func TestDomainLearnsOncePerMessage(t *testing.T) {
	r, d := Default(), Domain{}
	m := Held{Delivered: midnight()}
	for round := range 2 {
		at := midnight().Add(time.Duration(round+1) * time.Minute)
		for i := range 4 {
			m.Hit(&r, Hit{Kind: Click, At: at, Link: uint32(i), Agent: browsers()["chrome"]})
		}
		m.Due(&r, &d, at.Add(r.Hold))
	}
	if d.Swept != 1 {
		t.Errorf("one message counts %g times", d.Swept)
	}
}

// TestAddressesOfOneHost writes an IPv4 address as IPv6 does.
func TestAddressesOfOneHost(t *testing.T) {
	r := Default()
	r.Networks = []Network{{"a scanner", netip.MustParsePrefix("198.51.100.0/24"), 0.9}}
	if n := r.network(netip.MustParseAddr("::ffff:198.51.100.7")); n == nil {
		t.Error("not found")
	}
}

// TestDecodeRefuses holds back what Append never writes.
func TestDecodeRefuses(t *testing.T) {
	r := Default()
	for name, m := range map[string]Held{
		"more judged than there are": {done: 1},
		"more than can be held":      {hits: make([]Hit, MaxHits+1)},
	} {
		for i := range m.hits {
			m.hits[i].At = midnight()
		}
		if _, err := DecodeHeld(m.Append(nil)); !errors.Is(err, codec.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := Held{}
	m.Hit(&r, Hit{At: midnight()})
	stored := m.Append(nil)
	if _, err := DecodeHeld(stored[:len(stored)-1]); !errors.Is(err, codec.ErrCorrupt) {
		t.Error(err)
	}
}

// TestDomainOrder folds what happened at a domain in two orders.
func TestDomainOrder(t *testing.T) {
	r := Default()
	rapid.Check(t, func(t *rapid.T) {
		type fact struct {
			hours int
			sweep bool
		}
		facts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fact {
			return fact{rapid.IntRange(0, 2000).Draw(t, "hours"), rapid.Bool().Draw(t, "sweep")}
		}), 1, 20).Draw(t, "facts")
		fold := func() (d Domain) {
			for _, f := range facts {
				at := midnight().Add(time.Duration(f.hours) * time.Hour)
				if f.sweep {
					d.sweep(&r, at, time.Minute)
				} else {
					d.Deliver(&r, at, 1)
				}
			}
			return d
		}
		a := fold()
		slices.Reverse(facts)
		b := fold()
		near := func(x, y float64) bool { return x-y < 1e-9 && y-x < 1e-9 }
		if a.At != b.At || !near(a.Delivered, b.Delivered) || !near(a.Swept, b.Swept) || !near(a.Delay, b.Delay) {
			t.Fatalf("%+v and %+v", a, b)
		}
		if got, err := DecodeDomain(a.Append(nil)); err != nil || got != a {
			t.Fatalf("%+v reads back as %+v: %v", a, got, err)
		}
	})
}

func TestValidate(t *testing.T) {
	if r := Default(); r.Validate() != nil {
		t.Fatal(r.Validate())
	}
	for want, change := range map[string]func(*Rules){
		"hold (5s) must be longer than links_within (5s)": func(r *Rules) { r.Hold = r.LinksWithin },
		"links_within must be more than 0":                func(r *Rules) { r.LinksWithin = 0 },
		"links is 1":                                      func(r *Rules) { r.Links = 1 },
		"after_delivery must not":                         func(r *Rules) { r.AfterDelivery = -1 },
		"human is 0":                                      func(r *Rules) { r.Human = 0 },
		"the half-life":                                   func(r *Rules) { r.HalfLife = 0 },
		"the weight of sign 4 is 2":                       func(r *Rules) { r.Weight[SignBurst] = 2 },
		`agent "Curl"`:                                    func(r *Rules) { r.Agents = []Agent{{Match: "Curl"}} },
		`the weights of agent "x"`:                        func(r *Rules) { r.Agents = []Agent{{Match: "x", Open: -1}} },
		"network invalid Prefix":                          func(r *Rules) { r.Networks = []Network{{}} },
	} {
		r := Default()
		change(&r)
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, wanted %q", err, want)
		}
	}
}

func FuzzAgent(f *testing.F) {
	for _, a := range browsers() {
		f.Add(a)
	}
	f.Add("Mozilla/5.0 ")
	f.Add("İ+HTTP\xff")
	r := Default()
	f.Fuzz(func(t *testing.T, agent string) {
		a := r.Agent(agent)
		if a != nil && !strings.Contains(strings.ToLower(agent), a.Match) {
			t.Fatalf("%q is taken for %s", agent, a.Name)
		}
		m := Held{}
		for _, v := range m.Due(&r, nil, m.Hit(&r, Hit{Kind: Click, At: midnight(), Agent: agent})) {
			if v.Reason() == "" || v.Score < 0 || v.Score > 1 {
				t.Fatalf("%+v", v)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	r, m := Default(), Held{Delivered: midnight(), Links: 3}
	for i := range 4 {
		m.Hit(&r, Hit{Kind: Click, At: midnight().Add(time.Duration(i) * 20 * time.Second), Link: uint32(i), Head: i == 1, Agent: "curl/8", Addr: netip.MustParseAddr("2001:db8::1")})
	}
	f.Add(m.Append(nil))
	m.Due(&r, nil, midnight().Add(50*time.Second))
	f.Add(m.Append(nil))
	d := sweeper(&r)
	f.Add(d.Append(nil))
	f.Fuzz(func(t *testing.T, value []byte) {
		if m, err := DecodeHeld(value); err == nil {
			again, err := DecodeHeld(m.Append(nil))
			if err != nil || !reflect.DeepEqual(again, m) {
				t.Fatalf("%+v reads back as %+v: %v", m, again, err)
			}
			for at, ok := m.Until(&r); ok; at, ok = m.Until(&r) {
				d := Domain{}
				if len(m.Due(&r, &d, at)) == 0 {
					t.Fatal("nothing is due when it should be")
				}
			}
		} else if !errors.Is(err, codec.ErrCorrupt) {
			t.Fatal(err)
		}
		if d, err := DecodeDomain(value); err == nil {
			if again, err := DecodeDomain(d.Append(nil)); err != nil || again != d {
				t.Fatalf("%+v reads back as %+v: %v", d, again, err)
			}
			d.Deliver(&r, midnight(), 1)
			d.Sweeps()
		}
	})
}

// BenchmarkDue judges a message with ten hits, as a gateway and a person leave them.
func BenchmarkDue(b *testing.B) {
	r := Default()
	d := sweeper(&r)
	b.ReportAllocs()
	for b.Loop() {
		m := Held{Delivered: midnight()}
		for i := range 10 {
			m.Hit(&r, Hit{Kind: Kind(i % 2), At: midnight().Add(time.Duration(i) * time.Second), Link: uint32(i), Agent: browserAgent, Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 3)})})
		}
		if len(m.Due(&r, &d, midnight().Add(time.Hour))) != 10 {
			b.Fatal("not judged")
		}
	}
}

const browserAgent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
