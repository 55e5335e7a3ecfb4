// SPDX-License-Identifier: Apache-2.0

// Package rehearsal plays weeks of sending in seconds, without a network: the engine's own
// decisions against a model of the world that receives. It answers what each safeguard is worth: the same
// people and the same campaigns are sent once with all of them, once without each, and once without any.
//
// Begin with [New], and [Rehearsal.Play] each of [Arms]. The package is pure: the same [Options] give the
// same result.
//
// # What is real
//
// What leaves, when, and what is held is decided by the packages that decide it in the
// engine: queue/schedule with a day's budgets, reputation/warmup with the gates of
// reputation/evidence, reputation/breaker with its canary, segment/tier. This package drives them as package
// queue and package mta do: mail is queued, asked about once more when it is about to leave,
// charged, retried, relaned, parked and released, and it expires.
//
// # What is a model
//
// Providers and people are: [simulate.Reputation] and [simulate.Temperaments] say how they behave and where
// each figure comes from. The list is a [simulate.Population]. A tenth of it is one segment
// that was bought or found: nobody knows anything of its people, every fifth address is dead, and the others
// never asked for mail. In the nine others three of four dead addresses have been taken out
// by earlier bounces (ours). Each segment is mailed twice a week, at 08:00. Nobody steers: what waits
// for an operator waits to the end. Attempts take no time, connections never fail.
//
// Chance is a hash of seed, address and campaign, so that a person does the same with
// the same message in every arm, whatever else the arm does.
package rehearsal

import (
	"errors"
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/simulate"
	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/warmup"
)

// Options of a run.
type Options struct {
	Seed     uint64
	Days     int
	Contacts int
	Plan     warmup.Plan     // of the one source, which is cold
	Limits   evidence.Limits // of the plan's gate
}

// Bounds of a run. Fewer contacts than the least would be too few to see anything of; more
// of either would take minutes.
const (
	LeastContacts = 1000
	MostContacts  = 50_000
	MostDays      = 60
)

// ErrOptions is wrapped by what cannot be run.
var ErrOptions = errors.New("this cannot be simulated")

// Validate says what is wrong with options.
func (o *Options) Validate() error {
	switch {
	case o.Days < 1 || o.Days > MostDays:
		return fmt.Errorf("%w: %d days, 1 to %d are possible", ErrOptions, o.Days, MostDays)
	case o.Contacts < LeastContacts || o.Contacts > MostContacts:
		return fmt.Errorf("%w: %d contacts, %d to %d are possible", ErrOptions, o.Contacts, LeastContacts, MostContacts)
	}
	if err := o.Plan.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return nil
}

// Arm is a way to send: which safeguards are on.
type Arm struct {
	Name    string `json:"name"`
	Tiers   bool   `json:"tiers"`   // budgets go by rank, stages admit tiers; without: by age alone
	Gates   bool   `json:"gates"`   // stages of the warm-up ask for evidence; without: only for used volume
	Breaker bool   `json:"breaker"` // segments that do harm are held
	Canary  bool   `json:"canary"`  // a sample of a segment that nobody has proven goes first
}

// Arms are the ways to compare: with all, without tier order, breaker or canary, without the two that hold segments,
// and without any, which is a warm-up by volume as other mail servers have it. A bounced address
// is suppressed in all of them.
func Arms() []Arm {
	return []Arm{
		{"all on", true, true, true, true},
		{"no tier order", false, true, true, true},
		{"no breaker", true, true, false, true},
		{"no canary", true, true, true, false},
		{"neither of the two", true, true, false, false},
		{"plain warm-up", false, false, false, false},
	}
}

// begins is the first day of every run, a Monday: nothing depends on the calendar
// but the days of the week.
func begins() time.Time { return time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC) }

// Rehearsal is a list and what becomes of it under each [Arm].
type Rehearsal struct {
	o      Options
	people *simulate.Population
}

// New makes the list.
func New(o Options) (*Rehearsal, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Rehearsal{o: o, people: simulate.NewPopulation(o.Seed, o.Contacts, begins())}, nil
}

// Play sends the campaigns of all days in one way. It is safe for concurrent use.
func (r *Rehearsal) Play(a Arm) Outcome {
	w := newWorld(&r.o, a, r.people)
	w.run()
	return w.outcome()
}

// Result is the answer of arms that were played.
func (r *Rehearsal) Result(arms []Outcome) *Result {
	out := &Result{Seed: r.o.Seed, Days: r.o.Days, Plan: r.o.Plan.Name, Bad: Bad, Arms: arms}
	for _, c := range newList(r.o.Seed, r.people) {
		out.Contacts++
		if c.engaged {
			out.Engaged++
		}
		if c.segment == len(segments())-1 {
			out.Imported++
			if c.dead {
				out.Dead++
			}
		}
	}
	return out
}
