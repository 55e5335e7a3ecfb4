// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta"
	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/reputation/plans"
	"github.com/seguemta/segue/reputation/warmup"
	"github.com/seguemta/segue/segment/tier"
)

type warmupPlan struct {
	Plan      string   `help:"The plan: a published schedule, or one of --config. Without it, list the published ones." placeholder:"NAME"`
	Config    string   `help:"The configuration that has the plan." placeholder:"FILE"`
	Contacts  int      `help:"How many contacts, each to get one mail." placeholder:"N"`
	Tiers     string   `help:"How they divide, in parts of any size; by default all are active." placeholder:"active=60,warm=25,cooling=15"`
	Segment   []string `help:"Take the members of these segments from the running engine, by tier, instead of --contacts." placeholder:"NAME"`
	Sources   int      `default:"1" help:"Cold sources that share the mail." placeholder:"N"`
	Providers string   `help:"How contacts divide over providers, in parts; by default all are at other." placeholder:"google=50,yahoo=15,other=35"`
	PerWeek   float64  `default:"1" help:"Mails a contact gets in a week later, for the warnings about sources with too little to do." placeholder:"N"`
}

// Run says what a plan means for a list.
func (c *warmupPlan) Run(a *app) error {
	if c.Plan == "" {
		if c.Contacts != 0 || len(c.Segment) > 0 {
			return errors.New("which plan? give --plan NAME; without other flags this lists the published ones")
		}
		return c.list(a)
	}
	asked := plans.Asked{Sources: c.Sources, PerWeek: c.PerWeek}
	var err error
	if asked.Plan, err = c.find(); err != nil {
		return err
	}
	if asked.Shares, err = shares(c.Providers); err != nil {
		return err
	}
	if asked.Tiers, err = c.tiers(a); err != nil {
		return err
	}
	f, err := plans.Predict(asked)
	if err != nil {
		return err
	}
	if a.remote.JSON {
		return a.json(f)
	}
	return c.print(a, &asked, &f)
}

// list prints the published schedules.
func (*warmupPlan) list(a *app) error {
	if a.remote.JSON {
		return a.json(plans.All())
	}
	t := a.table("PLAN", "STAGES", "FIRST", "LAST", "UNIT", "FROM")
	for _, p := range plans.All() {
		first, last := p.Stages[0].PerDay, p.Stages[len(p.Stages)-1].PerDay
		t.row(p.Name, number(len(p.Stages)), volume(first), volume(last), p.Unit, p.From)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, p := range plans.All() {
		for _, note := range p.Notes {
			if err := a.say("%s: %s", p.Name, note); err != nil {
				return err
			}
		}
	}
	return nil
}

// volume is what a stage allows, for people.
func volume(perDay map[string]int) string {
	if n, ok := perDay[warmup.Total]; ok {
		return wilson.Count(uint64(n)) //nolint:gosec // not negative
	}
	most := 0
	for _, n := range perDay {
		most = max(most, n)
	}
	return "up to " + wilson.Count(uint64(most))
}

// find is the plan: of the configuration, else a published one.
func (c *warmupPlan) find() (warmup.Plan, error) {
	if c.Config != "" {
		conf, problems := load(c.Config)
		if bad, warnings := count(problems); bad > 0 {
			return warmup.Plan{}, fmt.Errorf("%s is not valid: %s (segue check says what)", c.Config, tally(bad, warnings))
		}
		if i := slices.IndexFunc(conf.Plans, func(p config.Plan) bool { return p.Name == c.Plan }); i >= 0 {
			return mta.Plan(&conf.Plans[i]), nil
		}
	}
	if p, ok := plans.Find(c.Plan); ok {
		return p.Plan(), nil
	}
	return warmup.Plan{}, fmt.Errorf("there is no plan %s: published are %s; --config FILE brings your own", c.Plan, strings.Join(plans.Names(), ", "))
}

// tiers are the contacts, in the order in which they are served.
func (c *warmupPlan) tiers(a *app) ([]plans.Tier, error) {
	by := make(map[string]int)
	switch {
	case len(c.Segment) > 0 && (c.Contacts != 0 || c.Tiers != ""):
		return nil, errors.New("--segment takes contacts and tiers from the engine: leave --contacts and --tiers out")
	case len(c.Segment) > 0:
		if err := c.members(a, by); err != nil {
			return nil, err
		}
	case c.Contacts <= 0:
		return nil, errors.New("how many contacts? give --contacts N, or --segment NAME")
	case c.Tiers == "":
		by["active"] = c.Contacts
	default:
		parts, err := parts(c.Tiers)
		if err != nil {
			return nil, fmt.Errorf("--tiers: %w", err)
		}
		whole := 0.0
		for _, p := range parts {
			whole += p.part
		}
		left := c.Contacts
		for i, p := range parts {
			n := int(float64(c.Contacts) * p.part / whole)
			if i == len(parts)-1 {
				n = left
			}
			by[p.name] += n
			left -= n
		}
	}
	var list []plans.Tier
	for name, n := range by {
		if _, err := tier.Parse(name); err != nil {
			return nil, err
		}
		list = append(list, plans.Tier{Name: name, Contacts: n})
	}
	slices.SortFunc(list, func(x, y plans.Tier) int { return rank(x.Name) - rank(y.Name) })
	return list, nil
}

func rank(name string) int {
	t, _ := tier.Parse(name)
	return t.Rank()
}

// members adds up the members of segments by tier.
func (c *warmupPlan) members(a *app, by map[string]int) error {
	m, err := a.client()
	if err != nil {
		return err
	}
	for _, name := range c.Segment {
		s, err := m.Segment(a.ctx, name)
		if err != nil {
			return err
		}
		for t, n := range s.Tiers {
			by[t] += int(n)
		}
	}
	return nil
}

// part is one share of something, by name.
type part struct {
	name string
	part float64
}

// parts reads "active=60,warm=25".
func parts(text string) ([]part, error) {
	var list []part
	for word := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(word), "=")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || name == "" || !(n > 0 && n <= 1e12) {
			return nil, fmt.Errorf("%q is not a name and its part, such as active=60", word)
		}
		list = append(list, part{name, n})
	}
	return list, nil
}

func shares(text string) ([]plans.Share, error) {
	if text == "" {
		return nil, nil
	}
	list, err := parts(text)
	if err != nil {
		return nil, fmt.Errorf("--providers: %w", err)
	}
	var out []plans.Share
	for _, p := range list {
		out = append(out, plans.Share{Provider: p.name, Part: p.part})
	}
	return out, nil
}

// print writes a forecast for people.
func (c *warmupPlan) print(a *app, asked *plans.Asked, f *plans.Forecast) error {
	head := []string{"DAY", "STAGE", "ALLOWED", "SENT"}
	for _, t := range asked.Tiers {
		head = append(head, strings.ToUpper(t.Name))
	}
	t := a.table(append(head, "WAITING", "WHERE MAIL WAITS")...)
	sent := 0
	for i := range f.Days {
		d := &f.Days[i]
		sent += d.Total
		row := []string{number(d.Day), stages(d, len(asked.Plan.Stages)), number(d.Allowed), number(d.Total)}
		waiting := 0
		for _, x := range asked.Tiers {
			row = append(row, number(d.Sent[x.Name]))
			waiting += d.Waiting[x.Name]
		}
		t.row(append(row, number(waiting), d.Why)...)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := a.say(""); err != nil {
		return err
	}
	if err := a.say("%s contacts have had one mail after %s.", wilson.Count(uint64(sent)), plural(len(f.Days), "day")); err != nil {
		return err
	}
	for _, x := range asked.Tiers {
		if begin, ok := f.Begins[x.Name]; ok {
			if err := a.say("%s: day %d to day %d", x.Name, begin, f.Ends[x.Name]); err != nil {
				return err
			}
		}
	}
	for _, w := range f.Warnings {
		if err := a.say("warning: %s", w); err != nil {
			return err
		}
	}
	return nil
}

// stages are where the keys of a plan stand on a day: one figure where all stand
// at the same.
func stages(d *plans.Day, last int) string {
	var list []string
	distinct := make(map[int]bool)
	one := ""
	for _, name := range slices.Sorted(maps.Keys(d.Stages)) {
		n := d.Stages[name]
		if one = number(n); n > last {
			one = "warm"
		}
		distinct[n] = true
		list = append(list, name+" "+one)
	}
	if len(distinct) == 1 {
		return one
	}
	return strings.Join(list, ", ")
}
