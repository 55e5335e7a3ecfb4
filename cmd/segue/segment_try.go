// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/wilson"
)

type segmentTest struct {
	Where   string   `placeholder:"CEL" help:"The rule."`
	Include []string `placeholder:"LIST" help:"A list whose contacts are in, whatever the rule says."`
	Exclude []string `placeholder:"LIST" help:"A list whose contacts are not."`
}

// errFaults ends the program when the faults of a rule were printed.
var errFaults = errors.New("the rule does not compile")

// Run tries a rule.
func (c *segmentTest) Run(a *app) error {
	if c.Where == "" && len(c.Include) == 0 {
		return errors.New("nothing to test: give a rule with --where, or a list with --include")
	}
	faulty := false
	err := show(a, func(ctx context.Context, m api.Methods) (api.SegmentTested, error) {
		t, err := m.TestSegment(ctx, api.SegmentTest{Where: c.Where, Include: c.Include, Exclude: c.Exclude})
		faulty = len(t.Faults) > 0
		return t, err
	}, a.tested)
	if err == nil && faulty {
		return errFaults
	}
	return err
}

func (a *app) tested(t api.SegmentTested) error {
	for _, f := range t.Faults {
		place := ""
		if f.Line > 0 {
			place = fmt.Sprintf("line %d, column %d: ", f.Line, f.Column)
		}
		hint := ""
		if f.Hint != "" {
			hint = " (" + f.Hint + ")"
		}
		if err := a.say("%s%s%s", place, f.Text, hint); err != nil {
			return err
		}
	}
	switch {
	case len(t.Faults) > 0:
		return nil
	case t.Sample:
		rate := fmt.Sprintf("about %s members of %s contacts, between %s and %s: a sample of %s contacts was asked",
			wilson.Count(t.Members), wilson.Count(t.Contacts), wilson.Count(t.Low), wilson.Count(t.High), wilson.Count(t.Looked))
		if err := a.say("%s", rate); err != nil {
			return err
		}
	default:
		if err := a.say("%s members of %s contacts, exactly: all were asked", wilson.Count(t.Members), wilson.Count(t.Looked)); err != nil {
			return err
		}
	}
	for _, c := range t.Some {
		if err := a.say("  %s (%s)", c.Address, c.Tier); err != nil {
			return err
		}
	}
	return nil
}

type segmentExplain struct {
	Name    string `arg:"" help:"The segment."`
	Address string `arg:"" help:"The contact."`
}

// Run explains a membership.
func (c *segmentExplain) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.SegmentExplained, error) {
		return m.ExplainSegment(ctx, c.Name, c.Address)
	}, a.explained)
}

func (a *app) explained(x api.SegmentExplained) error {
	is := map[bool]string{true: "is in ", false: "is not in "}
	line := x.Address + " " + is[x.Member] + x.Segment
	switch {
	case x.Member && x.Since.IsZero():
		line += ", since it was built or before"
	case x.Member:
		line += ", since " + a.when(x.Since) + " by " + x.Cause
	}
	if err := a.say("%s", line); err != nil {
		return err
	}
	until := "time alone does not change it"
	if !x.Until.IsZero() {
		until = "by time alone it " + map[bool]string{true: "enters ", false: "leaves "}[x.Then] + a.when(x.Until)
	}
	if err := a.say("%s", until); err != nil {
		return err
	}
	for i := range x.Pairs {
		if err := a.examined(&x.Pairs[i]); err != nil {
			return err
		}
	}
	return nil
}

// examined prints the conditions of a rule, for one account of the contact.
func (a *app) examined(p *api.SegmentExamined) error {
	head := "the rule is " + fmt.Sprint(p.Holds)
	if p.Account != "" {
		head += " for the account " + p.Account
	}
	if p.Role != "" {
		head += ", in which the contact is " + p.Role
	}
	if err := errors.Join(a.say(""), a.say("%s", head)); err != nil {
		return err
	}
	for _, c := range p.Conditions {
		var b strings.Builder
		fmt.Fprintf(&b, "%s%-5v  ", strings.Repeat("  ", c.Depth), c.Result != c.Negated) // of the line as it reads
		if c.Negated {
			b.WriteString("not ")
		}
		b.WriteString(c.Text)
		for i, r := range c.Reads {
			value := r.Value
			if r.Missing {
				value = "missing"
			}
			if r.Because != "" {
				value += " because of segment " + r.Because
			}
			b.WriteString([]string{"  [", ", "}[min(i, 1)] + r.Name + " = " + value)
		}
		if len(c.Reads) > 0 {
			b.WriteByte(']')
		}
		if err := a.say("%s", b.String()); err != nil {
			return err
		}
	}
	return nil
}

type segmentRebuild struct {
	Name string `arg:"" help:"The segment."`
}

// Run has a segment built anew.
func (c *segmentRebuild) Run(a *app) error {
	return a.order(func(ctx context.Context, m api.Methods) error { return m.RebuildSegment(ctx, c.Name) },
		fmt.Sprintf("%s is being built anew, segue segment ls tells how far it is", c.Name))
}
