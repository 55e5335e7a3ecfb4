// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"slices"

	"github.com/seguemta/segue/mta/api"
)

type segmentCmd struct {
	remote
	Ls       segmentLs       `cmd:"" help:"List segments in their order."`
	Show     segmentShow     `cmd:"" help:"Show one segment: its members by tier and where they go."`
	Template segmentTemplate `cmd:"" help:"List ready-made segments, or print one as configuration. Needs no engine."`
}

type segmentLs struct{}

// Run prints all segments.
func (*segmentLs) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) ([]api.Segment, error) { return m.Segments(ctx) },
		func(list []api.Segment) error {
			t := a.table("ORDER", "SEGMENT", "MEMBERS", "VERSION", "RULE")
			for _, s := range list {
				rule := s.Rule
				if s.Error != "" {
					rule = "no members: " + s.Error
				}
				t.row(number(s.Order), s.Name, number(s.Members), number(s.Version), rule)
			}
			return t.flush()
		})
}

type segmentShow struct {
	Name string `arg:"" help:"The segment."`
}

// Run prints one segment.
func (c *segmentShow) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.SegmentDetail, error) { return m.Segment(ctx, c.Name) }, a.segment)
}

func (a *app) segment(d api.SegmentDetail) error {
	err := a.pairs(
		[2]string{"segment", d.Name},
		[2]string{"rule", d.Rule},
		[2]string{"error", d.Error},
		[2]string{"order", number(d.Order)},
		[2]string{"version", number(d.Version)},
		[2]string{"members", number(d.Members)},
		[2]string{"pool", d.Pool},
	)
	if err != nil {
		return err
	}
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

// byTier orders tiers as the design does, others behind them.
func byTier(x, y string) int {
	order := []string{"dead", "dormant", "cooling", "warm", "active", "new"}
	if d := slices.Index(order, y) - slices.Index(order, x); d != 0 {
		return d
	}
	if x < y {
		return -1
	}
	return 1
}
