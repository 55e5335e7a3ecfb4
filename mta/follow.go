// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"time"

	"github.com/seguemta/segue/queue/store"
)

// followLog applies the queue's event log until ctx ends: page after page while apply
// finds some, else when there is more. failed is told of an error; a second later
// apply is tried again.
func followLog(ctx context.Context, mail *store.Store, apply func(context.Context) (int, error), failed func(error)) {
	for ctx.Err() == nil {
		_, changed := mail.Durable()
		n, err := apply(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			failed(err)
			pause(ctx, time.Second)
		case n == 0:
			select {
			case <-ctx.Done():
			case <-changed:
			}
		}
	}
}

// followTimed is followLog for a consumer that also does something by time. step takes the
// next page, if any, and does what is due; it returns whether there may be more at once,
// and otherwise how long it can wait when no event comes (0 = for ever).
func followTimed(ctx context.Context, mail *store.Store, step func(context.Context) (bool, time.Duration, error), failed func(error)) {
	for ctx.Err() == nil {
		_, changed := mail.Durable()
		more, due, err := step(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			failed(err)
			pause(ctx, time.Second)
		case err == nil && !more:
			await(ctx, changed, due)
		}
	}
}

// Timers of followTimed: not in a busy circle while the clock stands still, and soon
// enough where it was set ahead.
const (
	leastWait = 100 * time.Millisecond
	mostWait  = time.Minute
)

// await waits until something is closed, for d where it is not 0, or until ctx ends.
func await(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	var due <-chan time.Time
	if d != 0 {
		t := time.NewTimer(min(max(d, leastWait), mostWait))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-due:
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
