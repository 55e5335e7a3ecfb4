// SPDX-License-Identifier: Apache-2.0

// Package score computes lead scores: how well a contact fits, and how active
// it is. Start with [New], then [Model.Fit] and [Model.Fold].
//
// Fit is asked of what is known about a contact and its account: the points of
// all rules that hold, added up and clamped to 0 .. [Options.FitMax]. Industry 30,
// size 20 and geography 10 make 60 of 50, which is 50. It changes only when
// something is written.
//
// Behaviour is folded from events: each adds its points at its own time, and
// everything fades with one half-life. A [State] holds the sum as one number and
// the instant it stands for, so an event costs the same whatever came before. The
// sum is clamped to 0 .. [Options.BehaviourMax] when it is read and not when it is
// written: clamping each step would make the score depend on the order in which
// events arrive. Points below 0 take away, for instance for an unsubscription.
//
// The score is fit and behaviour together. As [rule.Decay] it can be asked for any
// instant, and for the one at which it falls below a level, so that a segment by
// score loses its members to the microsecond without being polled.
//
// # What holds of folding
//
// Any order of the same events leaves the same state, but for rounding: a late
// event counts what is left of it, decayed from its own time. Of an activity with
// a cap per day (UTC), all events of a day share the cap evenly, so that it does
// not matter which came first. Caps are remembered for [MaxDays] pairs of
// activity and day; on a day that had to be forgotten, an activity with a cap
// counts nothing any more, since a point that has nearly faded is worth less than
// a cap that holds. A complaint sets behaviour and score to 0 for good, whatever
// comes before or after it. What a machine did (property "machine") counts nothing.
//
// An event that is folded twice counts twice: a number cannot tell. Whoever folds
// recognises repetitions by their messageId first, and commits the state together
// with what recognises them.
//
// The package has no clock, no goroutine and no I/O.
package score

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/seguemta/segue/segment/rule"
)

// Events and properties that mean something to every model.
const (
	EventComplaint  = "Email Marked as Spam" // freezes the score at 0
	PropertyMachine = "machine"              // boolean: nobody did it, a machine did
)

// Limits of a model.
const (
	MaxRules    = 1000      // of each dimension
	MaxPoints   = 1_000_000 // of one rule, above and below 0
	MinHalfLife = time.Hour // less is no score but a rate
	MaxHalfLife = 36500 * 24 * time.Hour
)

// Options is what a model consists of.
type Options struct {
	Fit          []FitRule
	Activities   []Activity
	FitMax       float64
	BehaviourMax float64
	HalfLife     time.Duration
	Account      Account
}

// FitRule gives points to whoever its condition holds for. The condition may read
// what is known of contact and account: no score, no tier, no stage, no event, no
// segment, and no time, so that fit changes only when something is written.
type FitRule struct {
	Where  string // CEL
	Points float64
}

// Activity gives points for an event.
type Activity struct {
	Event  string  // its name
	Filter string  // CEL over property.x; "" = every such event
	Points float64 // may be below 0
	PerDay float64 // at most so many points in one day, of either sign; 0 = no cap
}

// Account is how the score of an account follows from those of its contacts.
type Account uint8

// The ways.
const (
	AccountMax  Account = iota // that of the best contact
	AccountTop3                // those of the best three, added up
)

// Model is a compiled model. It is immutable and safe for concurrent use.
type Model struct {
	options    Options
	fit        []*rule.Rule
	activities map[string][]activity // by event
	key        [16]byte
}

// activity is a compiled Activity.
type activity struct {
	filter *rule.SeriesSpec // nil = every event of the name
	points float64
	cap    float64 // 0 = none
	id     uint32  // under which a day's use is stored: of all that the activity is
}

// RuleError is what is wrong with one rule or activity of a model.
type RuleError struct {
	Fit   bool   // whether it is a FitRule or an Activity
	Index int    // of it
	Key   string // its field as configuration calls it: where, event, filter, points, per_day
	Err   error  // of a condition, with faults for [rule.Faults]
}

func (e *RuleError) Error() string {
	dimension := "behaviour"
	if e.Fit {
		dimension = "fit"
	}
	return fmt.Sprintf("%s rule %d: %s: %v", dimension, e.Index+1, e.Key, e.Err)
}

// Unwrap returns the cause.
func (e *RuleError) Unwrap() error { return e.Err }

// New compiles a model against the attributes that are declared. Its error joins
// everything that is wrong, a [*RuleError] for each rule.
func New(schema *rule.Schema, o Options) (*Model, error) {
	m := &Model{options: o, activities: map[string][]activity{}}
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(!(o.FitMax >= 0 && o.FitMax <= MaxPoints), "fit_max is %g, it must be 0 to %d", o.FitMax, MaxPoints)
	wrong(!(o.BehaviourMax >= 0 && o.BehaviourMax <= MaxPoints), "behaviour_max is %g, it must be 0 to %d", o.BehaviourMax, MaxPoints)
	wrong(o.HalfLife < MinHalfLife || o.HalfLife > MaxHalfLife, "half_life is %s, it must be %s to %s", o.HalfLife, MinHalfLife, MaxHalfLife)
	wrong(o.Account > AccountTop3, "account score %d is not known", o.Account)
	wrong(len(o.Fit) > MaxRules || len(o.Activities) > MaxRules, "a model has at most %d rules of each dimension", MaxRules)
	for i := range o.Fit {
		r, fault := compileFit(schema, &o.Fit[i])
		if fault != nil {
			fault.Fit, fault.Index = true, i
			errs = append(errs, fault)
		}
		m.fit = append(m.fit, r)
	}
	for i := range o.Activities {
		a, fault := compileActivity(schema, &o.Activities[i])
		if fault != nil {
			fault.Index = i
			errs = append(errs, fault)
		}
		name := rule.CanonicalEvent(o.Activities[i].Event)
		m.activities[name] = append(m.activities[name], a)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.key = m.identity()
	return m, nil
}

// Key is the identity of everything that a [State] was folded by. A state of
// another key says nothing under this model: fold the contact's events again.
func (m *Model) Key() [16]byte { return m.key }

// Identity is the identity of the whole model: scores of another may be others.
func (m *Model) Identity() [16]byte {
	o := &m.options
	text := fmt.Sprintf("%x %#v %g %g %d", m.key, o.Fit, o.FitMax, o.BehaviourMax, o.Account)
	sum := sha256.Sum256([]byte(text))
	return [16]byte(sum[:16])
}

func (m *Model) identity() [16]byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(m.options.HalfLife)) //nolint:gosec // only its bits matter
	for i := range m.options.Activities {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(b))), m.options.Activities[i].text()...) //nolint:gosec // only to keep texts apart
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// text is everything that an activity is.
func (a *Activity) text() string {
	number := func(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }
	return strconv.Quote(a.Event) + strconv.Quote(a.Filter) + number(a.Points) + "/" + number(a.PerDay)
}

// id is a hash of that (FNV-1a, 32 bits).
func (a *Activity) id() uint32 {
	h := uint32(2166136261)
	text := a.text()
	for i := range len(text) {
		h = (h ^ uint32(text[i])) * 16777619
	}
	return h
}

func badPoints(n float64) bool { return math.IsNaN(n) || n == 0 || math.Abs(n) > MaxPoints }
