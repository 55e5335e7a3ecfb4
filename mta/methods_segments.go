// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment"
	"github.com/seguemta/segue/segment/rule"
)

// Segments implements api.Methods.
func (m methods) Segments(ctx context.Context) ([]api.Segment, error) {
	all, err := m.people.Overview(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]api.Segment, 0, len(all))
	for i := range all {
		list = append(list, segmentOf(&all[i]))
	}
	return list, nil
}

func segmentOf(f *segment.Figures) api.Segment {
	s := api.Segment{
		Name: f.Name, Order: f.Order, Version: f.Version, Rule: f.Where, Stage: f.Stage, State: f.State, Progress: f.Progress, Error: f.Error,
		Generation: f.Generation, Members: int64(f.Members), Entered: f.Entered, Left: f.Left, Warnings: []api.SegmentWarning{},
	}
	for _, w := range f.Warnings {
		s.Warnings = append(s.Warnings, api.SegmentWarning{Kind: w.Kind, Text: w.Text})
	}
	return s
}

// Segment implements api.Methods.
func (m methods) Segment(ctx context.Context, name string) (api.SegmentDetail, error) {
	f, ok, err := m.people.Figures(ctx, name)
	if err != nil {
		return api.SegmentDetail{}, err
	}
	if !ok {
		return api.SegmentDetail{}, notFound("no segment has the name " + name + ": segue segment ls shows them")
	}
	d := api.SegmentDetail{
		Segment: segmentOf(&f), Assign: []api.SegmentTier{}, Tiers: map[string]int64{}, Days: []api.SegmentDay{},
		Overlaps: []api.SegmentOverlap{}, Results: resultsOf(&f.Results), Rates: []api.SegmentRate{},
	}
	for i := range f.Days {
		x := &f.Days[i]
		d.Days = append(d.Days, api.SegmentDay{Date: x.Date, Size: x.Size, Entered: x.Entered, Left: x.Left, Results: resultsOf(&x.Results)})
	}
	for _, o := range f.Overlaps {
		d.Overlaps = append(d.Overlaps, api.SegmentOverlap{Segment: o.With, Members: o.B, Both: o.Both, Jaccard: o.Jaccard, Smaller: o.Smaller})
	}
	for _, r := range f.Rates {
		d.Rates = append(d.Rates, api.SegmentRate{
			What: r.What, Of: r.Of, Hits: r.Hits, Total: r.Rate.Of, Share: r.Share, Low: r.Low, High: r.High, Text: r.String(),
		})
	}
	for _, c := range m.c.Segments {
		if c.Name == name {
			d.Pool = c.Pool
			for _, a := range c.Assign {
				d.Assign = append(d.Assign, api.SegmentTier{Tier: a.Tier, Pool: a.Pool, Plan: a.Plan})
			}
		}
	}
	return d, m.memberTiers(ctx, &d)
}

// memberTiers counts a segment's members by tier.
func (m methods) memberTiers(ctx context.Context, d *api.SegmentDetail) error {
	tiers, err := m.people.MemberTiers(ctx, d.Name)
	for tier, n := range tiers {
		d.Tiers[tier] = int64(n)
	}
	return err
}

func resultsOf(r *segment.Results) api.SegmentResults {
	return api.SegmentResults{
		Sent: r.Sent, Delivered: r.Delivered, Bounced: r.Bounced, Complained: r.Complained, Unsubscribed: r.Unsubscribed,
		Opened: r.Opened, OpenedByMachine: r.OpenedByMachine, Clicked: r.Clicked, ClickedByMachine: r.ClickedByMachine,
	}
}

// TestSegment implements api.Methods.
func (m methods) TestSegment(ctx context.Context, t api.SegmentTest) (api.SegmentTested, error) {
	x, err := m.people.Try(ctx, segment.Definition{Where: t.Where, Include: t.Include, Exclude: t.Exclude})
	if err != nil {
		return api.SegmentTested{}, err
	}
	out := api.SegmentTested{
		Faults: []api.RuleFault{}, Contacts: x.Contacts, Looked: x.Looked, Sample: x.Sample,
		Members: x.Members, Low: x.Low, High: x.High, Some: []api.SegmentMember{},
	}
	for _, f := range x.Faults {
		out.Faults = append(out.Faults, api.RuleFault(f))
	}
	for _, c := range x.Some {
		out.Some = append(out.Some, api.SegmentMember{Address: c.Address, Tier: c.Tier})
	}
	return out, nil
}

// ExplainSegment implements api.Methods.
func (m methods) ExplainSegment(_ context.Context, name, address string) (api.SegmentExplained, error) {
	a, err := rfc5321.ParseAddress(address)
	if err != nil {
		return api.SegmentExplained{}, badRequest("the address cannot be read", err)
	}
	x, err := m.people.Explain(name, a)
	if errors.Is(err, segment.ErrUnknown) {
		return api.SegmentExplained{}, notFound("no contact has the address " + a.String())
	}
	if err != nil {
		return api.SegmentExplained{}, segmentProblem(err)
	}
	out := api.SegmentExplained{
		Segment: x.Segment, Version: x.Version, Rule: x.Rule, Address: x.Address, Tier: x.Tier, Member: x.Member,
		Since: x.Since, Cause: x.Cause, Until: x.Until, Then: x.UntilSays, Pairs: []api.SegmentExamined{},
	}
	for i := range x.Pairs {
		p := &x.Pairs[i]
		e := api.SegmentExamined{Account: p.Account, Role: p.Role, Holds: p.Holds, Conditions: []api.SegmentCondition{}}
		for j := range p.Conditions {
			e.Conditions = append(e.Conditions, conditionOf(&p.Conditions[j]))
		}
		out.Pairs = append(out.Pairs, e)
	}
	return out, nil
}

func conditionOf(c *rule.Condition) api.SegmentCondition {
	out := api.SegmentCondition{Text: c.Text, Negated: c.Negated, Depth: c.Depth, Result: c.Result, Reads: []api.SegmentReading{}}
	for _, r := range c.Reads {
		out.Reads = append(out.Reads, api.SegmentReading{Name: r.Name, Value: r.Value.String(), Missing: r.Value.Type() == rule.Missing, Because: r.Because})
	}
	return out
}

// RebuildSegment implements api.Methods.
func (m methods) RebuildSegment(_ context.Context, name string) error {
	return segmentProblem(m.people.Rebuild(name))
}

// oneLine is an error of several faults in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// segmentProblem is what an error about a segment is to whoever asked.
func segmentProblem(err error) error {
	switch {
	case errors.Is(err, segment.ErrNoSegment):
		return notFound(oneLine(err))
	case errors.Is(err, segment.ErrBuilding):
		return api.Problem(http.StatusConflict, err.Error(), "segue segment ls tells how far it is")
	case errors.Is(err, segment.ErrUnasked):
		return api.Problem(http.StatusConflict, oneLine(err), "correct its rule; segue check says where")
	}
	return err
}
