// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/signal"
)

// scoring compiles the [[score]] tables against the declared attributes. It is
// nil where there are none: rules that read a score then find it missing.
func scoring(c *config.Config, schema *rule.Schema) (*score.Model, []config.Problem) {
	if len(c.Scores) == 0 || schema == nil {
		return nil, nil
	}
	o := score.Options{FitMax: c.Scoring.FitMax, BehaviourMax: c.Scoring.BehaviourMax, HalfLife: time.Duration(c.Scoring.HalfLife)}
	if c.Scoring.Account == config.AccountTop3 {
		o.Account = score.AccountTop3
	}
	var fit, behaviour []int // numbers of the tables
	for i, s := range c.Scores {
		switch s.Dimension {
		case config.DimensionFit:
			fit = append(fit, i)
			o.Fit = append(o.Fit, score.FitRule{Where: s.Where, Points: s.Points})
		case config.DimensionBehaviour:
			behaviour = append(behaviour, i)
			o.Activities = append(o.Activities, score.Activity{Event: s.Event, Filter: s.Filter, Points: s.Points, PerDay: s.PerDay})
		}
	}
	m, err := score.New(schema, o)
	var list []config.Problem
	for _, err := range parts(err) {
		bad, ok := errors.AsType[*score.RuleError](err)
		if !ok {
			list = append(list, c.Problem("scoring", err.Error(), ""))
			continue
		}
		tables := behaviour
		if bad.Fit {
			tables = fit
		}
		at := fmt.Sprintf("score[%d].%s", tables[bad.Index], bad.Key)
		faults := rule.Faults(bad.Err)
		for _, f := range faults {
			list = append(list, c.Problem(at, place(f)+f.Text, f.Hint))
		}
		if len(faults) == 0 && c.IsSet(at) {
			list = append(list, c.Problem(at, bad.Err.Error(), ""))
		}
	}
	return m, list
}

// parts returns the errors that one joins.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// Weights of networks that [signal] names. One sign beside a data centre makes a
// machine; a scanner needs none.
const (
	scannerWeight    = 0.95
	dataCentreWeight = 0.45
	machineWeight    = 0.95
	proxyWeight      = 0.3
)

// signals is by what opens and clicks are judged. What would be no rules at all,
// config finds.
func signals(c *config.Config) signal.Rules {
	r, s := signal.Default(), c.Signal
	r.Hold, r.Links, r.LinksWithin = time.Duration(s.Hold), s.Links, time.Duration(s.LinksWithin)
	r.AfterDelivery, r.HalfLife = time.Duration(s.AfterDelivery), time.Duration(s.LearnFor)
	networks := func(name string, list []netip.Prefix, weight float64) {
		for _, p := range list {
			r.Networks = append(r.Networks, signal.Network{Name: name, Prefix: p, Weight: weight})
		}
	}
	networks("a network of scanners", config.Prefixes(s.Scanners), scannerWeight)
	networks("a data centre", config.Prefixes(s.DataCentres), dataCentreWeight)
	agents := make([]signal.Agent, 0, len(s.Agents)+len(r.Agents))
	for _, a := range s.Agents {
		x := signal.Agent{Name: a.Contains, Match: strings.ToLower(a.Contains)}
		switch a.Is {
		case config.AgentMachine:
			x.Open, x.Click = machineWeight, machineWeight
		case config.AgentProxy:
			x.Open, x.Click = proxyWeight, machineWeight
		case config.AgentPerson:
		}
		agents = append(agents, x)
	}
	r.Agents = append(agents, r.Agents...)
	return r
}
