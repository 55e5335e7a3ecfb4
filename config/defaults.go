// SPDX-License-Identifier: Apache-2.0

package config

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/seguemta/segue/reputation/plans"
)

// Names of the streams that exist without being declared.
const (
	StreamTransactional = "transactional"
	StreamMarketing     = "marketing"
)

// Tiers.
const (
	TierNew     = "new"
	TierActive  = "active"
	TierWarm    = "warm"
	TierCooling = "cooling"
	TierDormant = "dormant"
	TierDead    = "dead"
)

// TierOrder returns the tiers in the order in which their conditions are
// asked; a contact is in the first that holds, else in cooling.
func TierOrder() []string {
	return []string{TierDead, TierActive, TierWarm, TierCooling, TierNew, TierDormant}
}

// DefaultNewShare is the share of a stage that is reserved for tier new where
// the stage admits it and says nothing.
const DefaultNewShare = 0.15

// builtin makes a stream start from the default of its name: a password reset
// is worthless after a day, a newsletter is not, and must not delay the former.
func (s *Stream) builtin(name string) {
	s.MaxAge = Duration(168 * time.Hour)
	if name == StreamTransactional {
		s.MaxAge, s.Weight = Duration(24*time.Hour), 32
	}
}

// builtin makes a tier start from the default of its name, as [Tier] defends it.
func (t *Tier) builtin(name string) {
	days := func(n int) Duration { return Duration(time.Duration(n) * day) }
	switch name {
	case TierNew:
		t.Within, t.MaxSends, t.Weight = days(30), 4, 4
	case TierActive:
		t.Within, t.Weight = days(30), 8
	case TierWarm:
		t.Within, t.Weight = days(90), 4
	case TierCooling:
		t.Within, t.Weight = days(180), 2
	case TierDormant:
		t.Beyond, t.MinSends, t.Weight = days(180), 6, 1
	case TierDead:
		t.Beyond, t.MinSends, t.Weight = days(365), 10, 1
	}
}

// fill adds the streams and tiers that exist by default, and sets what
// depends on other keys.
func (c *Config) fill() {
	if c.SecretsDir == "" {
		c.SecretsDir = Path(filepath.Join(string(c.DataDir), "secrets"))
	}
	if c.Delivery.Pool == "" && len(c.Pools) == 1 {
		c.Delivery.Pool = c.Pools[0].Name
	}
	c.fillStreams()
	c.fillTiers()
	for i := range c.Domains {
		d := &c.Domains[i]
		if d.ReturnPath == "" && d.Name != "" {
			d.ReturnPath = "bounce." + d.Name
		}
		if d.FeedbackID == "" && d.Name != "" {
			d.FeedbackID = defaultFeedbackID(d.Name)
		}
	}
	for i := range c.Listeners {
		c.Listeners[i].fill()
	}
	for i := range c.Sources {
		if s := &c.Sources[i]; s.Hostname == "" {
			s.Hostname = c.Hostname
		}
	}
	for i := range c.Providers {
		p := &c.Providers[i]
		if !c.IsSet("provider[" + p.Name + "].reports_complaints") {
			p.ReportsComplaints = slices.Contains(reporters(), p.Name)
		}
		if p.Connections == 0 {
			p.Connections = c.Delivery.Connections
		}
		if p.PerConnection == 0 {
			p.PerConnection = c.Delivery.PerConnection
		}
	}
	for _, plan := range c.Plans {
		c.fillStages(plan)
	}
	c.publishPlans()
}

// reporters are names of providers that send reports of complaints to senders
// who register for them.
func reporters() []string {
	return []string{"yahoo", "aol", "microsoft", "comcast", "cox", "fastmail", "rackspace", "zoho", "laposte", "orange", "libero", "seznam", "mailru", "yandex"}
}

// publishPlans adds the published schedules that something asks for by name and
// that no [[plan]] of that name takes the place of. What a schedule says of
// providers that are not declared is left out.
func (c *Config) publishPlans() {
	for _, name := range c.planNames() {
		if slices.ContainsFunc(c.Plans, func(p Plan) bool { return p.Name == name }) {
			continue
		}
		published, ok := plans.Find(name)
		if !ok {
			continue // reported as a name that refers to nothing
		}
		p := Plan{Name: name, Pace: true, Gate: DefaultGate()}
		for _, s := range published.Stages {
			stage := Stage{Tiers: s.Tiers, NewShare: DefaultNewShare, PerDay: make(map[string]int64)}
			for provider, n := range s.PerDay {
				if slices.Contains([]string{PerDayDefault, PerDayOther, PerDayTotal}, provider) || slices.Contains(c.providerNames(), provider) {
					stage.PerDay[provider] = int64(n)
				}
			}
			p.Stages = append(p.Stages, stage)
		}
		c.Plans = append(c.Plans, p)
	}
}

// DefaultGate is the gate of a plan that says nothing of one, such as a published schedule.
func DefaultGate() Gate {
	return Gate{Used: 0.9, MaxDeferred: 0.10, MaxBounced: 0.05, MaxComplained: 0.001, MaxUnsubscribed: 0.01, StepBack: 3}
}

// planNames are the plans that sources, domains and lanes name.
func (c *Config) planNames() []string {
	var list []string
	for _, s := range c.Sources {
		list = append(list, s.Plan)
	}
	for _, d := range c.Domains {
		list = append(list, d.Plan)
	}
	for _, s := range c.Segments {
		for _, a := range s.Assign {
			list = append(list, a.Plan)
		}
	}
	return slices.DeleteFunc(list, func(name string) bool { return name == "" })
}

// fill sets the limit per address from what the listener is for.
func (l *Listener) fill() {
	if l.MaxConnectionsPerAddress != 0 {
		return
	}
	most := 100
	if l.Purpose == Feedback {
		most = 20
	}
	l.MaxConnectionsPerAddress = min(most, max(1, l.MaxConnections/2))
}

func (c *Config) fillStreams() {
	for _, name := range []string{StreamTransactional, StreamMarketing} {
		if !slices.ContainsFunc(c.Streams, func(s Stream) bool { return s.Name == name }) {
			s := Stream{Name: name}
			s.builtin(name)
			c.Streams = append(c.Streams, s)
		}
	}
	if !slices.ContainsFunc(c.Pools, func(p Pool) bool { return p.Name == StreamTransactional }) {
		return
	}
	for i := range c.Streams {
		if s := &c.Streams[i]; s.Name == StreamTransactional && s.Pool == "" {
			s.Pool = StreamTransactional
		}
	}
}

// fillTiers puts the six tiers into the order in which they are asked.
func (c *Config) fillTiers() {
	tiers := make([]Tier, 0, len(TierOrder()))
	for _, name := range TierOrder() {
		i := slices.IndexFunc(c.Tiers, func(t Tier) bool { return t.Name == name })
		if i < 0 {
			t := Tier{Name: name}
			t.builtin(name)
			tiers = append(tiers, t)
			continue
		}
		tiers = append(tiers, c.Tiers[i])
	}
	c.Tiers = tiers
}

// fillStages sets the shares for new contacts and the budget of other sites.
func (c *Config) fillStages(plan Plan) {
	for i := range plan.Stages {
		s, key := &plan.Stages[i], stageKey(plan.Name, i)
		if slices.Contains(s.Tiers, TierNew) && !c.IsSet(key+".new_share") {
			s.NewShare = DefaultNewShare
		}
		if n, ok := s.PerDay[PerDayDefault]; ok {
			if _, named := s.PerDay[PerDayOther]; !named {
				s.PerDay[PerDayOther] = n
			}
		}
	}
}
