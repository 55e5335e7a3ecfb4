// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta"
	"github.com/seguemta/segue/mta/rehearsal"
	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/reputation/plans"
)

//go:generate go test -count=1 -run ^TestSimulate$ . -update

// simulateCmd compares ways to send.
type simulateCmd struct {
	Days     int    `help:"Days of sending." default:"30" placeholder:"N"`
	Seed     uint64 `help:"Another seed makes other people." default:"1" placeholder:"NUMBER"`
	Contacts int    `help:"Contacts, in ten segments." default:"15000" placeholder:"COUNT"`
	Plan     string `help:"The published schedule that warms the one source." default:"braze-conservative" placeholder:"NAME"`
	JSON     bool   `name:"json" help:"Print JSON."`
}

// Run plays every arm and prints what each came to.
func (c *simulateCmd) Run(a *app) error {
	plan, ok := plans.Find(c.Plan)
	if !ok {
		return fmt.Errorf("there is no plan %s: published are %s", c.Plan, strings.Join(plans.Names(), ", "))
	}
	gate := config.DefaultGate()
	o := rehearsal.Options{Seed: c.Seed, Days: c.Days, Contacts: c.Contacts, Plan: plan.Plan(), Limits: mta.Limits(&gate)}
	o.Plan.Gate.Used = gate.Used
	r, err := rehearsal.New(o)
	if err != nil {
		return err
	}
	result := r.Result(play(r))
	if c.JSON {
		return a.json(result)
	}
	return c.print(a, result)
}

// play plays the arms, as many at a time as there are processors.
func play(r *rehearsal.Rehearsal) []rehearsal.Outcome {
	arms := rehearsal.Arms()
	out := make([]rehearsal.Outcome, len(arms))
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i := range arms {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			out[i] = r.Play(arms[i])
		})
	}
	wg.Wait()
	return out
}

// print writes two tables: everybody, and the segment that does harm.
func (*simulateCmd) print(a *app, r *rehearsal.Result) error {
	count := func(n int) string { return wilson.Count(uint64(n)) } //nolint:gosec // not negative
	err := a.say("%s contacts in 10 segments, %s of them active or warm; plan %s, %s, seed %d",
		count(r.Contacts), count(r.Engaged), r.Plan, plural(r.Days, "day"), r.Seed)
	if err != nil {
		return err
	}
	if err := a.say("%s: %s contacts, %s of them dead addresses", r.Bad, count(r.Imported), count(r.Dead)); err != nil {
		return err
	}
	t := a.table("ALL", "DELIVERED", "ENGAGED", "INBOX", "BOUNCED", "COMPLAINED", "STAGE", "LOST", "HELD", "EXPIRED", "WAITING")
	for i := range r.Arms {
		x := &r.Arms[i]
		f := &x.All
		t.row(x.Name, count(f.Delivered), count(f.Engaged), count(f.EngagedInbox), count(f.Bounced), count(f.Complained),
			count(x.Stage), count(x.Lost), count(f.HeldDays), count(f.Expired), count(f.Waiting))
	}
	if err := t.flush(); err != nil {
		return err
	}
	t = a.table(strings.ToUpper(r.Bad), "DELIVERED", "INBOX", "BOUNCED", "COMPLAINED", "HELD", "EXPIRED", "WAITING")
	for i := range r.Arms {
		f := r.Arms[i].Segments[r.Bad]
		t.row(r.Arms[i].Name, count(f.Delivered), count(f.Inbox), count(f.Bounced), count(f.Complained), count(f.HeldDays), count(f.Expired), count(f.Waiting))
	}
	return t.flush()
}
