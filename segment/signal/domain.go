// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"math"
	"time"
)

// Domain is what was learned about the mail gateway of one recipient domain: how
// many mails it took, and of how many every link was followed. Both fade with
// [Rules.HalfLife], so that a gateway that was turned off is forgiven. The zero
// Domain is one that nobody knows. Domains of one value are equal by ==.
type Domain struct {
	At        int64   // microseconds since 1970: the instant that the numbers stand for
	Delivered float64 // mails
	Swept     float64 // of those, mails of which every link was followed by a machine
	Delay     float64 // seconds from delivery to the sweep, summed over Swept
}

// A gateway is believed to sweep when it did so with at least this many mails
// and this share of them. The doubt is added to the mails, so that the first
// sweeps alone do not convict a domain.
const (
	leastSwept = 3
	leastShare = 0.3
	doubt      = 2
)

// Deliver notes that a domain took mails.
func (d *Domain) Deliver(r *Rules, now time.Time, mails int) {
	d.Delivered += float64(mails) * d.move(r, now)
}

// sweep notes that every link of a mail was followed, so long after delivery.
func (d *Domain) sweep(r *Rules, now time.Time, delay time.Duration) {
	share := d.move(r, now)
	d.Swept += share
	d.Delay += share * max(0, delay.Seconds())
}

// move fades the numbers up to an instant, and returns for how much something of
// that instant counts: 1, or less where it is older than what is known already.
func (d *Domain) move(r *Rules, now time.Time) float64 {
	at := now.UnixMicro()
	if d.At == 0 {
		d.At = at
	}
	fade := math.Exp2(-math.Abs(float64(at-d.At)) / float64(r.HalfLife.Microseconds()))
	if at < d.At {
		return fade
	}
	d.At = at
	d.Delivered *= fade
	d.Swept *= fade
	d.Delay *= fade
	return 1
}

// Sweeps returns the share of a domain's mails of which every link is followed
// and the average time that it takes; false where too little speaks for it.
func (d *Domain) Sweeps() (share float64, after time.Duration, ok bool) {
	if d == nil || d.Swept < leastSwept {
		return 0, 0, false
	}
	share = d.Swept / (max(d.Delivered, d.Swept) + doubt)
	seconds := min(d.Delay/d.Swept, maxDelay.Seconds())
	return share, time.Duration(seconds * float64(time.Second)), share >= leastShare
}

// maxDelay bounds what a domain can learn to call its gateway's time: later
// than this, a click is judged without it.
const maxDelay = 10 * time.Minute
