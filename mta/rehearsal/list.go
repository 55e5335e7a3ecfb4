// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"strings"
	"time"

	"github.com/seguemta/segue/mta/simulate"
	"github.com/seguemta/segue/segment/tier"
)

// Bad is the segment that was bought or found.
const Bad = "old-import"

// segments are the names of the list's parts; the last one is [Bad].
func segments() []string {
	return append(strings.Fields("newsletter product trials customers partners events courses support beta"), Bad)
}

// Shares of dead addresses, both ours.
const (
	left = 0.25 // of the population's dead: the others bounced before, and are suppressed
	dead = 0.20 // of the bad segment
)

// contact is one recipient as the engine and the world know them.
type contact struct {
	address string
	domain  string
	segment int
	dead    bool
	engaged bool // active or warm on the first day: whom the mail is for
	temper  simulate.Temperament
	entered time.Time // into their segment

	state      tier.State // what the engine knows
	suppressed bool
}

// newList divides a population into segments. Who has mistyped their domain is left
// out: such mail reaches no provider.
func newList(seed uint64, people *simulate.Population) []contact {
	home := make(map[string]string)
	for _, d := range people.Domains {
		home[d.Name] = d.Provider
	}
	tempers := simulate.Temperaments()
	last := len(segments()) - 1
	var list []contact
	for i := range people.People {
		p := &people.People[i]
		if !p.Imported || home[p.Domain()] == "" {
			continue
		}
		c := contact{address: p.Address, domain: p.Domain(), segment: len(list) % (last + 1), entered: begins()}
		if c.segment == last {
			c.dead, c.temper = simulate.Chance(dead, seed, "dead", p.Address), tempers[""]
		} else {
			c.dead, c.temper = p.Dead && simulate.Chance(left, seed, "left", p.Address), tempers[p.Tier]
			c.engaged = p.Tier == tier.Active.String() || p.Tier == tier.Warm.String()
			c.state = tier.State{FirstSent: p.FirstSent, LastSent: p.LastSent, LastEngaged: p.LastEngaged, SendsSinceEngagement: uint32(p.Unanswered)} //nolint:gosec // a few dozen
		}
		list = append(list, c)
	}
	return list
}

// mailed reports whether a segment is mailed on a day of the run: twice a week, not
// all segments on the same days.
func mailed(segment, day int) bool {
	return day%7 == segment%7 || day%7 == (segment+3)%7
}

// sendAt is the time of day of campaigns.
const sendAt = 8 * time.Hour
