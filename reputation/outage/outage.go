// SPDX-License-Identifier: Apache-2.0

// Package outage tells a provider's error from its word. A mailbox provider whose
// directory fails answers "user unknown" to everybody for an hour; a resolver that
// lies says so of whole domains. Each of these answers is, by itself, a hard bounce
// that suppresses a contact for good, and a list would lose thousands of sound
// addresses by it.
//
// Begin with a [Guard] and call [Guard.Take] for what became of each recipient, in
// the order in which it happened. It keeps, for each provider, how many recipients were attempted
// and how many of them were said not to exist: over the last hour in steps of five minutes, and
// as a baseline of the weeks before. When an hour has at least a hundred unknown users, and
// their share is more than five times the baseline, the provider is in doubt: Take then says until
// when a suppression may hold, which is a week, and goes on until the share is at most
// twice the baseline again. What happened while in doubt never enters the baseline,
// so an outage of days does not become the usual.
//
// A provider nobody knows yet begins with a baseline of two in a hundred, which weighs as
// much as 500 recipients: the first mail to a bad list is not an outage until every tenth
// address is dead, and even then the suppressions only have to be earned again.
//
// What to do about a doubt (the alarm, the suppressions written in the hour before it began) is the
// caller's. The package is pure: time comes with each fact. A Guard is not safe for
// concurrent use; [Guard.Clone] makes the copy that a write works on until it is durable.
package outage

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Other is the name of all providers without one.
const Other = "other"

// Limits are when a provider is in doubt and for how long its word is.
type Limits struct {
	Factor      float64       // share of unknown users over the baseline that is in doubt
	Least       int           // unknown users in the window below which there is no doubt
	Normal      float64       // share over the baseline at which the doubt ends
	Provisional time.Duration // how long a suppression holds that was made in doubt
}

// Default is the limits that Segue uses.
func Default() Limits {
	return Limits{Factor: 5, Least: 100, Normal: 2, Provisional: 7 * 24 * time.Hour}
}

const (
	step   = 5 * time.Minute
	steps  = 12 // of the window
	window = steps * step

	// halfLife is how fast the baseline forgets.
	halfLife = 14 * 24 * time.Hour

	// What is assumed of a provider nobody has sent to.
	priorWeight = 500
	priorShare  = 0.02
)

// MaxProviders bounds the state: providers beyond it count as other.
const MaxProviders = 200

// Guard is what is known of all providers.
type Guard struct {
	limits    Limits
	providers map[string]*series
}

// series is what is known of one provider.
type series struct {
	At       int64         // number of the newest step
	Window   [steps]counts // the step with number n is at n % steps
	Baseline baseline      // of the steps that left the window
	Doubt    int64         // since when it is in doubt, in seconds; 0 = it is not
	Evidence string        // of the doubt, from when it began
}

type counts struct{ Attempted, Unknown int }

type baseline struct {
	Attempted, Unknown float64
	At                 int64 // number of the step to which they are decayed
}

// Fact is what became of one recipient.
type Fact struct {
	Time      time.Time
	Provider  string // "" = other
	Attempted bool   // it was tried; false for a bounce mail that came later
	Unknown   bool   // it was said not to exist
}

// Verdict is what a hard bounce is worth.
type Verdict struct {
	Until    time.Time // when its suppression ends; zero = for good
	Evidence string    // why it ends
}

// Change says that a provider came into doubt or out of it.
type Change struct {
	Provider string
	Doubt    bool
	Since    time.Time // when the doubtful hour began; of the doubt that ends, too
	Evidence string
}

// New makes a guard that knows nothing.
func New(l Limits) *Guard { return &Guard{limits: l, providers: map[string]*series{}} }

// Take counts a fact. change is not nil where the provider came into doubt by it, or out.
func (g *Guard) Take(f Fact) (v Verdict, change *Change) {
	name := g.name(f.Provider)
	s := g.providers[name]
	if s == nil {
		s = &series{At: number(f.Time)}
		g.providers[name] = s
	}
	s.turn(number(f.Time))
	c := &s.Window[s.At%steps]
	if f.Attempted {
		c.Attempted++
	}
	if f.Unknown {
		c.Unknown++
	}
	change = g.judge(name, s)
	if f.Unknown && s.Doubt != 0 {
		v = Verdict{Until: f.Time.Add(g.limits.Provisional), Evidence: s.Evidence}
	}
	return v, change
}

func (g *Guard) name(provider string) string {
	if provider == "" {
		return Other
	}
	if g.providers[provider] == nil && len(g.providers) >= MaxProviders {
		return Other
	}
	return provider
}

func number(t time.Time) int64 { return t.Unix() / int64(step/time.Second) }

// turn moves the window on to a step. A clock that was set back counts in the
// newest step.
func (s *series) turn(to int64) {
	if to-s.At > steps {
		// Everything leaves; steps in between had nothing.
		for n := s.At - steps + 1; n <= s.At; n++ {
			s.leave(n)
		}
		s.At = to
		return
	}
	for s.At < to {
		s.At++
		s.leave(s.At - steps)
	}
}

// leave takes a step out of the window, into the baseline unless its provider is
// in doubt.
func (s *series) leave(n int64) {
	if n < 0 {
		return
	}
	c := &s.Window[n%steps]
	if s.Doubt == 0 && c.Attempted > 0 {
		b := &s.Baseline
		if n > b.At {
			decay := math.Exp2(-float64(n-b.At) * float64(step) / float64(halfLife))
			b.Attempted, b.Unknown, b.At = b.Attempted*decay, b.Unknown*decay, n
		}
		b.Attempted += float64(c.Attempted)
		b.Unknown += float64(min(c.Unknown, c.Attempted))
	}
	*c = counts{}
}

func (s *series) sum() (c counts) {
	for _, w := range s.Window {
		c.Attempted += w.Attempted
		c.Unknown += w.Unknown
	}
	return c
}

// usual is the share of unknown users that is expected.
func (s *series) usual() float64 {
	return (s.Baseline.Unknown + priorShare*priorWeight) / (s.Baseline.Attempted + priorWeight)
}

// share is that of the window. Bounce mail can make the unknown more than the
// attempted.
func (c counts) share() float64 { return float64(c.Unknown) / float64(max(c.Attempted, c.Unknown, 1)) }

// judge brings a provider into doubt or out of it.
func (g *Guard) judge(name string, s *series) *Change {
	sum, usual := s.sum(), s.usual()
	switch share := sum.share(); {
	case s.Doubt == 0 && sum.Unknown >= g.limits.Least && share > g.limits.Factor*usual:
		s.Doubt = max(1, (s.At-steps+1)*int64(step/time.Second))
		s.Evidence = fmt.Sprintf("%s said of %d of %d recipients within an hour that they do not exist (%.1f %%), which is usually %.1f %%",
			name, sum.Unknown, max(sum.Attempted, sum.Unknown), 100*share, 100*usual)
		return &Change{Provider: name, Doubt: true, Since: time.Unix(s.Doubt, 0).UTC(), Evidence: s.Evidence}
	case s.Doubt != 0 && share <= g.limits.Normal*usual:
		since := time.Unix(s.Doubt, 0).UTC()
		s.Doubt, s.Evidence = 0, ""
		return &Change{Provider: name, Since: since, Evidence: fmt.Sprintf("%d of %d recipients within an hour do not exist (%.1f %%), which is as usual",
			sum.Unknown, sum.Attempted, 100*share)}
	}
	return nil
}

// Doubts returns the providers in doubt, by name.
func (g *Guard) Doubts() []Change {
	var list []Change
	for _, name := range slices.Sorted(maps.Keys(g.providers)) {
		if s := g.providers[name]; s.Doubt != 0 {
			list = append(list, Change{Provider: name, Doubt: true, Since: time.Unix(s.Doubt, 0).UTC(), Evidence: s.Evidence})
		}
	}
	return list
}

// Clone returns a copy that changes by itself.
func (g *Guard) Clone() *Guard {
	next := New(g.limits)
	for name, s := range g.providers {
		next.providers[name] = new(*s)
	}
	return next
}
