// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/api"
)

type suppressionCmd struct {
	remote
	Ls   suppressionLs   `cmd:"" help:"List suppressions."`
	Add  suppressionAdd  `cmd:"" help:"Suppress an address; its queued mail stops."`
	Lift suppressionLift `cmd:"" help:"Lift suppressions of an address."`
	Undo suppressionUndo `cmd:"" help:"Lift the hard bounces that a provider caused by its own error."`

	Import suppressionImport `cmd:"" help:"Import a suppression list of SendGrid, Mailgun, SES, Postmark or any other, from CSV or JSON lines. Lifts nothing."`
	Export suppressionExport `cmd:"" help:"Export the suppressions, in a form that imports again."`
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
	Address  string          `arg:"" help:"The address."`
	Scope    string          `default:"all" help:"all, stream:NAME, domain:NAME or list:NAME."`
	Reason   string          `default:"manual" help:"Reason."`
	Evidence string          `help:"What it rests on, such as a ticket." placeholder:"TEXT"`
	For      config.Duration `help:"For so long, such as 12h or 30d; by default for good." placeholder:"DURATION"`
}

// Run suppresses an address.
func (c *suppressionAdd) Run(a *app) error {
	s := api.Suppression{Address: c.Address, Scope: c.Scope, Reason: c.Reason, Evidence: c.Evidence}
	if c.For > 0 {
		s.Expires = a.now().Add(c.For.Std()).UTC().Truncate(time.Second)
	}
	return a.order(func(ctx context.Context, m api.Methods) error { return m.Suppress(ctx, s) }, c.Address+" is suppressed ("+c.Scope+")")
}

type suppressionLift struct {
	Address string `arg:"" help:"The address."`
	Scope   string `help:"Only this scope: all, stream:NAME, domain:NAME or list:NAME; by default every one." placeholder:"SCOPE"`
	Reason  string `help:"Why. A complaint, a hard bounce or an unsubscribe is not lifted without; it is kept in the event log." placeholder:"TEXT"`
}

// Run lifts suppressions.
func (c *suppressionLift) Run(a *app) error {
	s := api.Suppression{Address: c.Address, Scope: c.Scope, Evidence: c.Reason, Source: os.Getenv("USER")}
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

type suppressionImport struct {
	importFile
	Format string          `help:"sendgrid, mailgun, ses, postmark, generic, or list (no header: address, then expiry or reason, then scope); by default the columns tell." placeholder:"FORMAT"`
	Reason string          `help:"Reason of every row; by default what the row says, else manual." placeholder:"REASON"`
	Scope  string          `help:"Scope of rows that name none; by default marketing for complaints, unsubscribes and soft bounces, all for others." placeholder:"SCOPE"`
	For    config.Duration `help:"For so long, such as 12h or 30d, where a row names no end; by default for good." placeholder:"DURATION"`
}

// Run sends a suppression list to the engine.
func (c *suppressionImport) Run(a *app) error {
	in := api.SuppressionImport{Name: filepath.Base(c.File), Format: c.Format, Reason: c.Reason, Scope: c.Scope, DryRun: c.DryRun}
	if c.For > 0 {
		in.Expires = a.now().Add(c.For.Std()).UTC().Truncate(time.Second)
	}
	return show(a, func(ctx context.Context, m api.Methods) (api.Imported, error) {
		return c.send(a, func(rows io.Reader) (api.Imported, error) { return m.ImportSuppressions(ctx, in, rows) })
	}, func(r api.Imported) error { return c.done(a, &r) })
}

type suppressionExport struct {
	File   string `arg:"" help:"Where to; - is the standard output."`
	Format string `help:"csv or jsonl; by default the name tells." placeholder:"FORMAT"`
	Reason string `help:"Only those with this reason." placeholder:"REASON"`
	Scope  string `help:"Only those of this scope." placeholder:"SCOPE"`
	Raw    bool   `help:"Leave cells of CSV as they are, for machines: a spreadsheet would run those that begin with = + - or @."`
}

// Run writes the suppressions to a file.
func (c *suppressionExport) Run(a *app) error {
	out := api.SuppressionExport{Format: c.Format, Reason: c.Reason, Scope: c.Scope, Raw: c.Raw}
	if name := strings.ToLower(c.File); out.Format == "" && (strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".ndjson")) {
		out.Format = "jsonl"
	}
	if c.File == "-" {
		m, err := a.client()
		if err != nil {
			return err
		}
		_, err = m.ExportSuppressions(a.ctx, out, a.out)
		return err
	}
	return show(a, func(ctx context.Context, m api.Methods) (api.Exported, error) {
		return save(c.File, func(w io.Writer) (api.Exported, error) { return m.ExportSuppressions(ctx, out, w) })
	}, func(r api.Exported) error {
		rows := ""
		if r.Rows >= 0 { // a proxy may have left it out
			rows = fmt.Sprintf(": %d rows", r.Rows)
		}
		return a.say("exported suppressions to %s%s", c.File, rows)
	})
}
