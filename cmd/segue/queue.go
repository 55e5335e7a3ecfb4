// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"

	"github.com/seguemta/segue/mta/api"
)

type queueCmd struct {
	remote
	Ls      queueLs      `cmd:"" help:"List recipients, or with --lanes how many wait where."`
	Show    queueShow    `cmd:"" help:"Show one recipient and what happened to it."`
	Why     queueWhy     `cmd:"" help:"Say what a recipient waits for, and until when."`
	Hold    queueHold    `cmd:"" help:"Park mail until it is released."`
	Release queueRelease `cmd:"" help:"Give parked mail back to its lane."`
	Drop    queueDrop    `cmd:"" help:"Remove mail for good."`
	Move    queueMove    `cmd:"" help:"Move mail to another pool."`
	Retry   queueRetry   `cmd:"" help:"Try mail again now."`
}

// filter selects recipients.
type filter struct {
	Stream  string `help:"Only this stream." placeholder:"NAME"`
	Segment string `help:"Only this segment." placeholder:"NAME"`
	Tier    string `help:"Only this tier." placeholder:"NAME"`
	Pool    string `help:"Only this pool." placeholder:"NAME"`
	Domain  string `help:"Only this recipient domain." placeholder:"NAME"`
	State   string `help:"Only this state: waiting, held, in_flight." placeholder:"STATE"`
	Address string `help:"Only this recipient." placeholder:"ADDRESS"`
}

func (f filter) query() api.QueueQuery {
	return api.QueueQuery{Stream: f.Stream, Segment: f.Segment, Tier: f.Tier, Pool: f.Pool, Domain: f.Domain, State: f.State, Address: f.Address}
}

type queueLs struct {
	filter
	Lanes bool   `help:"Count by lane and provider."`
	After string `help:"Begin behind this id." placeholder:"ID"`
	Limit int    `help:"At most so many." default:"100"`
}

// Run prints a page of the queue.
func (c *queueLs) Run(a *app) error {
	if c.Lanes {
		return show(a, func(ctx context.Context, m api.Methods) (api.QueueSummary, error) { return m.QueueSummary(ctx) }, a.lanes)
	}
	return show(a, c.ask, func(list api.QueueList) error {
		t := a.table("ID", "ADDRESS", "STATE", "STREAM", "SEGMENT", "TIER", "POOL", "QUEUED", "DUE", "TRIES", "REPLY")
		for _, e := range list.Entries {
			due := a.relative(e.Due)
			if e.State == "held" {
				due = "held: " + e.Hold
			}
			t.row(e.ID, e.Address, e.State, e.Stream, e.Segment, e.Tier, e.Pool, a.relative(e.Queued), due, number(e.Attempts), shorten(e.Reply))
		}
		if err := t.flush(); err != nil || list.Next == "" {
			return err
		}
		return a.say("%s shown; more: --after %s", plural(len(list.Entries), "recipient"), list.Next)
	})
}

// ask reads as many pages as the limit takes.
func (c *queueLs) ask(ctx context.Context, m api.Methods) (api.QueueList, error) {
	q := c.query()
	q.After = c.After
	out := api.QueueList{Entries: []api.QueueEntry{}}
	for {
		q.Limit = min(c.Limit-len(out.Entries), api.MaxPage)
		page, err := m.Queue(ctx, q)
		if err != nil {
			return out, err
		}
		out.Entries = append(out.Entries, page.Entries...)
		out.Next = page.Next
		if page.Next == "" || page.Next == q.After || len(out.Entries) >= c.Limit {
			return out, nil
		}
		q.After = page.Next
	}
}

func shorten(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// lanes prints the queue in numbers, the longest lane first.
func (a *app) lanes(s api.QueueSummary) error {
	slices.SortStableFunc(s.Lanes, func(x, y api.LaneCount) int { return y.Waiting + y.Held + y.InFlight - x.Waiting - x.Held - x.InFlight })
	t := a.table("STREAM", "SEGMENT", "TIER", "POOL", "PLAN", "PROVIDER", "WAITING", "HELD", "IN FLIGHT")
	for _, l := range s.Lanes {
		t.row(l.Stream, l.Segment, l.Tier, l.Pool, l.Plan, l.Provider, number(l.Waiting), number(l.Held), number(l.InFlight))
	}
	t.row("total", "", "", "", "", "", number(s.Waiting), number(s.Held), number(s.InFlight))
	return t.flush()
}

type queueShow struct {
	ID string `arg:"" help:"Recipient, as queue ls shows it."`
}

// Run prints a recipient and its history.
func (c *queueShow) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.QueueDetail, error) { return m.QueueShow(ctx, c.ID) },
		func(d api.QueueDetail) error {
			if err := a.detail(&d); err != nil {
				return err
			}
			if len(d.Events) == 0 {
				return nil
			}
			if err := a.say(""); err != nil {
				return err
			}
			t := a.table("TIME", "EVENT", "TRY", "SOURCE", "HOST", "REPLY")
			for i := range d.Events {
				e := &d.Events[i]
				try := ""
				if e.Attempt > 0 {
					try = number(e.Attempt)
				}
				t.row(stamp(e.Time), string(e.Kind), try, e.Source, e.Host, said(e))
			}
			return t.flush()
		})
}

func (a *app) detail(d *api.QueueDetail) error {
	why := ""
	if d.Why != nil {
		why = d.Why.Text
	}
	return a.pairs(
		[2]string{"id", d.ID},
		[2]string{"recipient", d.Address},
		[2]string{"sender", d.Sender},
		[2]string{"state", d.State},
		[2]string{"why", why},
		[2]string{"held by", d.Hold},
		[2]string{"stream", d.Stream},
		[2]string{"segment", d.Segment},
		[2]string{"tier", d.Tier},
		[2]string{"pool", d.Pool},
		[2]string{"plan", d.Plan},
		[2]string{"campaign", d.Campaign},
		[2]string{"octets", number(d.Size)},
		[2]string{"queued", a.when(d.Queued)},
		[2]string{"due", a.when(d.Due)},
		[2]string{"expires", a.when(d.Expires)},
		[2]string{"attempts", number(d.Attempts)},
		[2]string{"last reply", d.Reply},
	)
}

type queueWhy struct {
	ID string `arg:"" help:"Recipient, as queue ls shows it."`
}

// Run prints the sentence, then what stands behind it.
func (c *queueWhy) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.Why, error) { return m.QueueWhy(ctx, c.ID) },
		func(w api.Why) error {
			if err := a.say("%s", w.Text); err != nil {
				return err
			}
			if err := a.say(""); err != nil {
				return err
			}
			ahead := ""
			if w.Ahead > 0 {
				ahead = plural(w.Ahead, "recipient")
			}
			return a.pairs(
				[2]string{"lane", w.Lane},
				[2]string{"provider", w.Provider},
				[2]string{"site", w.Site},
				[2]string{"source", w.Source},
				[2]string{"until", a.when(w.Until)},
				[2]string{"expected", a.when(w.Expected)},
				[2]string{"ahead", ahead},
				[2]string{"state", w.State + " (" + w.Code + ")"},
			)
		})
}
