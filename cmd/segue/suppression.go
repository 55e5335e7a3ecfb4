// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/api"
)

type suppressionCmd struct {
	remote
	Ls   suppressionLs   `cmd:"" help:"List suppressions."`
	Add  suppressionAdd  `cmd:"" help:"Suppress an address; its queued mail stops."`
	Lift suppressionLift `cmd:"" help:"Lift suppressions of an address."`
	Undo suppressionUndo `cmd:"" help:"Lift the hard bounces that a provider caused by its own error."`
}

type suppressionLs struct {
	Address string `arg:"" optional:"" help:"Only this address, or those that begin so."`
	Limit   int    `help:"At most so many." default:"100"`
}

// Run prints suppressions.
func (c *suppressionLs) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) ([]api.Suppression, error) {
		return m.Suppressions(ctx, api.SuppressionQuery{Address: c.Address, Limit: c.Limit})
	}, a.suppressions)
}

func (a *app) suppressions(list []api.Suppression) error {
	t := a.table("ADDRESS", "REASON", "SCOPE", "BY", "SINCE", "UNTIL", "EVIDENCE")
	for _, s := range list {
		who := s.Address
		if who == "" {
			who = "#" + s.Hash // it was erased
		}
		t.row(who, s.Reason, s.Scope, s.Source, stamp(s.Created), stamp(s.Expires), shorten(s.Evidence))
	}
	return t.flush()
}

type suppressionAdd struct {
	Address  string        `arg:"" help:"The address."`
	Scope    string        `default:"all" help:"all, stream:NAME or domain:NAME."`
	Reason   string        `default:"manual" help:"Reason."`
	Evidence string        `help:"What it rests on, such as a ticket." placeholder:"TEXT"`
	For      time.Duration `help:"For so long, such as 720h; by default for good." placeholder:"DURATION"`
}

// Run suppresses an address.
func (c *suppressionAdd) Run(a *app) error {
	s := api.Suppression{Address: c.Address, Scope: c.Scope, Reason: c.Reason, Evidence: c.Evidence}
	if c.For > 0 {
		s.Expires = a.now().Add(c.For).UTC().Truncate(time.Second)
	}
	return a.order(func(ctx context.Context, m api.Methods) error { return m.Suppress(ctx, s) }, c.Address+" is suppressed ("+c.Scope+")")
}

type suppressionLift struct {
	Address string `arg:"" help:"The address."`
	Scope   string `help:"Only this scope: all, stream:NAME or domain:NAME; by default every one." placeholder:"SCOPE"`
}

// Run lifts suppressions.
func (c *suppressionLift) Run(a *app) error {
	s := api.Suppression{Address: c.Address, Scope: c.Scope}
	what := "every suppression of "
	if c.Scope != "" {
		what = "suppression (" + c.Scope + ") of "
	}
	return a.order(func(ctx context.Context, m api.Methods) error { return m.Lift(ctx, s) }, what+c.Address+" is lifted")
}

type suppressionUndo struct {
	Provider string `required:"" help:"Provider, or other for all without a name." placeholder:"NAME"`
	Since    string `required:"" help:"From this time on, such as 2026-11-23T10:00:00Z." placeholder:"TIME"`
	Until    string `required:"" help:"Before this time." placeholder:"TIME"`
	Reason   string `required:"" help:"Why, for the log." placeholder:"TEXT"`
	DryRun   bool   `help:"Only count them."`
}

// Run lifts the hard bounces of a provider and a span of time.
func (c *suppressionUndo) Run(a *app) error {
	u := api.Undo{Provider: c.Provider, Reason: c.Reason, DryRun: c.DryRun}
	for _, t := range []struct {
		flag, text string
		at         *time.Time
	}{{"--since", c.Since, &u.Since}, {"--until", c.Until, &u.Until}} {
		at, err := time.Parse(time.RFC3339, t.text)
		if err != nil {
			return fmt.Errorf("%s %q is not a time such as 2026-11-23T10:00:00Z", t.flag, t.text)
		}
		*t.at = at
	}
	return show(a, func(ctx context.Context, m api.Methods) (api.Undone, error) { return m.UndoSuppressions(ctx, u) }, func(done api.Undone) error {
		if done.DryRun {
			return a.say("%d suppressions for hard bounces at %s would be lifted", done.Lifted, c.Provider)
		}
		return a.say("%d suppressions for hard bounces at %s are lifted", done.Lifted, c.Provider)
	})
}
