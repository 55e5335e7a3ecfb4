// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/wilson"
)

// Limits of the warnings.
const (
	FewMembers  = 100                 // below it, rates say next to nothing
	EmptyFor    = 7 * 24 * time.Hour  // how long a segment may be empty
	UnusedFor   = 90 * 24 * time.Hour // how long a segment may go unused
	MuchOverlap = 0.8                 // of the smaller one
	ThinField   = 0.2                 // of the contacts
	SizeJump    = 0.25                // of the size before
)

// Kinds of warnings.
const (
	KindFew     = "few_members"
	KindEmpty   = "empty"
	KindOverlap = "overlap"
	KindField   = "thin_field"
	KindJump    = "size_jump"
	KindUnused  = "unused"
)

// Warning is something about a segment that a person should look at.
type Warning struct {
	Kind string `json:"kind"`
	Text string `json:"text"` // what, the figure, and why it matters
}

// Few warns of a segment so small that nothing can be learned from it. An empty
// one has its own warning.
func Few(members uint64) (Warning, bool) {
	if members == 0 || members >= FewMembers {
		return Warning{}, false
	}
	return Warning{KindFew, fmt.Sprintf(
		"%s, under %d: without a single complaint its true rate may still be %s; to tell 2 %% clicks from 4 %% takes %s messages",
		people(members), FewMembers, wilson.Percent(wilson.Interval(0, members).High), wilson.Count(Needed(0.02, 0.04)))}, true
}

// Empty warns of a segment that has had no members for a while: its rule may
// never hold.
func Empty(members uint64, empty time.Duration) (Warning, bool) {
	if members > 0 || empty < EmptyFor {
		return Warning{}, false
	}
	return Warning{KindEmpty, fmt.Sprintf("empty for %s: its rule may never hold, segue segment explain shows why", days(empty))}, true
}

// Overlapping warns of two segments that are nearly one. other names the second.
func Overlapping(o Overlap, other string) (Warning, bool) {
	if o.Both == 0 || o.Smaller <= MuchOverlap {
		return Warning{}, false
	}
	return Warning{KindOverlap, fmt.Sprintf(
		"overlaps with %s: %s are in both, %s of the smaller and %s of either; who is in both goes by the one that comes first in order",
		other, wilson.Count(o.Both), wilson.Percent(o.Smaller), wilson.Percent(o.Jaccard))}, true
}

// Thin warns of a field that a rule reads and hardly any contact has. It says
// nothing where there are no contacts.
func Thin(field string, filled, contacts uint64) (Warning, bool) {
	filled = min(filled, contacts)
	if contacts == 0 || float64(filled) >= ThinField*float64(contacts) {
		return Warning{}, false
	}
	return Warning{KindField, fmt.Sprintf(
		"its rule reads %s, which %s of %s have (%s): the others are judged as if it were missing",
		field, wilson.Count(filled), people(contacts), wilson.Percent(float64(filled)/float64(contacts)))}, true
}

// Jump warns of a size that changed by more than a quarter, which an import or a
// changed rule does, and people seldom. Changes of fewer than [FewMembers] contacts are
// what small segments do every day.
func Jump(before, now uint64, within time.Duration) (Warning, bool) {
	change, word := now-before, "grew"
	if now < before {
		change, word = before-now, "shrank"
	}
	if change < FewMembers || float64(change) <= SizeJump*float64(before) {
		return Warning{}, false
	}
	share := ""
	if before > 0 {
		share = " by " + wilson.Percent(float64(change)/float64(before))
	}
	return Warning{KindJump, fmt.Sprintf("%s%s within %s, from %s to %s: look for an import or a change of its rule",
		word, share, days(within), wilson.Count(before), wilson.Count(now))}, true
}

// Unused warns of a segment that decided about no message for a while. used is
// whether it ever did, idle the time since then, or since it was defined.
func Unused(used bool, idle time.Duration) (Warning, bool) {
	switch {
	case idle < UnusedFor:
		return Warning{}, false
	case used:
		return Warning{KindUnused, fmt.Sprintf("not used for %s: no message went by it", days(idle))}, true
	default:
		return Warning{KindUnused, fmt.Sprintf("never used in %s: no message went by it", days(idle))}, true
	}
}

// people names a number of contacts.
func people(n uint64) string {
	if n == 1 {
		return "1 contact"
	}
	return wilson.Count(n) + " contacts"
}

// days writes a duration in whole days, shorter ones in hours.
func days(d time.Duration) string {
	n, unit := int64(d/(24*time.Hour)), "day"
	if n == 0 {
		n, unit = int64(d/time.Hour), "hour"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
