// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/seguemta/segue/queue"
)

// obey applies what the segment that decides the lane asks of every mail: some of
// its contacts get none, and mail leaves only in its window. The window is asked
// again when the mail is about to leave; caps are asked only then.
func (s Assignment) obey(r *queue.Recipient, c *Contact, now time.Time) {
	if s.Holdback > 0 && share(r) < s.Holdback {
		r.Dropped = "holdback"
		return
	}
	zone := c.Zone
	if zone == nil {
		zone = time.UTC
	}
	due := r.Due
	if due.Before(now) {
		due = now
	}
	if opens := s.Window.Opens(due, zone); opens.After(due) {
		r.Base, r.Due, r.Wait = due, opens, s.Window.Waits(opens, zone)
	}
}

// share is a number from 0 to below 1 that a segment and an address always give
// again. The id of the contact is not asked: nobody has one before the first mail, and
// who is imported anew has another.
func share(r *queue.Recipient) float64 {
	h := sha256.New()
	h.Write([]byte(r.Class.Segment))
	h.Write([]byte{0})
	h.Write([]byte(r.Address.Key()))
	return float64(binary.BigEndian.Uint64(h.Sum(nil))>>11) / (1 << 53)
}
