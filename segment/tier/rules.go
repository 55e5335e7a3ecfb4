// SPDX-License-Identifier: Apache-2.0

package tier

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Day is the day of the rules: 24 hours, whatever the calendar says.
const Day = 24 * time.Hour

// NoLimit as MaxSends of a [Rule] means that any number of mails is fine.
const NoLimit = math.MaxUint32

// State is what a contact's tier is computed from. Zero times mean never (or
// unknown). The zero State is a contact never mailed.
type State struct {
	FirstSent    time.Time // first mail to the contact
	LastSent     time.Time // latest mail to the contact
	LastEngaged  time.Time // latest human engagement
	Reengagement time.Time // when an attempt to win the contact back was given up; void after a later engagement

	Sends                uint32 // mails ever sent
	SendsSinceEngagement uint32 // mails sent after LastEngaged; for a contact that never engaged, Sends counts if it is higher
}

// sent reports whether any mail to the contact is known.
func (s *State) sent() bool {
	return s.Sends > 0 || s.SendsSinceEngagement > 0 || !s.FirstSent.IsZero() || !s.LastSent.IsZero()
}

// unanswered is the number of mails since the last engagement.
func (s *State) unanswered() uint32 {
	if s.LastEngaged.IsZero() {
		return max(s.Sends, s.SendsSinceEngagement)
	}
	return s.SendsSinceEngagement
}

// firstMail is the oldest known mail; zero where none has a date.
func (s *State) firstMail() time.Time {
	if s.FirstSent.IsZero() {
		return s.LastSent
	}
	return s.FirstSent
}

// failed reports whether re-engagement failed and nothing happened since.
func (s *State) failed() bool {
	return !s.Reengagement.IsZero() && s.Reengagement.After(s.LastEngaged)
}

// Rule is the condition of one tier. Which fields a tier uses, and from when it
// counts, is said at [Override].
type Rule struct {
	Within   time.Duration // age at most; 0 = no condition
	Beyond   time.Duration // age more than; 0 = no condition
	MinSends uint32        // at least so many unanswered mails
	MaxSends uint32        // at most so many; [NoLimit] = no condition
}

// Rules holds the condition of every tier. It is a value: [Rules.Override]
// returns a changed copy, and a Rules may be shared between goroutines. The zero
// Rules is not valid; start from [Default].
type Rules struct {
	of [Count]Rule
}

// Default returns the rules of the package comment.
//
// Why these: 30 and 90 days are where mailbox providers' own recency cohorts
// break; half a year without an answer is the usual definition of inactive; a
// year is when an address is as likely abandoned as read. Six and ten mails
// keep a monthly sender's readers out of dormant and dead for as long as they
// have had no fair chance to answer. Five mails in the first month without an
// answer are enough to stop calling a contact new.
func Default() Rules {
	var r Rules
	r.of[Dead] = Rule{Beyond: 365 * Day, MinSends: 10, MaxSends: NoLimit}
	r.of[Active] = Rule{Within: 30 * Day, MaxSends: NoLimit}
	r.of[Warm] = Rule{Within: 90 * Day, MaxSends: NoLimit}
	r.of[Cooling] = Rule{Within: 180 * Day, MaxSends: NoLimit}
	r.of[New] = Rule{Within: 30 * Day, MaxSends: 4}
	r.of[Dormant] = Rule{Beyond: 180 * Day, MinSends: 6, MaxSends: NoLimit}
	return r
}

// Rule returns the condition of a tier.
func (r Rules) Rule(t Tier) Rule { return r.of[t] }

// Override is the part of a [[tier]] table that changes a rule; nil leaves the
// default. Fields by tier:
//
//	active, warm, cooling  within (since the last engagement), max_sends (unanswered)
//	new                    within (since the first mail), max_sends
//	dormant, dead          beyond (of silence), min_sends (unanswered)
type Override struct {
	Within, Beyond     *time.Duration
	MinSends, MaxSends *int
}

// Override returns a copy of r in which the named tier's rule is changed. It
// refuses a name that is no tier, a field that the tier does not use, and a
// value out of range. Conflicts between tiers are found by [Rules.Validate],
// once all overrides are in.
func (r Rules) Override(name string, o Override) (Rules, error) {
	t, err := Parse(name)
	if err != nil {
		return r, err
	}
	rule := r.of[t]
	silence := t == Dormant || t == Dead
	if err := errors.Join(
		setDuration(&rule.Within, o.Within, field{t, "within", !silence, "beyond"}),
		setDuration(&rule.Beyond, o.Beyond, field{t, "beyond", silence, "within"}),
		setSends(&rule.MinSends, o.MinSends, field{t, "min_sends", silence, "max_sends"}),
		setSends(&rule.MaxSends, o.MaxSends, field{t, "max_sends", !silence, "min_sends"}),
	); err != nil {
		return r, err
	}
	r.of[t] = rule
	return r, nil
}

// field is a key of a [[tier]] table: whether the tier uses it, and which it
// uses instead.
type field struct {
	tier    Tier
	name    string
	used    bool
	instead string
}

func setDuration(to, value *time.Duration, f field) error {
	switch {
	case value == nil:
		return nil
	case !f.used:
		return fmt.Errorf("tier %s takes %s, not %s", f.tier, f.instead, f.name)
	case *value <= 0 || *value > 36500*Day:
		return fmt.Errorf("tier %s: %s must be more than 0 and at most 36500d", f.tier, f.name)
	}
	*to = *value
	return nil
}

func setSends(to *uint32, value *int, f field) error {
	switch {
	case value == nil:
		return nil
	case !f.used:
		return fmt.Errorf("tier %s takes %s, not %s", f.tier, f.instead, f.name)
	case *value < 0 || *value > math.MaxInt32:
		return fmt.Errorf("tier %s: %s must be 0 to %d", f.tier, f.name, math.MaxInt32)
	}
	*to = uint32(*value)
	return nil
}

// Validate reports every reason why a tier could never hold a contact, or would
// take contacts that another tier is meant for.
func (r Rules) Validate() error {
	var errs []error
	longer := func(t, than Tier) {
		if r.of[t].Within <= r.of[than].Within {
			errs = append(errs, fmt.Errorf("tier %s: within (%s) must be longer than that of %s (%s), which is asked first",
				t, days(r.of[t].Within), than, days(r.of[than].Within)))
		}
	}
	longer(Warm, Active)
	longer(Cooling, Warm)
	if r.of[Dead].Beyond < r.of[Cooling].Within {
		errs = append(errs, fmt.Errorf("tier dead: beyond (%s) must not be shorter than within of cooling (%s): dead is asked first",
			days(r.of[Dead].Beyond), days(r.of[Cooling].Within)))
	}
	if d, o := r.of[Dead], r.of[Dormant]; d.Beyond <= o.Beyond && d.MinSends <= o.MinSends {
		errs = append(errs, fmt.Errorf("tier dormant: beyond (%s) and min_sends (%d) leave it nobody, dead takes them all",
			days(o.Beyond), o.MinSends))
	}
	return errors.Join(errs...)
}
