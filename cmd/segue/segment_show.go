// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/wilson"
)

type segmentLs struct{}

// Run prints all segments, and their warnings below.
func (*segmentLs) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) ([]api.Segment, error) { return m.Segments(ctx) },
		func(list []api.Segment) error {
			t := a.table("ORDER", "SEGMENT", "STATE", "MEMBERS", "24H", "WARNINGS", "RULE")
			for i := range list {
				s := &list[i]
				t.row(number(s.Order), s.Name, stateOf(s), number(s.Members), fmt.Sprintf("+%d -%d", s.Entered, s.Left), warned(s), oneLine(s.Rule))
			}
			if err := t.flush(); err != nil {
				return err
			}
			for i := range list {
				if e := list[i].Error; e != "" {
					if err := a.say("%s has no members: %s", list[i].Name, strings.ReplaceAll(e, "\n", "; ")); err != nil {
						return err
					}
				}
			}
			return nil
		})
}

// warned is the kinds of a segment's warnings, marked.
func warned(s *api.Segment) string {
	var kinds []string
	for _, w := range s.Warnings {
		kinds = append(kinds, w.Kind)
	}
	if len(kinds) == 0 {
		return ""
	}
	return "! " + strings.Join(slices.Compact(kinds), ",")
}

func stateOf(s *api.Segment) string {
	if s.State == "building" {
		return fmt.Sprintf("building %.0f %%", 100*s.Progress)
	}
	return s.State
}

type segmentShow struct {
	Name string `arg:"" help:"The segment."`
	Days int    `default:"7" placeholder:"N" help:"For how many days to show its size; at most 100 are kept."`
}

// Run prints one segment.
func (c *segmentShow) Run(a *app) error {
	if c.Days < 0 {
		return fmt.Errorf("--days is %d: it is a number of days", c.Days)
	}
	return show(a, func(ctx context.Context, m api.Methods) (api.SegmentDetail, error) { return m.Segment(ctx, c.Name) },
		func(d api.SegmentDetail) error { return a.segment(&d, c.Days) })
}

func (a *app) segment(d *api.SegmentDetail, days int) error {
	err := a.pairs(
		[2]string{"segment", d.Name},
		[2]string{"rule", oneLine(d.Rule)},
		[2]string{"stage", d.Stage},
		[2]string{"state", stateOf(&d.Segment)},
		[2]string{"error", strings.ReplaceAll(d.Error, "\n", "; ")},
		[2]string{"order", number(d.Order)},
		[2]string{"version", number(d.Version)},
		[2]string{"generation", number(uint64(d.Generation))},
		[2]string{"members", number(d.Members)},
		[2]string{"entered", fmt.Sprintf("%d in 24 hours", d.Entered)},
		[2]string{"left", fmt.Sprintf("%d in 24 hours", d.Left)},
		[2]string{"pool", d.Pool},
	)
	if err != nil {
		return err
	}
	for _, w := range d.Warnings {
		if err := a.say("warning: %s", w.Text); err != nil {
			return err
		}
	}
	for _, part := range []func(*api.SegmentDetail) error{
		a.segmentTiers, func(d *api.SegmentDetail) error { return a.segmentDays(d, days) }, a.segmentOverlaps, a.segmentRates,
	} {
		if err := part(d); err != nil {
			return err
		}
	}
	return nil
}

// segmentTiers prints a segment's members by tier, and where they go.
func (a *app) segmentTiers(d *api.SegmentDetail) error {
	to := make(map[string]api.SegmentTier)
	for _, t := range d.Assign {
		to[t.Tier] = t
	}
	tiers := make(map[string]bool)
	for tier := range d.Tiers {
		tiers[tier] = true
	}
	for tier := range to {
		tiers[tier] = true
	}
	if len(tiers) == 0 {
		return nil
	}
	if err := a.say(""); err != nil {
		return err
	}
	t := a.table("TIER", "MEMBERS", "POOL", "PLAN")
	for _, tier := range slices.SortedFunc(maps.Keys(tiers), byTier) {
		pool := to[tier].Pool
		if pool == "" {
			pool = d.Pool
		}
		t.row(tier, number(d.Tiers[tier]), pool, to[tier].Plan)
	}
	return t.flush()
}

// segmentDays prints the last days of a segment, the newest first.
func (a *app) segmentDays(d *api.SegmentDetail, days int) error {
	list := d.Days[max(0, len(d.Days)-days):]
	if len(list) == 0 {
		return nil
	}
	if err := a.say(""); err != nil {
		return err
	}
	t := a.table("DAY", "MEMBERS", "ENTERED", "LEFT", "SENT", "DELIVERED", "BOUNCED", "COMPLAINED", "UNSUBSCRIBED")
	for _, x := range slices.Backward(list) {
		r := &x.Results
		t.row(x.Date, number(x.Size), number(x.Entered), number(x.Left), number(r.Sent), number(r.Delivered), number(r.Bounced), number(r.Complained), number(r.Unsubscribed))
	}
	return t.flush()
}

func (a *app) segmentOverlaps(d *api.SegmentDetail) error {
	if len(d.Overlaps) == 0 {
		return nil
	}
	if err := a.say(""); err != nil {
		return err
	}
	t := a.table("OVERLAP", "MEMBERS", "BOTH", "OF-SMALLER", "OF-EITHER")
	for _, o := range d.Overlaps {
		t.row(o.Segment, number(o.Members), number(o.Both), wilson.Percent(o.Smaller), wilson.Percent(o.Jaccard))
	}
	return t.flush()
}

// segmentRates prints what became of a segment's mail.
func (a *app) segmentRates(d *api.SegmentDetail) error {
	if d.Results == (api.SegmentResults{}) {
		return nil
	}
	if err := errors.Join(a.say(""), a.say("In 30 days %d were sent.", d.Results.Sent)); err != nil {
		return err
	}
	t := a.table("RESULT", "COUNT", "RATE", "95-%-INTERVAL", "OF")
	for _, r := range d.Rates {
		rate, interval := "unknown", ""
		if r.Total > 0 {
			rate, interval = wilson.Percent(r.Share), fmt.Sprintf("%s to %s", wilson.Percent(r.Low), wilson.Percent(r.High))
		}
		t.row(r.What, number(r.Hits), rate, interval, fmt.Sprintf("%d %s", r.Total, r.Of))
	}
	return t.flush()
}

// oneLine is a rule that was written over several lines.
func oneLine(rule string) string {
	lines := strings.Split(rule, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	return strings.Join(lines, " ")
}
