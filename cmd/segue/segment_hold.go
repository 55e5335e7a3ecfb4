// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/api"
)

// cohort is whose mail is held or let go, and who says so.
type cohort struct {
	Name     string `arg:"" optional:"" help:"The segment."`
	Batch    string `help:"An import batch, instead of a segment." placeholder:"NAME"`
	Campaign string `help:"A campaign, instead of a segment." placeholder:"NAME"`
	Reason   string `help:"Why, for the event." placeholder:"TEXT"`
	By       string `env:"USER" help:"Who, for the event." placeholder:"NAME"`
}

// steer gives an order and says what became of it.
func (c *cohort) steer(a *app, action string, length time.Duration) error {
	act := api.BreakerAct{Action: action, By: c.By, Reason: c.Reason}
	for _, x := range [][2]string{{"segment", c.Name}, {"batch", c.Batch}, {"campaign", c.Campaign}} {
		if x[1] == "" {
			continue
		}
		if act.Name != "" {
			return errors.New("this names two: give one segment, or --batch, or --campaign")
		}
		act.Kind, act.Name = x[0], x[1]
	}
	if act.Name == "" {
		return errors.New("whose mail? give a segment, or --batch, or --campaign")
	}
	if length > 0 {
		act.Until = a.now().Add(length).UTC().Truncate(time.Second)
	}
	return show(a, func(ctx context.Context, m api.Methods) (api.BreakerActed, error) { return m.SteerBreaker(ctx, act) },
		func(r api.BreakerActed) error { return a.say("%s", r.Text) })
}

type segmentHold struct {
	cohort
	For config.Duration `help:"For so long, such as 48h or 2d; by default until it is released." placeholder:"DURATION"`
}

// Run holds a cohort.
func (c *segmentHold) Run(a *app) error { return c.steer(a, "hold", c.For.Std()) }

type segmentRelease struct {
	cohort
	Override bool            `help:"Let its mail go whatever its evidence is, instead of judging it anew."`
	For      config.Duration `help:"With --override, for so long, such as 48h or 2d; by default until it is released." placeholder:"DURATION"`
}

// Run lets a cohort go.
func (c *segmentRelease) Run(a *app) error {
	if c.Override {
		return c.steer(a, "override", c.For.Std())
	}
	if c.For != 0 {
		return errors.New("--for goes with --override: a release has no end")
	}
	return c.steer(a, "release", 0)
}
