// SPDX-License-Identifier: Apache-2.0

package segment

import "github.com/seguemta/segue/segment/store"

// Kinds of a [Flip].
const (
	FlipSuppressed = "suppressed" // a suppression was added; Scope
	FlipLifted     = "lifted"     // a suppression was removed; Scope
	FlipTier       = "tier"       // the tier is another, or was when mail was admitted; From, To; cause "time" where no event did it
	FlipEntered    = "entered"    // the contact came to be in a segment; Segment, Version
	FlipLeft       = "left"       // it is no longer in it
	FlipRebuilt    = "rebuilt"    // a segment was defined anew, and has the members of its new rule; Contact is 0
)

// Flip is one change of a contact that mail already queued, or whoever follows
// a segment, must know about. It was committed together with the change.
//
// A segment that was defined anew changes all its members in one moment:
// [FlipRebuilt] says how many entered and left, unless nobody did. Where all the segments of that
// moment changed no more than a thousand memberships, each follows it as a flip
// of its own, with cause "definition"; else none does, and who needs them reads
// [DB.Members].
type Flip = store.Flip

// ReadFlips returns up to limit flips with a sequence above after, oldest first.
// A consumer keeps the last sequence it handled, with [DB.Epoch], in its own
// store, reads the current state again with [DB.Check] when it handles a flip,
// and so may handle one twice.
func (d *DB) ReadFlips(after uint64, limit int) ([]Flip, error) {
	return d.store.Flips(after, limit)
}

// Flips delivers a token when there may be new flips; one consumer may wait for
// it. A token can be early or stand for many flips: read until nothing comes.
func (d *DB) Flips() <-chan struct{} { return d.flipped }

// LastFlip is the sequence of the newest flip ever written, 0 if there is none.
func (d *DB) LastFlip() uint64 {
	d.write.Lock()
	defer d.write.Unlock()
	return d.write.flips
}

// TruncateFlips removes flips up to and including a sequence. Call it with the
// lowest cursor of all consumers, once that cursor is durable. Those that are
// newer than the stored members stay until these are stored again.
func (d *DB) TruncateFlips(through uint64) error {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return errClosed
	}
	d.live.wanted = max(d.live.wanted, through)
	return d.cutFlips(d.live.wanted)
}
