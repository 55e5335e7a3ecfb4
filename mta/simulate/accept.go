// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Accept gives each connection to greet, on a goroutine of its own, and closes it
// after that. When ctx ends it closes the listener and every connection. It
// returns when all are closed.
func Accept(ctx context.Context, ln net.Listener, greet func(net.Conn)) error {
	var mu sync.Mutex
	open := make(map[net.Conn]struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = ln.Close() // closed twice where its owner did it before
		mu.Lock()
		defer mu.Unlock()
		for c := range open {
			_ = c.Close() // its session notices
		}
	})
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			continue
		}
		mu.Lock()
		open[c] = struct{}{}
		mu.Unlock()
		wg.Go(func() {
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				delete(open, c)
				_ = c.Close()
			}()
			if ctx.Err() == nil {
				greet(c)
			}
		})
	}
}
