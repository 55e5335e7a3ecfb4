// SPDX-License-Identifier: Apache-2.0

package simulate

// Reputation is what a mailbox provider thinks of one source, and what follows from
// it. It is a model that fits on a page, not a provider's: days pass in it without a network, for
// rehearsals over weeks. Its figures are published ones where there are any; the others are ours,
// and said to be.
//
//   - It is the record of about 30 days, in which each day counts a tenth less than the one
//     after it (memory: published as about 30 days; the tenth is ours), mixed with what is thought of
//     sources that nobody knows, which counts like 2,000 recipients (ours).
//   - The record is engagement x valid addresses x no complaints, each from 0 to 1. Engagement
//     is nothing at 10 % of the mail in the inbox, good from 25 % on (Braze holds a warm-up below the one,
//     and calls the other good). Unknown addresses hurt from 1 % on (Adobe, of Yahoo), and nothing is left at 10 %
//     (SES pauses an account). Complaints hurt from 0.1 % of the mail in the inbox on, and nothing is left at
//     0.3 % (Gmail's two figures).
//   - The share of the mail that reaches the inbox is the reputation itself; the rest is
//     spam, which nobody reads or complains of. A source that nobody knows has a quarter (GreenArrow: three of four
//     first campaigns from a new address go to spam at Gmail).
//   - The recipients of a day that it takes are in proportion to the reputation too: Quota for a source that
//     nobody knows. Mail over it is deferred.
type Reputation struct {
	Quota int // recipients a day from a source that nobody knows; 0 = no limit

	record Record
	today  int // recipients tried today
}

// Record is counts of recipients, of which older days count less.
type Record struct {
	Tried, Unknown, Inbox, Engaged, Complained float64
}

// The figures of the model, see [Reputation].
const (
	newcomer = 0.25  // reputation of a source that nobody knows
	weight   = 2000  // recipients that this counts like
	fade     = 0.9   // of a record from one day to the next
	readsNo  = 0.10  // engagement at which nothing is left
	readsYes = 0.25  // engagement from which all is well
	unknown0 = 0.01  // unknown addresses from which it hurts
	unknown1 = 0.10  // at which nothing is left
	complain = 0.001 // complaints from which it hurts
	punished = 0.003 // at which nothing is left
)

// Score is the reputation, 0 to 1.
func (r *Reputation) Score() float64 {
	c := &r.record
	if c.Tried == 0 {
		return newcomer
	}
	engagement := newcomer // where nothing reached the inbox, nobody could
	if c.Inbox > 0 {
		engagement = ramp(c.Engaged/c.Inbox, readsNo, readsYes) * (1 - ramp(c.Complained/c.Inbox, complain, punished))
	}
	value := engagement * (1 - ramp(c.Unknown/c.Tried, unknown0, unknown1))
	// Rounded before it is added, so that every processor has the same figures.
	return (weight*newcomer + float64(c.Tried*value)) / (weight + c.Tried)
}

// ramp is 0 up to from, 1 beyond to, and in proportion between them.
func ramp(x, from, to float64) float64 { return min(1, max(0, (x-from)/(to-from))) }

// Admits reports whether another recipient is within today's quota.
func (r *Reputation) Admits() bool {
	return r.Quota == 0 || float64(r.today) < float64(r.Quota)*r.Score()/newcomer
}

// Refused counts a recipient whose mailbox is not there.
func (r *Reputation) Refused() {
	r.today++
	r.record.Tried++
	r.record.Unknown++
}

// Took counts a message that was taken, and whether it went to the inbox.
func (r *Reputation) Took(inbox bool) {
	r.today++
	r.record.Tried++
	if inbox {
		r.record.Inbox++
	}
}

// Engaged counts a message in the inbox that was read and answered.
func (r *Reputation) Engaged() { r.record.Engaged++ }

// Complained counts a message in the inbox that was called spam.
func (r *Reputation) Complained() { r.record.Complained++ }

// NextDay ends a day.
func (r *Reputation) NextDay() {
	r.today = 0
	c := &r.record
	for _, n := range []*float64{&c.Tried, &c.Unknown, &c.Inbox, &c.Engaged, &c.Complained} {
		*n *= fade
	}
}

// Reputations are the five providers of a [Population] before they know a source. A
// day's quotas are the first days' figures of the one schedule that is published by provider (Responsys), and
// elsewhere the 10,000 under which it asks for no warm-up.
func Reputations() map[string]*Reputation {
	return map[string]*Reputation{Google: {Quota: 10_000}, Microsoft: {Quota: 7500}, Yahoo: {Quota: 5000}, Apple: {Quota: 10_000}, Mailhost: {Quota: 10_000}}
}

// Temperament is what people do with a message in their inbox.
type Temperament struct {
	Engage      float64 // read and answered
	Complain    float64
	Unsubscribe float64
}

// Temperaments are those of the tiers of a [Population], and of people who never asked for mail
// ("", an address that was bought or found). All figures are ours: that each tier engages about half as much as
// the one above it and complains about twice as often is what tiers are for, how much is a guess. A list of a
// population's mixture engages with 19 % of what it sees and complains of 0.1 %, which is what
// providers ask bulk senders to stay below.
func Temperaments() map[string]Temperament {
	return map[string]Temperament{
		"active":  {0.45, 0.0001, 0.001},
		"warm":    {0.25, 0.0003, 0.002},
		"new":     {0.20, 0.0010, 0.005},
		"cooling": {0.10, 0.0010, 0.005},
		"dormant": {0.02, 0.0020, 0.005},
		"dead":    {0.005, 0.0030, 0.005},
		"":        {0.05, 0.0050, 0.010},
	}
}
