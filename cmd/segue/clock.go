// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/seguemta/segue/mta/api"
)

type clockCmd struct {
	remote
	Show    clockShow    `cmd:"" help:"Show the time that the engine lives by, and the wall clock."`
	Confirm clockConfirm `cmd:"" help:"Believe a wall clock that was set, without waiting ten minutes."`
}

type clockShow struct{}

// Run prints both clocks.
func (*clockShow) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.Clock, error) { return m.Clock(ctx) }, func(c api.Clock) error {
		state := "believed"
		if c.Frozen {
			state = "set, not believed before " + a.when(c.Believed)
		}
		jump := time.Duration(c.Jump * float64(time.Second)).Round(time.Second)
		return a.pairs([2]string{"engine", a.when(c.Now)}, [2]string{"wall", a.when(c.Wall)}, [2]string{"jump", jump.String()}, [2]string{"wall clock", state})
	})
}

type clockConfirm struct{}

// Run confirms the wall clock.
func (*clockConfirm) Run(a *app) error {
	return a.order(func(ctx context.Context, m api.Methods) error { return m.ConfirmClock(ctx) }, "the wall clock is believed")
}
