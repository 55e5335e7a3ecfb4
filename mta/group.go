// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// group owns the goroutines of a run: when one of them fails, all are told to stop.
type group struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func newGroup(ctx context.Context) *group {
	g := &group{}
	g.ctx, g.stop = context.WithCancel(ctx)
	return g
}

// run starts f, which ends when the context does.
func (g *group) run(_ string, f func(context.Context)) {
	g.wg.Go(func() { f(g.ctx) })
}

// fail starts f; its error stops the group.
func (g *group) fail(name string, f func(context.Context) error) {
	g.wg.Go(func() {
		if err := f(g.ctx); err != nil {
			g.mu.Lock()
			g.errs = append(g.errs, fmt.Errorf("%s: %w", name, err))
			g.mu.Unlock()
			g.stop()
		}
	})
}

func (g *group) wait() error {
	g.wg.Wait()
	g.stop()
	return errors.Join(g.errs...)
}

// server is one listener with what serves it.
type server struct {
	name    string // for errors
	purpose string
	ln      net.Listener
	serve   func(ctx, hard context.Context) error // returns when it has stopped
}
