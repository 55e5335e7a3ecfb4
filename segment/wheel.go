// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seguemta/segue/segment/store"
)

// sweepBatch is the most entries of the wheel in one commit: deadlines meet at
// midnight, and events and checks wait for the writer meanwhile.
const sweepBatch = 256

// setBack is how far the clock may run back before what was judged since is
// judged again.
const setBack = time.Minute

// sweep judges contacts whose deadline has come, up to sweepBatch, and reports
// whether there may be more. All that is due for a contact is judged at once, so
// two conditions that change together do not make it leave and enter. While
// the clock is in doubt settled stands still, and nothing becomes due.
func (d *DB) sweep() (bool, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return false, errClosed
	}
	now := d.settled()
	l := &d.live
	if now.Before(instant(max(l.turned.Second, l.swept)).Add(-setBack)) {
		if err := d.setBack(now); err != nil {
			return false, err
		}
	}
	l.swept = seconds(now)
	t := d.begin()
	defer t.close()
	t.cause = causeTime
	last, n := l.turned, 0
	err := d.store.Wheel(l.turned, seconds(now), func(x store.Due) error {
		if n == sweepBatch {
			return errEnough
		}
		n++
		last = x
		t.b.DeleteDue(x)
		if have, known := d.mem.armed(x.Contact); known && have.second == x.Second {
			t.again[x.Contact] = true
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return false, err
	}
	if n == 0 {
		return false, nil
	}
	if l.verifier.hurry == 0 { // else a restart must find out again that the clock was set back
		t.b.Turned(last)
	}
	l.turned = last
	return n == sweepBatch, t.commit()
}

// setBack starts the wheel again where a clock that was set back now stands, and
// has everybody judged again: their deadlines were computed in a future that has
// not come. The place that is stored stays there until that is done.
func (d *DB) setBack(now time.Time) error {
	from := max(d.live.turned.Second, d.live.swept)
	b := d.store.Batch()
	defer b.Close()
	b.Turned(store.Due{Second: from})
	if err := b.Settle(); err != nil {
		return fmt.Errorf("noting that the clock was set back: %w", err)
	}
	d.log.Warn("the clock was set back, every contact is judged again", slog.Time("from", instant(from)), slog.Time("to", now))
	d.live.turned = store.Due{Second: seconds(now)}
	d.live.verifier.hurry = d.write.contacts.next
	d.live.verifier.cursor = 0
	return nil
}

// loadWheel reads every deadline into memory, and finds the tier that each contact was
// judged to have: that may have been long after the last turn of the wheel, but time
// alone changes no tier between then and the deadline.
func (d *DB) loadWheel() error {
	var err error
	if d.live.turned, err = d.store.Turned(); err != nil {
		return err
	}
	now := d.settled()
	d.mem.each(func(id uint64, st *store.State) {
		d.mem.arm(armed{id: id, tier: d.tiers.Of(history(st), now)})
	})
	from := d.live.turned
	if now.Before(instant(from.Second).Add(-setBack)) { // what is due since is known all the same
		from = store.Due{Second: seconds(now)}
	}
	return d.store.Wheel(from, 1<<32-1, func(x store.Due) error {
		if a, known := d.mem.armed(x.Contact); known && a.second == 0 {
			st, _ := d.mem.state(x.Contact)
			a.second, a.tier = x.Second, d.tiers.Of(history(&st), instant(x.Second).Add(-time.Second))
			d.mem.arm(a)
		}
		return nil
	})
}
