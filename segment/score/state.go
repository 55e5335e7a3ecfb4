// SPDX-License-Identifier: Apache-2.0

package score

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/seguemta/segue/mta/codec"
	"github.com/seguemta/segue/segment/rule"
)

// MaxDays is of how many pairs of a capped activity and a day it is remembered
// how much of the cap is used.
const MaxDays = 32

// State is the behaviour of one contact. The zero State has done nothing.
// Change it by [Model.Fold] only.
type State struct {
	value  float64 // unclamped, at the instant at
	at     int64   // microseconds since 1970; 0 where nothing was folded
	frozen bool    // a complaint: 0 for good, nothing else is kept
	forgot bool    // floor counts
	floor  int64   // the last day of which uses were forgotten
	used   []use   // by day, then activity
}

// use is what a capped activity did in one day.
type use struct {
	day      int64 // days since 1970, UTC
	activity uint32
	count    uint64
	sum      float64 // of points, each decayed from its event to the end of the day
}

const dayMicro = 86_400_000_000

// dayOf is the UTC day of an instant, also before 1970.
func dayOf(micro int64) int64 {
	day := micro / dayMicro
	if micro%dayMicro < 0 {
		day--
	}
	return day
}

// Frozen reports whether a complaint ended the contact's score.
func (s *State) Frozen() bool { return s.frozen }

// IsZero reports whether nothing was folded: such a state need not be stored.
func (s *State) IsZero() bool { return s.at == 0 && !s.frozen }

// inRange reports whether an instant is of the years 1 to 9999: differences of
// such instants do not overflow.
func inRange(micro int64) bool { return micro >= -62135596800_000_000 && micro < 253402300800_000_000 }

// Fold adds an event, and reports whether it changed anything. The package
// comment says what order, repetition, caps, complaints and machines do. The
// event's time is at most the present: one from the future would count more
// than its points until then.
func (m *Model) Fold(s *State, e *rule.Event) bool {
	switch {
	case s.frozen || !inRange(e.Time):
		return false
	case e.Name == EventComplaint:
		*s = State{frozen: true}
		return true
	}
	list := m.activities[e.Name]
	if len(list) == 0 {
		return false
	}
	if machine := e.Properties[PropertyMachine]; machine.Boolean() {
		return false
	}
	changed := false
	for i := range list {
		a := &list[i]
		if a.filter != nil {
			if _, ok := a.filter.Entry(e); !ok {
				continue
			}
		}
		if a.cap > 0 {
			changed = m.foldCapped(s, a, e.Time) || changed
		} else {
			m.add(s, a.points, e.Time)
			changed = true
		}
	}
	return changed
}

// Counts reports whether events of a name can change a state at all.
func (m *Model) Counts(event string) bool {
	return event == EventComplaint || len(m.activities[event]) > 0
}

// fade is what is left of a point after a time; more than one before it.
func (m *Model) fade(micro int64) float64 {
	return math.Exp2(-float64(micro) / float64(m.options.HalfLife.Microseconds()))
}

// advance moves the instant that a state stands for.
func (m *Model) advance(s *State, to int64) {
	switch {
	case s.at == 0:
		s.at = max(to, 1)
	case to > s.at:
		s.value *= m.fade(to - s.at)
		s.at = to
	}
}

// add adds points as of an instant.
func (m *Model) add(s *State, points float64, at int64) {
	m.advance(s, at)
	s.value += points * m.fade(s.at-at)
}

// foldCapped adds an event of an activity with a cap: what its day gave so far
// is taken out, and what it gives now is put in.
func (m *Model) foldCapped(s *State, a *activity, at int64) bool {
	day := dayOf(at)
	if s.forgot && day <= s.floor {
		return false
	}
	i, found := slices.BinarySearchFunc(s.used, use{day: day, activity: a.id}, func(x, y use) int {
		return cmp.Or(cmp.Compare(x.day, y.day), cmp.Compare(x.activity, y.activity))
	})
	if !found {
		s.used = slices.Insert(s.used, i, use{day: day, activity: a.id})
	}
	u := &s.used[i]
	m.advance(s, at)
	end := (day + 1) * dayMicro
	before := u.gives(a)
	u.count++
	u.sum += a.points * m.fade(end-at)
	s.value += (u.gives(a) - before) * m.fade(s.at-end)
	s.forget()
	return true
}

// gives is what a day is worth at its end: all its points, or where they are
// beyond the cap the same share of each.
func (u *use) gives(a *activity) float64 {
	points := math.Abs(a.points) * float64(u.count)
	if points <= a.cap {
		return u.sum
	}
	return u.sum * (a.cap / points)
}

// forget drops the oldest days while there are too many.
func (s *State) forget() {
	for len(s.used) > MaxDays {
		s.forgot, s.floor = true, s.used[0].day
		n := 1
		for n < len(s.used) && s.used[n].day == s.floor {
			n++
		}
		s.used = slices.Delete(s.used, 0, n)
	}
}

// layout is the version that a stored state begins with.
const layout = 1

const (
	flagFrozen = 1 << iota
	flagForgot
)

// Append appends the binary form.
func (s *State) Append(b []byte) []byte {
	var flags byte
	if s.frozen {
		flags |= flagFrozen
	}
	if s.forgot {
		flags |= flagForgot
	}
	b = append(b, layout, flags)
	b = codec.AppendInt(b, s.at)
	b = appendNumber(b, s.value)
	b = codec.AppendInt(b, s.floor)
	b = codec.AppendUint(b, uint64(len(s.used)))
	for i := range s.used {
		u := &s.used[i]
		b = codec.AppendInt(b, u.day)
		b = codec.AppendUint(b, uint64(u.activity))
		b = codec.AppendUint(b, u.count)
		b = appendNumber(b, u.sum)
	}
	return b
}

// appendNumber appends a number; round ones are short.
func appendNumber(b []byte, n float64) []byte {
	return codec.AppendUint(b, bits.ReverseBytes64(math.Float64bits(n)))
}

// maxSum is beyond everything that events add up to.
const maxSum = 1e18

// number reads a number; ok is false for one that no sum can be.
func number(r *codec.Reader) (n float64, ok bool) {
	n = math.Float64frombits(bits.ReverseBytes64(r.Uint()))
	return n, math.Abs(n) <= maxSum
}

// Decode reads what [State.Append] wrote. Errors wrap [codec.ErrCorrupt].
func Decode(value []byte) (State, error) {
	r := codec.NewReader(value)
	version, flags := r.Byte(), r.Byte()
	s := State{at: r.Int(), frozen: flags&flagFrozen != 0, forgot: flags&flagForgot != 0}
	var sound bool
	s.value, sound = number(r)
	s.floor = r.Int()
	n := r.Uint()
	sound = sound && version == layout && flags <= flagFrozen|flagForgot && n <= MaxDays && inRange(s.at) && (s.forgot || s.floor == 0)
	for i := uint64(0); sound && r.Err() == nil && i < n; i++ {
		u := use{day: r.Int()}
		activity := r.Uint()
		u.activity, u.count = uint32(activity), r.Uint() //nolint:gosec // checked below
		u.sum, sound = number(r)
		sound = sound && activity <= math.MaxUint32 && u.count > 0 && inDays(u.day) && (i == 0 || s.used[i-1].before(&u))
		s.used = append(s.used, u)
	}
	empty := s.value == 0 && s.at == 0 && !s.forgot && n == 0
	if r.Err() != nil || r.More() || !sound || s.frozen && !empty || s.at == 0 && !empty {
		return State{}, fmt.Errorf("behaviour of a contact: %w", codec.ErrCorrupt)
	}
	return s, nil
}

// inDays reports whether a day's instants are in range.
func inDays(day int64) bool {
	return day >= dayOf(-62135596800_000_000) && day < dayOf(253402300800_000_000)
}

func (u *use) before(o *use) bool { return u.day < o.day || u.day == o.day && u.activity < o.activity }
