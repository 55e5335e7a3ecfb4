// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/wilson"
)

// maxHalfOpen is the part of a small cohort that a half-open breaker lets go: never all of it.
const maxHalfOpen = 0.5

// Contact is whose mail is asked for.
type Contact struct {
	ID      uint64
	Entered time.Time // segment: when it became a member; batch: when it was imported
	Proven  bool      // no canary asks for it: there is none, or it has passed another way
	Sampled bool      // it was let go for the running trial before, see [State.Sampled]
	Ahead   uint64    // others of the sample that were let go and are not yet observed
}

// Answer is whether a recipient's mail goes now.
type Answer struct {
	Go     bool
	Sample bool   // it is of a trial: observe Admitted 1 when it leaves
	Waits  bool   // it does not go as others are tried first: it may, as of the sample, if another cohort's trial lets it
	Why    string // where it does not go
}

// Asks says whether mail of a stream that is not transactional goes now.
func (p *Policy) Asks(s *State, now time.Time, c Contact) Answer {
	held := func(why string) Answer { return Answer{Why: string(s.Kind) + " " + s.Name + " is held: " + why} }
	if h := s.hand(now); h != nil {
		if h.Hold {
			return held(by(h.By, h.Reason))
		}
		return Answer{Go: true}
	}
	switch {
	case s.Phase == Open:
		return held(s.Why)
	case s.Phase == HalfOpen:
		return p.tries(s, c, held("half-open, others are tried first: "+s.Why))
	case s.Kind == Campaign || c.Proven || !s.Proven.IsZero() && !c.Entered.After(s.Proven):
		return Answer{Go: true}
	case s.Refused:
		return held(s.Why)
	case s.Trial == nil:
		return held("it is unproven and its canary has not begun")
	default:
		first := math.Round(p.share(s.Trial.Size) * float64(s.Trial.Size))
		return p.tries(s, c, held(fmt.Sprintf("it is unproven, and a sample of about %s goes first", wilson.Count(uint64(first)))))
	}
}

// tries lets go who is of the sample; a is the answer to all others.
func (p *Policy) tries(s *State, c Contact, a Answer) Answer {
	if p.sampled(s, c) {
		return Answer{Go: true, Sample: true}
	}
	a.Waits = s.Trial.Counts.Admitted < p.Most
	return a
}

// hand is what an operator has said, while it holds, or nil.
func (s *State) hand(now time.Time) *Hand {
	if s.Hand == nil || !s.Hand.Until.IsZero() && !now.Before(s.Hand.Until) {
		return nil
	}
	return s.Hand
}

// sampled reports whether a contact is of the running trial's sample.
func (p *Policy) sampled(s *State, c Contact) bool {
	if c.Sampled {
		return true
	}
	share := p.share(s.Trial.Size)
	if s.Phase == HalfOpen {
		share = min(share, maxHalfOpen)
	}
	if s.Trial.Counts.Admitted+c.Ahead >= p.full(s.Trial.Size, share) {
		return false
	}
	return share >= 1 || float64(s.hash(c.ID)>>11)/(1<<53) < share
}

// share is the part of a cohort that goes first. A random choice varies by
// its square root: the least is asked for with three of these more, the most with three less.
func (p *Policy) share(size uint64) float64 {
	if size == 0 {
		return p.Share
	}
	least, most := float64(p.Least), float64(p.Most)
	least, most = least+3*math.Sqrt(least), most-3*math.Sqrt(most)
	// Never more contacts of a smaller cohort than of a larger one, and never a larger share of a larger one.
	want := min(max(p.Share*float64(size), least), max(most, least))
	return min(1, want/float64(size))
}

// full is how many of a sample leave no doubt that the cohort has grown since its size was told:
// the rest waits until that is known, lest all of it goes by the share of a small one.
func (p *Policy) full(size uint64, share float64) uint64 {
	if size == 0 {
		return p.Most
	}
	chosen := max(share*float64(size), float64(p.Least)+3*math.Sqrt(float64(p.Least)))
	n := uint64(chosen + 3*math.Sqrt(chosen))
	if share < 1 {
		n = min(n, p.Most)
	}
	return n
}

// hash spreads contacts evenly, differently for each cohort and trial.
func (s *State) hash(contact uint64) uint64 {
	h := uint64(14695981039346656037)
	mix := func(b byte) { h = (h ^ uint64(b)) * 1099511628211 }
	for i := range len(s.Kind) {
		mix(s.Kind[i])
	}
	mix(0)
	for i := range len(s.Name) {
		mix(s.Name[i])
	}
	h ^= contact*0x9e3779b97f4a7c15 + uint64(s.Trials)<<32
	// The finish of MurmurHash3: each bit of the input moves each of the output.
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// outcome is what a trial has come to.
type outcome int

const (
	undecided outcome = iota
	passed
	failed
	empty // all of it ended, and no provider has answered
)

// decide judges a trial. Clear harm is not waited for; passing is.
func (p *Policy) decide(t *Trial, now time.Time) (outcome, string) {
	c := &t.Counts
	for _, m := range p.measures() {
		if f := p.find(&m, *c, nil); f.Level == Stop {
			return failed, f.String()
		}
	}
	switch {
	case c.Admitted == 0:
		return undecided, "none of the sample has left"
	case float64(c.Concluded) < p.Concluded*float64(c.Admitted):
		return undecided, fmt.Sprintf("%s of %s concluded", wilson.Count(c.Concluded), wilson.Count(c.Admitted))
	case now.Before(t.Started.Add(p.After)):
		return undecided, "decided " + t.Started.Add(p.After).Format(time.DateTime)
	case c.Answered == 0:
		return empty, "no provider has answered"
	}
	known := 2*c.Reporting >= c.Delivered
	if !known && now.Before(t.Started.Add(p.Unknown)) {
		return undecided, "few of its providers report complaints: decided without " + t.Started.Add(p.Unknown).Format(time.DateTime)
	}
	why := []string{fmt.Sprintf("%s of %s concluded", wilson.Count(c.Concluded), wilson.Count(c.Admitted))}
	for _, m := range p.measures() {
		hits, of := m.count(*c)
		r := wilson.Interval(hits, of)
		if hits >= p.Events && m.limit.Stop > 0 && r.Share > m.limit.Stop {
			return failed, fmt.Sprintf("%s %s, above %s", m.name, r, wilson.Percent(m.limit.Stop))
		}
		if m.name == "complained" && !known {
			why = append(why, "complaints unknown")
			continue
		}
		why = append(why, m.name+" "+r.String())
	}
	return passed, strings.Join(why, ", ")
}
