// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"slices"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/mta/admit"
	"github.com/seguemta/segue/mta/deliver"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/bounce"
	"github.com/seguemta/segue/segment"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/signal"
	"github.com/seguemta/segue/segment/tier"
)

// transactional is the stream that never waits for tiers and budgets.
const transactional = "transactional"

// layout is the configuration as the packages take it.
type layout struct {
	schema    *rule.Schema
	segments  []segment.Definition
	tierRules tier.Rules
	scores    *score.Model // nil = none are configured
	signals   signal.Rules
	secrets   *secrets
	bounces   *bounce.Classifier

	streams      map[string]admit.Stream
	weights      map[string]int // of streams
	assignments  admit.Segments
	segWeights   map[string]int
	policies     map[string]queue.Policy // of segments
	contactSpan  time.Duration           // how far caps look back
	accountSpan  time.Duration
	maxAge       time.Duration // of mail of any stream
	zones        zones
	tierPools    map[string]string
	tierWeights  map[string]int
	keys         map[string][]dkim.Key // by sending domain
	domains      map[string]deliver.Domain
	signs        map[string]bool // our sending domains
	ramped       map[string]bool // those with a plan of their own
	sources      map[string]deliver.Source
	defineSource []schedule.DefineSource
	definePool   []schedule.DefinePool
	defineProv   []schedule.DefineProvider
}

// newLayout converts a configuration that Check found no errors in.
func newLayout(c *config.Config) (*layout, error) {
	l := &layout{zones: newZones(c.BudgetZone.Std())}
	var p1, p2, p3, p4 []config.Problem
	l.keys, p1 = keys(c)
	l.tierRules, p2 = tiers(c)
	l.schema, l.segments, p3 = rules(c)
	l.scores, p4 = scoring(c, l.schema)
	l.signals = signals(c)
	var errs []error
	for _, p := range slices.Concat(p1, p2, p3, p4) {
		if !p.Warning {
			errs = append(errs, errors.New(p.String()))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	l.mail(c)
	l.egress(c)
	return l, nil
}

// mail converts streams, tiers and segments.
func (l *layout) mail(c *config.Config) {
	l.streams, l.weights = make(map[string]admit.Stream), make(map[string]int)
	for _, s := range c.Streams {
		l.streams[s.Name] = admit.Stream{Pool: s.Pool, MaxAge: time.Duration(s.MaxAge), Transactional: s.Name == transactional}
		l.weights[s.Name] = s.Weight
		l.maxAge = max(l.maxAge, time.Duration(s.MaxAge))
	}
	l.tierPools, l.tierWeights = make(map[string]string), make(map[string]int)
	for _, t := range c.Tiers {
		l.tierPools[t.Name] = t.Pool
		l.tierWeights[t.Name] = t.Weight
	}
	l.assignments, l.segWeights, l.policies = make(admit.Segments), make(map[string]int), make(map[string]queue.Policy)
	for _, s := range c.Segments {
		p := policy(&s)
		l.policies[s.Name] = p
		l.contactSpan, l.accountSpan = max(l.contactSpan, p.ContactCap.Per), max(l.accountSpan, p.AccountCap.Per)
		a := admit.Assignment{Pool: s.Pool, Tiers: make(map[string]admit.Target), Window: p.Window, Holdback: s.Holdback}
		for _, t := range s.Assign {
			a.Tiers[t.Tier] = admit.Target{Pool: t.Pool, Plan: t.Plan}
		}
		l.assignments[s.Name] = a
		l.segWeights[s.Name] = s.Weight
	}
}

// egress converts sources, pools and providers.
func (l *layout) egress(c *config.Config) {
	l.ramped = make(map[string]bool)
	for _, d := range c.Domains {
		l.ramped[d.Name] = d.Plan != ""
	}
	l.sources = make(map[string]deliver.Source)
	for _, s := range c.Sources {
		src := deliver.Source{Hostname: s.Hostname}
		if src.Hostname == "" {
			src.Hostname = c.Hostname
		}
		for _, a := range s.Addresses {
			if a.Is4() {
				src.V4 = a.Addr
			} else {
				src.V6 = a.Addr
			}
		}
		l.sources[s.Name] = src
		l.defineSource = append(l.defineSource, schedule.DefineSource{Name: s.Name, Budgeted: s.Plan != ""})
	}
	for _, p := range c.Pools {
		d := schedule.DefinePool{Name: p.Name, Excess: schedule.Excess(p.Excess), Overflow: p.Overflow}
		for _, m := range p.Members {
			d.Members = append(d.Members, schedule.Member{Source: m.Source, Weight: m.Weight})
		}
		l.definePool = append(l.definePool, d)
	}
	l.defineProv = append(l.defineProv, schedule.DefineProvider{Connections: c.Delivery.Connections, PerConnection: c.Delivery.PerConnection})
	for _, p := range c.Providers {
		l.defineProv = append(l.defineProv, schedule.DefineProvider{
			Name: p.Name, Connections: p.Connections, TotalConnections: p.TotalConnections,
			PerConnection: p.PerConnection, Rate: p.Rate.PerSecond(),
		})
	}
}

func (l *layout) stream(name string) admit.Stream { return l.streams[name] }

// lane gives a stored class what configuration says of it.
func (l *layout) lane(c store.Class) schedule.Class {
	s := l.streams[c.Stream]
	t, _ := tier.Parse(c.Tier)
	w := l.weights[c.Stream]
	for _, next := range []int{l.segWeights[c.Segment], l.tierWeights[c.Tier], 1} {
		if w == 0 {
			w = next
		}
	}
	domain := ""
	if l.ramped[c.Domain] {
		domain = c.Domain // the plan may have been taken away since the mail was accepted
	}
	return schedule.Class{
		Domain: domain, Stream: c.Stream, Segment: c.Segment, Tier: c.Tier, Pool: c.Pool, Plan: c.Plan,
		Rank: t.Rank(), Weight: w, Transactional: s.Transactional,
	}
}
