// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/seguemta/segue/mta/api"
)

type warmupCmd struct {
	remote
	Show     warmupShow     `cmd:"" help:"Show today's budgets, and why each is where it is."`
	Hold     warmupHold     `cmd:"" help:"Keep a warm-up at its stage until it is released."`
	Release  warmupRelease  `cmd:"" help:"End a hold."`
	Advance  warmupAdvance  `cmd:"" help:"Go on by one stage, whatever was used."`
	StepBack warmupStepBack `cmd:"" help:"Go back by one stage."`
	Evidence warmupEvidence `cmd:"" help:"Import figures of Postmaster Tools and SNDS."`
	Plan     warmupPlan     `cmd:"" help:"List published schedules, or say how long a plan takes for a list. Needs no engine."`
}

type warmupShow struct {
	Source string `arg:"" optional:"" help:"Only this source."`
}

// Run prints budgets.
func (c *warmupShow) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) ([]api.Warmup, error) {
		list, err := m.Warmup(ctx)
		if err != nil || c.Source == "" {
			return list, err
		}
		some := []api.Warmup{}
		for _, w := range list {
			if w.Source == c.Source {
				some = append(some, w)
			}
		}
		if len(some) == 0 { // a source without a budget, or none at all: the engine knows which
			_, err = m.Source(ctx, c.Source)
		}
		return some, err
	}, a.budgets)
}

// budgets prints what may be sent today and what was.
func (a *app) budgets(list []api.Warmup) error {
	t := a.table("SOURCE", "LANE", "PROVIDER", "PLAN", "STAGE", "DAY", "USED", "ALLOWED", "ADMITS", "WHY")
	for _, w := range list {
		lane := w.Domain
		if w.Segment != "" || w.Tier != "" {
			lane = w.Segment + "/" + w.Tier
		}
		allowed := number(w.Allowed)
		if w.State == "warm" {
			allowed = "warm"
		}
		t.row(w.Source, lane, w.Provider, w.Plan, fmt.Sprintf("%d/%d", w.Stage, w.Stages), w.Day, number(w.Used), allowed, strings.Join(w.Admit, " "), w.Reason)
	}
	return t.flush()
}

// warmupTarget is which warm-up an act is about, and why.
type warmupTarget struct {
	Source   string `arg:"" optional:"" help:"The source."`
	Domain   string `help:"A sending domain with a plan of its own, instead of a source." placeholder:"NAME"`
	Segment  string `help:"A segment with a plan, instead of a source; with --tier." placeholder:"NAME"`
	Tier     string `help:"The tier of the segment." placeholder:"NAME"`
	Provider string `help:"Only at this provider, or total; by default wherever it is possible." placeholder:"NAME"`
	Reason   string `help:"Why, for the event." placeholder:"TEXT"`
	By       string `env:"USER" help:"Who, for the event." placeholder:"NAME"`
}

func (t *warmupTarget) steer(a *app, action, done string) error {
	what := t.Source + t.Domain
	if t.Segment != "" {
		what = t.Segment + "/" + t.Tier
	}
	ways := 0
	for _, name := range []string{t.Source, t.Domain, t.Segment} {
		if name != "" {
			ways++
		}
	}
	if ways != 1 || (t.Segment == "") != (t.Tier == "") {
		return errors.New("which warm-up? give a source, or --domain, or --segment and --tier")
	}
	act := api.WarmupAct{Action: action, Source: t.Source, Domain: t.Domain, Segment: t.Segment, Tier: t.Tier, Provider: t.Provider, By: t.By, Reason: t.Reason}
	return a.order(func(ctx context.Context, m api.Methods) error { return m.SteerWarmup(ctx, act) }, what+at(t.Provider)+" "+done)
}

type warmupHold struct{ warmupTarget }

// Run holds a warm-up.
func (c *warmupHold) Run(a *app) error {
	return c.steer(a, "hold", "is held: it stays at its stage until it is released")
}

type warmupRelease struct{ warmupTarget }

// Run ends a hold.
func (c *warmupRelease) Run(a *app) error { return c.steer(a, "release", "is released") }

type warmupAdvance struct{ warmupTarget }

// Run goes on by a stage.
func (c *warmupAdvance) Run(a *app) error { return c.steer(a, "advance", "is a stage further") }

type warmupStepBack struct{ warmupTarget }

// Run goes back by a stage.
func (c *warmupStepBack) Run(a *app) error { return c.steer(a, "step-back", "is a stage back") }

type warmupEvidence struct {
	File string `arg:"" help:"JSON rows, or an object with rows; - reads the standard input." placeholder:"FILE"`
}

// maxEvidence bounds a file of figures.
const maxEvidence = 1 << 20

// Run imports figures.
func (c *warmupEvidence) Run(a *app) error {
	text, err := a.input(c.File)
	if err != nil {
		return err
	}
	var in api.Evidence
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		err = d.Decode(&in.Rows)
	} else {
		err = d.Decode(&in)
	}
	if err != nil {
		return fmt.Errorf("%s does not hold rows such as [{\"kind\": \"postmaster\", \"key\": \"example.com\", \"day\": \"2026-11-23\", \"spam_rate\": 0.001}]: %w", c.File, err)
	}
	return show(a, func(ctx context.Context, m api.Methods) (api.EvidenceAdded, error) { return m.AddEvidence(ctx, in) },
		func(r api.EvidenceAdded) error { return a.say("%s taken", plural(r.Rows, "row")) })
}

// input reads a file, or the standard input.
func (a *app) input(name string) ([]byte, error) {
	f := a.in
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // the file that the operator names
		if err != nil {
			return nil, err
		}
		defer file.Close()
		f = file
	}
	text, err := io.ReadAll(io.LimitReader(f, maxEvidence+1))
	if err == nil && len(text) > maxEvidence {
		err = fmt.Errorf("%s is larger than a body may be (1 MiB): send it in parts", name)
	}
	return text, err
}
