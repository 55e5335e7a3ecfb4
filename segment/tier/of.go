// SPDX-License-Identifier: Apache-2.0

package tier

import (
	"fmt"
	"strings"
	"time"
)

// Of returns the tier of a contact at an instant. It allocates nothing.
func (r Rules) Of(s State, now time.Time) Tier {
	switch {
	case r.matches(Dead, &s, now):
		return Dead
	case r.matches(Active, &s, now):
		return Active
	case r.matches(Warm, &s, now):
		return Warm
	case r.matches(Cooling, &s, now):
		return Cooling
	case r.matches(New, &s, now):
		return New
	case r.matches(Dormant, &s, now):
		return Dormant
	default:
		return Cooling
	}
}

// matches reports whether the condition of one tier holds, whatever the others
// say. What happened after now (a clock that went back) has age 0 or less, and
// so counts as just now.
func (r *Rules) matches(t Tier, s *State, now time.Time) bool {
	rule := &r.of[t]
	if n := s.unanswered(); n < rule.MinSends || n > rule.MaxSends {
		return t == Dead && s.failed()
	}
	switch t {
	case Active, Warm, Cooling:
		return !s.LastEngaged.IsZero() && now.Sub(s.LastEngaged) <= rule.Within
	case New:
		if !s.LastEngaged.IsZero() {
			return false
		}
		first := s.firstMail()
		return !s.sent() || !first.IsZero() && now.Sub(first) <= rule.Within
	default: // Dormant, Dead
		since := silentSince(s)
		return t == Dead && s.failed() || !since.IsZero() && now.Sub(since) > rule.Beyond
	}
}

// silentSince is when the silence of a contact began; zero where no date is known.
func silentSince(s *State) time.Time {
	if s.LastEngaged.IsZero() {
		return s.firstMail()
	}
	return s.LastEngaged
}

// NextChange returns the first instant after now at which time alone gives the
// contact another tier, and that tier; false if none ever does. The tier is
// constant before that instant. A caller that keeps timers needs one entry per
// contact, renewed whenever its State changes.
func (r Rules) NextChange(s State, now time.Time) (time.Time, Tier, bool) {
	current := r.Of(s, now)
	var at time.Time
	next := current
	for t := New; t <= Dead; t++ {
		change, ok := r.boundary(t, &s)
		if !ok || !change.After(now) || next != current && !change.Before(at) {
			continue
		}
		if to := r.Of(s, change); to != current {
			at, next = change, to
		}
	}
	return at, next, next != current
}

// boundary is the only instant at which time can change whether t's condition
// holds: the first nanosecond outside within, or inside beyond.
func (r *Rules) boundary(t Tier, s *State) (time.Time, bool) {
	from := silentSince(s)
	if from.IsZero() {
		return time.Time{}, false
	}
	if t == Dormant || t == Dead {
		return from.Add(r.of[t].Beyond + 1), true
	}
	return from.Add(r.of[t].Within + 1), true
}

// Reason says in one sentence why the contact has its tier, for people who
// look at one contact.
func (r Rules) Reason(s State, now time.Time) string {
	t := r.Of(s, now)
	rule := r.of[t]
	switch {
	case t == Dead && s.failed():
		return fmt.Sprintf("dead: re-engagement was given up on %s and nothing came back since", s.Reengagement.UTC().Format(time.DateOnly))
	case t == Dead, t == Dormant:
		return fmt.Sprintf("%s: %s; more than %s and at least %s", t, history(&s, now), days(rule.Beyond), mails(rule.MinSends))
	case t == New && !s.sent():
		return "new: never mailed"
	case t == New:
		return fmt.Sprintf("new: %s; at most %s within %s", history(&s, now), mails(rule.MaxSends), days(rule.Within))
	case r.matches(t, &s, now):
		return fmt.Sprintf("%s: %s; within %s", t, history(&s, now), days(rule.Within))
	default:
		return "cooling: " + history(&s, now) + "; neither engaged nor new, and not silent long enough to be dormant"
	}
}

// history tells a contact's past in one clause.
func history(s *State, now time.Time) string {
	var b strings.Builder
	switch first := s.firstMail(); {
	case !s.LastEngaged.IsZero():
		b.WriteString("last engaged " + ago(now.Sub(s.LastEngaged)))
	case !first.IsZero():
		b.WriteString("never engaged, first mailed " + ago(now.Sub(first)))
	default:
		b.WriteString("never engaged, mailed at an unknown time")
	}
	fmt.Fprintf(&b, ", %s unanswered", mails(s.unanswered()))
	return b.String()
}

func mails(n uint32) string {
	if n == 1 {
		return "1 mail"
	}
	return fmt.Sprintf("%d mails", n)
}

// ago rounds an age to what a person would say.
func ago(d time.Duration) string {
	switch n := int(d / Day); {
	case d < time.Hour:
		return "just now"
	case n == 0:
		return fmt.Sprintf("%d h ago", int(d/time.Hour))
	case n == 1:
		return "1 day ago"
	default:
		return fmt.Sprintf("%d days ago", n)
	}
}

// days writes a duration of the rules as configuration does: "30d", else as Go does.
func days(d time.Duration) string {
	if d%Day == 0 {
		return fmt.Sprintf("%dd", d/Day)
	}
	return d.String()
}
