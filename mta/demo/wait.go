// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/api"
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
// does not wait for: tomorrow's budget, a longer back-off. Where patience ends first,
// it lets every source rest, so that what is counted then stands still.
func (r *run) wait(ctx context.Context) error {
	deadline := r.began.Add(r.o.Patience)
	var failed error
	late := false
	err := r.follow(ctx, "delivering", func() (int, bool) {
		now := r.o.Now()
		if late = now.After(deadline); late {
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
	if err != nil || failed != nil || !late {
		return cmp.Or(err, failed)
	}
	return r.rest(ctx)
}

// restFor bounds the wait for what is in flight when the sources rest.
const restFor = 10 * time.Second

// rest pauses every source and waits until nothing is in flight.
func (r *run) rest(ctx context.Context) error {
	sources, err := r.engine.API.Sources(ctx)
	if err != nil {
		return fmt.Errorf("reading the sources: %w", err)
	}
	end := r.o.Now().Add(restFor)
	for _, s := range sources {
		if err := r.engine.API.PauseSource(ctx, api.Pause{Source: s.Name, Until: end.Add(restFor)}); err != nil {
			return fmt.Errorf("letting a source rest: %w", err)
		}
		r.resting = append(r.resting, s.Name)
	}
	var failed error
	err = r.follow(ctx, "counting", func() (int, bool) {
		var sum api.QueueSummary
		sum, failed = r.engine.API.QueueSummary(ctx)
		return len(r.mails), failed != nil || sum.InFlight == 0 || r.o.Now().After(end)
	})
	return cmp.Or(err, failed)
}

// wake lets the sources that rest send again.
func (r *run) wake(ctx context.Context) error {
	for _, name := range r.resting {
		if err := r.engine.API.PauseSource(ctx, api.Pause{Source: name}); err != nil {
			return fmt.Errorf("letting a source send again: %w", err)
		}
	}
	return nil
}
