// SPDX-License-Identifier: Apache-2.0

// Package clock judges the clock on the wall by the monotonic one, which nobody
// sets. It is pure: a [State] is a value, both clocks come in as a [Reading].
//
// The engine lives by the wall: budget days, expiry and tiers are dates. A wall
// clock that is set hours ahead by mistake would expire mail and end days, and
// neither can be taken back. So a step of more than [Tolerance] is not
// believed at first. The state is frozen, and there are two times:
//
//   - [State.Now] goes on as if nothing had been set: what is measured in
//     minutes (retries, rates, back-off) neither fires at once nor stops.
//   - [State.Settled] stands still: what ends by its date waits.
//
// It ends when the wall returns to where it should be, when it has gone on
// evenly for [Steady], or when an operator confirms it. In the last two cases
// Now steps to the wall. Whoever keeps dates that were computed before must look at
// them again then: that is the driver's business, as are the clocks themselves.
//
// A wall that is slewed by NTP or repeats a leap second stays far below
// [Tolerance] and is followed. A machine that was suspended is seen as a step ahead, for
// its monotonic clock stood still.
//
// [Start] begins without a history. [Resume] begins with what the last process
// stored, the only evidence that there is then: a wall that is behind it
// is frozen, one that is ahead may have been switched off for so long.
package clock

import "time"

// Tolerance is how far the wall may leave the monotonic clock within Steady.
const Tolerance = 5 * time.Minute

// Steady is how long a wall that was set must go on evenly before it is believed.
const Steady = 10 * time.Minute

// Reading is one look at both clocks.
type Reading struct {
	Wall time.Time
	Mono time.Duration // since an instant that stays the same in a process
}

// State is what is believed. It does not change: Step and Confirm give the next
// one, so that readers can share it without a lock.
type State struct {
	last   Reading // the last one that was believed
	anchor Reading // believed, and at most Steady older than last: whether to believe is measured from here
	frozen bool
	doubt  Reading // frozen: since then the wall has gone on evenly
	resume bool    // frozen: last is what another process stored, of which the downtime is not known
}

// Change is what a Step did to the state.
type Change int

// Changes.
const (
	None      Change = iota
	Froze            // the wall was set
	Returned         // it is back where it should be
	Accepted         // it stayed where it was set for Steady
	Confirmed        // an operator says that it is right
)

// Start is the state of a process that has nothing to compare with.
func Start(r Reading) State { return State{last: r, anchor: r} }

// Resume is the state of a process whose predecessor stored its Now, and whether
// it was frozen then.
func Resume(r Reading, stored time.Time, frozen bool) State {
	s := Start(r)
	behind := r.Wall.Round(0).Before(stored.Add(-Tolerance))
	if !frozen && !behind {
		return s
	}
	s.last = Reading{Wall: stored, Mono: r.Mono}
	s.anchor = s.last
	s.frozen, s.doubt, s.resume = true, r, behind
	return s
}

// drift is by how much the wall went ahead of the monotonic clock since a
// reading. Times may carry a monotonic reading of their own, which must not count.
func (s *State) drift(since, r Reading) time.Duration {
	return r.Wall.Round(0).Sub(since.Wall.Round(0)) - (r.Mono - since.Mono)
}

func within(d time.Duration) bool { return -Tolerance <= d && d <= Tolerance }

func (s *State) believes(r Reading) bool { return !s.frozen && within(s.drift(s.anchor, r)) }

// Now is the time to live by: the wall, or what goes on from the last belief.
func (s *State) Now(r Reading) time.Time {
	if s.believes(r) {
		return r.Wall
	}
	return s.last.Wall.Add(r.Mono - s.last.Mono)
}

// Settled is Now, but stands still while the wall is not believed.
func (s *State) Settled(r Reading) time.Time {
	if s.believes(r) {
		return r.Wall
	}
	return s.last.Wall
}

// Frozen reports whether the wall was set and is not believed yet. Between two
// steps Now and Settled know of it before.
func (s *State) Frozen() bool { return s.frozen }

// Jump is by how much the wall is ahead of Now.
func (s *State) Jump(r Reading) time.Duration {
	if s.believes(r) {
		return 0
	}
	return s.drift(s.last, r)
}

// Left is how long the wall must still go on evenly; 0 where it is believed.
func (s *State) Left(r Reading) time.Duration {
	if !s.frozen {
		return 0
	}
	return max(s.doubt.Mono+Steady-r.Mono, 0)
}

// Step looks at both clocks. It is to be called every few seconds: what lies
// between the last call and a step of the wall is what Settled falls back by.
func (s State) Step(r Reading) (State, Change) {
	switch {
	case s.believes(r):
		s.last = r
		if r.Mono-s.anchor.Mono >= Steady {
			s.anchor = r
		}
		return s, None
	case !s.frozen:
		s.frozen, s.doubt = true, r
		return s, Froze
	case s.returned(r):
		return Start(r), Returned
	case !within(s.drift(s.doubt, r)):
		s.doubt = r // it was set once more
		return s, None
	case s.Left(r) == 0:
		return Start(r), Accepted
	}
	return s, None
}

// returned reports whether the wall is where it should be. After a start nobody
// knows how long the engine was down: then any time after the stored one will do.
func (s *State) returned(r Reading) bool {
	d := s.drift(s.anchor, r)
	return within(d) || s.resume && d > 0
}

// Confirm believes the wall at once.
func (s State) Confirm(r Reading) (State, Change) {
	if !s.frozen && s.believes(r) {
		return s, None
	}
	return Start(r), Confirmed
}
