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

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
