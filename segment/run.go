// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

const (
	// tendEvery is how often the wheel is looked at: membership follows time by
	// a second or two.
	tendEvery = time.Second
	// storeEvery and storeFlips say when the members are stored: how long, and
	// how many flips, an open after a crash has to repeat.
	storeEvery = time.Minute
	storeFlips = 200_000
)

// Run does what no caller waits for, until ctx ends: it turns the time wheel,
// follows changed accounts to their contacts, builds segments that are new,
// stores the members, reads the message ids of the last days, and verifies. All of it goes in small steps, between which
// others write. A fault is logged and tried again.
func (d *DB) Run(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		more, err := d.Tend(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, errClosed) {
			d.log.Error("keeping segments up to date failed, trying again", slog.Any("error", err))
			more = false
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// Tend does one step of each kind of what [DB.Run] does, and reports whether
// there is more to do at once.
func (d *DB) Tend(ctx context.Context) (bool, error) {
	var more bool
	for _, step := range []func() (bool, error){
		d.judgeHits, d.sweep, d.fanOut, d.fillTaken, func() (bool, error) { return d.buildStep(ctx) }, d.verify, d.storeWhenDue,
	} {
		again, err := step()
		if err != nil {
			return false, err
		}
		more = more || again
	}
	return more, nil
}

// storeWhenDue stores the members once enough has changed.
func (d *DB) storeWhenDue() (bool, error) {
	d.write.Lock()
	flips, now := d.write.flips-d.live.checkpoint, d.now()
	due := (flips > 0 || d.live.recounted()) && (flips >= storeFlips || now.Sub(d.live.stored) >= storeEvery || now.Before(d.live.stored))
	if due {
		d.live.stored = now
	}
	d.write.Unlock()
	if !due {
		return false, nil
	}
	return false, d.checkpoint()
}
