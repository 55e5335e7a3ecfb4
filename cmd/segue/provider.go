// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/api"
)

type providerCmd struct {
	remote
	Ls     providerLs     `cmd:"" help:"List limits that are in force of sources at providers."`
	Show   providerShow   `cmd:"" help:"Show one provider: what each source may do there, since when and why."`
	Cancel providerCancel `cmd:"" help:"End what rules have done: the normal limits hold again."`
	Pin    providerPin    `cmd:"" help:"Hold fixed limits whatever rules say, until they are taken off."`
	Reload providerReload `cmd:"" help:"Read the operator's rules again; a file that is wrong changes nothing."`
}

type providerLs struct {
	All bool `help:"Also sources that may do what is normal."`
}

// Run prints what is in force everywhere.
func (c *providerLs) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) ([]api.Provider, error) { return m.Providers(ctx) }, func(list []api.Provider) error {
		t := a.table("PROVIDER", "SOURCE", "STATE", "LIMITS", "UNTIL", "RULE")
		for i := range list {
			for j := range list[i].Sources {
				l := &list[i].Sources[j]
				if c.All || l.State != "normal" || len(l.Lanes) > 0 {
					t.row(list[i].Name, l.Source, l.State, l.Text, a.when(l.Until), l.Rule)
				}
				for _, x := range l.Lanes {
					t.row(list[i].Name, l.Source, "suspended", x.Target+" "+x.Name, a.when(x.Until), x.Rule)
				}
			}
		}
		return t.flush()
	})
}

type providerShow struct {
	Name   string `arg:"" help:"The provider, or other."`
	Source string `help:"Only this source." placeholder:"NAME"`
}

// Run prints one provider.
func (c *providerShow) Run(a *app) error {
	one := func(ctx context.Context, m api.Methods) (api.Provider, error) {
		p, err := m.Provider(ctx, c.Name)
		if err != nil || c.Source == "" {
			return p, err
		}
		for _, l := range p.Sources {
			if l.Source == c.Source {
				p.Sources = []api.Limit{l}
				return p, nil
			}
		}
		return p, errors.New("no source has the name " + c.Source + ": segue source ls shows them")
	}
	return show(a, one, func(p api.Provider) error {
		complaints := "not reported"
		if p.Reports {
			complaints = "reported"
		}
		err := a.pairs([2]string{"provider", p.Name}, [2]string{"normal", p.Normal.Text}, [2]string{"complaints", complaints})
		for i := range p.Sources {
			if err == nil {
				err = a.limit(&p.Sources[i])
			}
		}
		return err
	})
}

// limit prints what is in force of a source, and the acts that led there.
func (a *app) limit(l *api.Limit) error {
	if err := a.say(""); err != nil {
		return err
	}
	strikes := ""
	if l.Strikes > 1 {
		strikes = number(l.Strikes) + " in a row"
	}
	list := [][2]string{{"source", l.Source}, {"state", l.State}, {"limits", l.Text}, {"rule", l.Rule}, {a.untilWhat(l), a.when(l.Until)}, {"suspensions", strikes}}
	if l.Pin != nil {
		list = append(list, [2]string{"pinned", "by " + l.Pin.By + " at " + stamp(l.Pin.At)}, [2]string{"reason", l.Pin.Reason})
	}
	for _, x := range l.Lanes {
		list = append(list, [2]string{"suspended " + x.Target, x.Name + " until " + a.when(x.Until) + ", rule " + x.Rule})
	}
	for _, x := range l.Matches {
		list = append(list, [2]string{"counted", plural(x.N, "hit") + " of rule " + x.Rule + ", the last " + a.relative(x.Last)})
	}
	for i := range l.Acts {
		list = append(list, [2]string{stamp(l.Acts[i].Time), l.Acts[i].Text})
	}
	return a.pairs(list...)
}

func (*app) untilWhat(l *api.Limit) string {
	if l.State == "slowed" {
		return "next step"
	}
	return "until"
}

// limitOrder is who orders what where.
type limitOrder struct {
	Name string `arg:"" help:"The provider, or other."`
	By   string `env:"USER" help:"Who, for the event." placeholder:"NAME"`
}

type providerCancel struct {
	limitOrder
	Source  string `help:"Only of this source; by default of all." placeholder:"NAME"`
	Lane    string `help:"Only the suspension of this lane, as provider show writes it." placeholder:"NAME"`
	Segment string `help:"Only the suspension of this segment." placeholder:"NAME"`
}

// Run ends what rules have done.
func (c *providerCancel) Run(a *app) error {
	order := api.LimitCancel{Provider: c.Name, Source: c.Source, Lane: c.Lane, Segment: c.Segment, By: c.By}
	return show(a, func(ctx context.Context, m api.Methods) (api.LimitActs, error) { return m.CancelLimits(ctx, order) }, a.limitActs)
}

type providerPin struct {
	limitOrder
	Source        string      `required:"" help:"The source." placeholder:"NAME"`
	Rate          config.Rate `help:"Recipients per time, such as 10/s or 600/h." placeholder:"RATE"`
	Connections   int         `help:"Connections at one time." placeholder:"N"`
	PerConnection int         `help:"Messages on one connection." placeholder:"N"`
	Suspend       bool        `help:"Nothing leaves."`
	Off           bool        `help:"Take the pin away: what rules have in force holds again."`
	Reason        string      `help:"Why; needed but for --off." placeholder:"TEXT"`
}

// Run pins limits.
func (c *providerPin) Run(a *app) error {
	order := api.LimitPin{
		Provider: c.Name, Source: c.Source, Rate: c.Rate.PerSecond(), Connections: c.Connections, PerConnection: c.PerConnection,
		Suspend: c.Suspend, Off: c.Off, By: c.By, Reason: c.Reason,
	}
	return show(a, func(ctx context.Context, m api.Methods) (api.LimitActs, error) { return m.PinLimits(ctx, order) }, a.limitActs)
}

// limitActs prints what an order did.
func (a *app) limitActs(x api.LimitActs) error {
	for i := range x.Acts {
		if err := a.say("%s", x.Acts[i].Text); err != nil {
			return err
		}
	}
	return nil
}

type providerReload struct{}

// Run makes the engine read the rules of throttling again.
func (*providerReload) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.ThrottleRules, error) { return m.ReloadThrottleRules(ctx) }, func(r api.ThrottleRules) error {
		if r.File == "" {
			return a.say("%d built-in rules are in force; [throttle] rules_file names no other", r.Rules)
		}
		return a.say("%d rules are in force, those of %s first", r.Rules, r.File)
	})
}
