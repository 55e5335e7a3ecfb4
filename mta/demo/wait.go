// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/event"
)

// How often the log is read, and how long nothing may happen before the demo
// believes that nothing more will.
const (
	readEvery = 400 * time.Millisecond
	stillFor  = 3 * time.Second
)

// follow reads the log and tells about progress until done says so.
func (r *run) follow(ctx context.Context, phase string, done func() (submitted int, end bool)) error {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now := r.o.Now()
		if err := r.tally.read(ctx, now); err != nil {
			return err
		}
		n, end := done()
		k := r.tally.kinds
		r.o.Progress(Progress{
			Phase: phase, Elapsed: now.Sub(r.began), Total: len(r.mails), Submitted: n,
			Delivered: k[event.Delivered], Bounced: k[event.Bounced], Waiting: r.tally.open(),
		})
		if end {
			return nil
		}
	}
}

// wait returns when everything is concluded or waits for something that a demo
// does not wait for: tomorrow's budget, a longer back-off.
func (r *run) wait(ctx context.Context) error {
	deadline := r.began.Add(r.o.Patience)
	var failed error
	err := r.follow(ctx, "delivering", func() (int, bool) {
		now := r.o.Now()
		if now.After(deadline) {
			return len(r.mails), true
		}
		if now.Sub(r.tally.moved) < stillFor || r.tally.pending(deadline) || r.world.Returning() > 0 {
			return len(r.mails), false
		}
		sum, err := r.engine.API.QueueSummary(ctx)
		if err != nil {
			failed = fmt.Errorf("reading the queue: %w", err)
			return len(r.mails), true
		}
		return len(r.mails), sum.InFlight == 0
	})
	if err != nil {
		return err
	}
	return failed
}
