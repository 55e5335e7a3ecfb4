// SPDX-License-Identifier: Apache-2.0

// Package tier says how engaged a contact is: exactly one of new, active,
// warm, cooling, dormant and dead. Start with [Default] and [Rules.Of].
//
// A tier is computed, never stored as truth: the same [State], [Rules] and
// instant always give the same tier. The package has no clock, no goroutine and
// no I/O. Suppression is not a tier; it is checked beside it.
//
// # What counts
//
// Only human engagement counts (click, reply, login, purchase). Whoever fills a
// State keeps machine opens and scanner clicks out of LastEngaged. Days alone
// would punish those who mail seldom, mails alone those who mail often, so
// the two tiers that cost a contact its mail (dormant, dead) ask for both: days
// of silence and mails that stayed unanswered.
//
// Silence counts from the last engagement; for a contact that never engaged,
// from the first mail to it (or, where an import knew no better, the last). A
// mail is unanswered when it was sent after the last engagement; all mails to a
// contact that never engaged are.
//
// # The order, and its gaps
//
// The first tier that matches holds, in this order:
//
//	dead     silent for more than 365 d and at least 10 mails unanswered,
//	         or a re-engagement attempt failed after the last engagement
//	active   engaged within 30 d
//	warm     engaged within 90 d
//	cooling  engaged within 180 d
//	new      never engaged, and never mailed or at most 4 mails in the 30 d since the first
//	dormant  silent for more than 180 d and at least 6 mails unanswered
//	cooling  everything else
//
// dead comes first only because of failed re-engagement: its other condition
// excludes the four after it. The last line closes three gaps, all of them
// contacts about whom too little is known to give them up and who have not
// earned a place on a cold source either: those who have never engaged, are no
// longer new and were not yet silent for long (the 5th mail, or the 31st day);
// those who engaged long ago but were hardly mailed since; those of an import
// that counts mails but dates none. A contact that engaged once and was never
// mailed is not new again when it falls silent.
//
// # What holds for every valid Rules
//
// Engagement at this instant makes a contact active. Time alone never promotes:
// as a State ages, its [Tier.Rank] never falls. Both follow from what
// [Rules.Override] allows each tier to say, and are tested as properties.
package tier

import (
	"errors"
	"fmt"
)

// ErrUnknown is wrapped by errors about a name that is no tier.
var ErrUnknown = errors.New("unknown tier")

// Tier is how engaged a contact is. The zero Tier is New: a contact that nobody
// knows is new.
type Tier uint8

// The six tiers.
const (
	New     Tier = iota // nothing is known yet: few mails, no answer
	Active              // engaged within 30 d
	Warm                // engaged within 90 d
	Cooling             // engaged within 180 d, and whoever fits nowhere else
	Dormant             // silent for half a year over six mails
	Dead                // silent for a year over ten mails, or re-engagement failed

	// Count is the number of tiers, for arrays indexed by Tier.
	Count = int(Dead) + 1
)

// All returns the tiers in the order of [Tier.Rank], first the one that spends a
// scarce budget first.
func All() [Count]Tier { return [Count]Tier{Active, Warm, New, Cooling, Dormant, Dead} }

// Parse returns the tier of a name as [Tier.String] writes it.
func Parse(name string) (Tier, error) {
	for t := New; t <= Dead; t++ {
		if t.String() == name {
			return t, nil
		}
	}
	return New, fmt.Errorf("%w %q (use new, active, warm, cooling, dormant or dead)", ErrUnknown, name)
}

// String is the name in configuration, events and metrics.
func (t Tier) String() string {
	switch t {
	case New:
		return "new"
	case Active:
		return "active"
	case Warm:
		return "warm"
	case Cooling:
		return "cooling"
	case Dormant:
		return "dormant"
	case Dead:
		return "dead"
	default:
		return fmt.Sprintf("tier(%d)", uint8(t))
	}
}

// Rank is the order in which tiers spend a scarce warm-up budget, 0 first:
// active, warm, new, cooling, dormant, dead. New stands behind warm because a
// cold source needs answers and a new contact promises none; the share of a
// stage that is reserved for new contacts (new_share) keeps them from starving.
func (t Tier) Rank() int {
	switch t {
	case Active:
		return 0
	case Warm:
		return 1
	case New:
		return 2
	case Cooling:
		return 3
	case Dormant:
		return 4
	default:
		return 5
	}
}

// MarshalText writes the name, for JSON and TOML.
func (t Tier) MarshalText() ([]byte, error) {
	if t > Dead {
		return nil, fmt.Errorf("%w %d", ErrUnknown, uint8(t))
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads a name; see [Parse].
func (t *Tier) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}
