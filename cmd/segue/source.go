// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/api"
)

type poolCmd struct {
	remote
	Ls   poolLs   `cmd:"" help:"List pools."`
	Show poolShow `cmd:"" help:"Show one pool and its sources."`
}

type poolLs struct{}

// Run prints all pools.
func (*poolLs) Run(a *app) error {
	return show(a, pools, func(list []api.Pool) error {
		t := a.table("POOL", "WAITING", "EXCESS", "SOURCES")
		for _, p := range list {
			var members []string
			for _, m := range p.Members {
				members = append(members, fmt.Sprintf("%s:%d", m.Source, m.Weight))
			}
			t.row(p.Name, number(p.Waiting), excess(p), strings.Join(members, " "))
		}
		return t.flush()
	})
}

func pools(ctx context.Context, m api.Methods) ([]api.Pool, error) { return m.Pools(ctx) }

func excess(p api.Pool) string {
	if p.Overflow != "" {
		return p.Excess + " to " + p.Overflow
	}
	return p.Excess
}

type poolShow struct {
	Name string `arg:"" help:"The pool."`
}

// Run prints one pool.
func (c *poolShow) Run(a *app) error {
	one := func(ctx context.Context, m api.Methods) (api.Pool, error) {
		list, err := m.Pools(ctx)
		if err != nil {
			return api.Pool{}, err
		}
		for _, p := range list {
			if p.Name == c.Name {
				return p, nil
			}
		}
		return api.Pool{}, fmt.Errorf("no pool has the name %s: segue pool ls shows them", c.Name)
	}
	return show(a, one, func(p api.Pool) error {
		if err := a.pairs([2]string{"pool", p.Name}, [2]string{"excess", excess(p)}, [2]string{"waiting", number(p.Waiting)}); err != nil {
			return err
		}
		if err := a.say(""); err != nil {
			return err
		}
		t := a.table("SOURCE", "WEIGHT")
		for _, m := range p.Members {
			t.row(m.Source, number(m.Weight))
		}
		return t.flush()
	})
}

type sourceCmd struct {
	remote
	Ls     sourceLs     `cmd:"" help:"List sources with what they may and did send today."`
	Show   sourceShow   `cmd:"" help:"Show one source and its budgets."`
	Pause  sourcePause  `cmd:"" help:"Stop a source, at one provider or at all."`
	Resume sourceResume `cmd:"" help:"Let a paused source send again."`
}

type sourceLs struct{}

// Run prints all sources.
func (*sourceLs) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) ([]api.Source, error) { return m.Sources(ctx) },
		func(list []api.Source) error {
			t := a.table("SOURCE", "HOSTNAME", "ADDRESSES", "PLAN", "BUDGETS", "PAUSED")
			for _, s := range list {
				t.row(s.Name, s.Hostname, strings.Join(s.Addresses, " "), s.Plan, number(len(s.Budgets)), a.pauses(&s))
			}
			return t.flush()
		})
}

// paused says until when.
func (a *app) paused(until time.Time) string {
	switch {
	case until.IsZero():
		return ""
	case !until.Before(api.UntilResumed()):
		return "until resumed"
	default:
		return "until " + a.when(until)
	}
}

// pauses says where and until when a source is paused.
func (a *app) pauses(s *api.Source) string {
	var list []string
	if !s.Paused.IsZero() {
		list = append(list, a.paused(s.Paused))
	}
	for _, p := range s.Pauses {
		list = append(list, "at "+p.Provider+" "+a.paused(p.Until))
	}
	return strings.Join(list, ", ")
}

type sourceShow struct {
	Name string `arg:"" help:"The source."`
}

// Run prints one source.
func (c *sourceShow) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.Source, error) { return m.Source(ctx, c.Name) },
		func(s api.Source) error {
			plan := s.Plan
			if plan == "" {
				plan = "none: it is warm"
			}
			err := a.pairs(
				[2]string{"source", s.Name},
				[2]string{"hostname", s.Hostname},
				[2]string{"addresses", strings.Join(s.Addresses, " ")},
				[2]string{"plan", plan},
				[2]string{"paused", a.pauses(&s)},
			)
			if err != nil || len(s.Budgets) == 0 {
				return err
			}
			if err := a.say(""); err != nil {
				return err
			}
			return a.budgets(s.Budgets)
		})
}

type sourcePause struct {
	Name     string          `arg:"" help:"The source."`
	Provider string          `help:"Only at this provider." placeholder:"NAME"`
	For      config.Duration `help:"For so long, such as 2h or 3d; by default until it is resumed." placeholder:"DURATION"`
}

// Run pauses a source.
func (c *sourcePause) Run(a *app) error {
	p := api.Pause{Source: c.Name, Provider: c.Provider, Until: api.UntilResumed()}
	if c.For > 0 {
		p.Until = a.now().Add(c.For.Std()).UTC().Truncate(time.Second)
	}
	return a.order(func(ctx context.Context, m api.Methods) error { return m.PauseSource(ctx, p) }, c.Name+at(c.Provider)+" is paused "+a.paused(p.Until))
}

type sourceResume struct {
	Name     string `arg:"" help:"The source."`
	Provider string `help:"Only at this provider." placeholder:"NAME"`
}

// Run resumes a source.
func (c *sourceResume) Run(a *app) error {
	resume := func(ctx context.Context, m api.Methods) (api.Source, error) {
		if err := m.PauseSource(ctx, api.Pause{Source: c.Name, Provider: c.Provider}); err != nil {
			return api.Source{}, err
		}
		return m.Source(ctx, c.Name)
	}
	return show(a, resume, func(s api.Source) error {
		err := a.say("%s is resumed", c.Name+at(c.Provider))
		if !s.Paused.IsZero() && err == nil {
			err = a.say("it is still paused at all providers: segue source resume %s", c.Name)
		}
		for _, p := range s.Pauses {
			if err == nil {
				err = a.say("it is still paused at %s: segue source resume %s --provider %s", p.Provider, c.Name, p.Provider)
			}
		}
		return err
	})
}

func at(provider string) string {
	if provider == "" {
		return ""
	}
	return " at " + provider
}
