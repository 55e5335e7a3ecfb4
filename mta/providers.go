// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/reputation/throttle"
)

// Providers implements api.Methods.
func (m methods) Providers(context.Context) ([]api.Provider, error) {
	t := m.throttles
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []api.Provider{}
	for _, p := range m.c.Providers {
		list = append(list, t.provider(p.Name))
	}
	return append(list, t.provider("")), nil
}

// Provider implements api.Methods.
func (m methods) Provider(_ context.Context, name string) (api.Provider, error) {
	t := m.throttles
	t.mu.Lock()
	defer t.mu.Unlock()
	at, err := t.known(name)
	if err != nil {
		return api.Provider{}, err
	}
	return t.provider(at), nil
}

// noProvider says which names there are: no command lists those at which nothing is in force.
func noProvider(name string, all []string) error {
	all = slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "" || s == schedule.Other })
	slices.Sort(all)
	return notFound("no provider has the name " + name + ": there are " + strings.Join(append(all, schedule.Other), ", "))
}

// known is the provider of a name as events have it.
func (t *throttles) known(name string) (string, error) {
	if name == schedule.Other {
		return "", nil
	}
	if _, ok := t.normals[name]; !ok || name == "" {
		return "", noProvider(name, slices.Collect(maps.Keys(t.normals)))
	}
	return name, nil
}

// provider says what is in force at a provider.
func (t *throttles) provider(name string) api.Provider {
	n := t.normals[name]
	out := api.Provider{
		Name: other(name), Reports: n.Reports, Sources: []api.Limit{},
		Normal: api.ProviderRate{
			Rate: n.Rate, Connections: n.Connections, PerConnection: n.PerConnection,
			Text: throttle.WriteLimits(false, n.Rate, n.Connections, n.PerConnection),
		},
	}
	for _, source := range t.sources {
		out.Sources = append(out.Sources, t.standing(pair{source, name}))
	}
	return out
}

// standing says what is in force of a source at a provider and why.
func (t *throttles) standing(p pair) api.Limit {
	s := t.states[p]
	if s == nil {
		return api.Limit{Source: p.source, State: "normal", Text: "no limit", Acts: []api.LimitAct{}}
	}
	l := t.policy(p.provider).Limits(s, t.settled())
	out := api.Limit{
		Source: p.source, State: "normal", Rule: l.Rule, Until: l.Until, Suspended: l.Suspended, Rate: l.Rate, Connections: l.Connections,
		PerConnection: l.PerConnection, Text: throttle.WriteLimits(l.Suspended, l.Rate, l.Connections, l.PerConnection), Acts: limitActs(t.acts[p]),
	}
	if l.Suspended {
		out.Text = throttle.WriteLimits(true, 0, 0, 0)
	}
	switch {
	case s.Pinned != nil:
		out.State, out.Pin = "pinned", &api.Pin{By: s.Pinned.By, Reason: s.Pinned.Reason, At: s.Pinned.At}
	case l.Suspended:
		out.State, out.Strikes = "suspended", s.Suspended.Strikes
	case s.Slowed != nil:
		out.State, out.Until = "slowed", s.Slowed.Until
	}
	for _, x := range l.Lanes {
		out.Lanes = append(out.Lanes, api.LaneLimit{Target: string(x.Target), Name: x.Name, Rule: x.Rule, Strikes: x.Strikes, Until: x.Until})
	}
	for _, c := range s.Counters {
		out.Matches = append(out.Matches, api.Matches{
			Rule: c.Rule, Of: strings.TrimSpace(c.Name), N: len(c.Times), Last: time.UnixMilli(c.Times[len(c.Times)-1]).UTC(),
		})
	}
	return out
}

func limitActs(acts []throttle.Act) []api.LimitAct {
	list := make([]api.LimitAct, len(acts))
	for i := range acts {
		a := &acts[i]
		evidence, _ := json.Marshal(a) //nolint:errchkjson // it was stored as JSON
		list[i] = api.LimitAct{Act: string(a.Kind), Time: a.Time, Text: a.String(), Undo: a.Undo(), Evidence: evidence}
	}
	return list
}

// CancelLimits implements api.Methods. It is durable and in force when it returns.
func (m methods) CancelLimits(ctx context.Context, c api.LimitCancel) (api.LimitActs, error) {
	if err := checkTexts(c.By); err != nil {
		return api.LimitActs{}, badRequest("bad order", err)
	}
	target, name := throttle.TargetSource, ""
	switch {
	case c.Lane != "" && c.Segment != "":
		return api.LimitActs{}, api.Problem(http.StatusBadRequest, "bad order", "give a lane or a segment, not both")
	case c.Lane != "":
		target, name = throttle.TargetLane, c.Lane
	case c.Segment != "":
		target, name = throttle.TargetSegment, c.Segment
	}
	o := order{provider: c.Provider, source: c.Source, none: "no rule has anything in force there: segue provider show " + c.Provider}
	return m.throttles.order(ctx, &o, func(p *throttle.Policy, s *throttle.State, now time.Time) []throttle.Act {
		return p.Cancel(s, now, target, name, operator(c.By))
	})
}

// PinLimits implements api.Methods. It is durable and in force when it returns.
func (m methods) PinLimits(ctx context.Context, x api.LimitPin) (api.LimitActs, error) {
	if err := checkPin(&x); err != nil {
		return api.LimitActs{}, badRequest("bad pin", err)
	}
	o := order{provider: x.Provider, source: x.Source, none: "nothing is pinned there"}
	return m.throttles.order(ctx, &o, func(p *throttle.Policy, s *throttle.State, now time.Time) []throttle.Act {
		if x.Off {
			return p.Unpin(s, now, operator(x.By))
		}
		return p.Pin(s, now, throttle.Pin{
			Suspended: x.Suspend, Rate: x.Rate, Connections: x.Connections, PerConnection: x.PerConnection, By: operator(x.By), Reason: x.Reason,
		})
	})
}

// Bounds of an order: numbers as the configuration has them, texts so that a state stays one
// that can be read again.
const (
	mostPinned  = 10_000
	longestText = 1000
)

func checkPin(x *api.LimitPin) error {
	if err := checkTexts(x.By, x.Reason); err != nil {
		return err
	}
	figures := x.Rate != 0 || x.Connections != 0 || x.PerConnection != 0
	switch {
	case x.Source == "":
		return fmt.Errorf("source is missing")
	case x.Off && (figures || x.Suspend):
		return fmt.Errorf("off takes a pin away: it has no limits")
	case x.Off:
		return nil
	case figures == x.Suspend:
		return fmt.Errorf("say what holds: limits (rate, connections, per_connection), or suspend")
	case x.Reason == "":
		return fmt.Errorf("reason is missing: a pin holds until somebody takes it away, who must know why it is there")
	case !(x.Rate >= 0) || math.IsInf(x.Rate, 0) || x.Connections < 0 || x.PerConnection < 0:
		return fmt.Errorf("a limit is below 0")
	case x.Connections > mostPinned || x.PerConnection > mostPinned:
		return fmt.Errorf("at most %d connections, and as many messages on each", mostPinned)
	}
	return nil
}

func checkTexts(list ...string) error {
	for _, s := range list {
		if len(s) > longestText {
			return fmt.Errorf("a text of %d octets is longer than %d", len(s), longestText)
		}
	}
	return nil
}

func operator(name string) string {
	if name == "" {
		return "an operator"
	}
	return name
}

// order is which limits an order is about.
type order struct {
	provider, source string // no source: all
	none             string // what to say where it changes nothing
}

// order carries out an operator's order after everything that happened before it. It is
// done on copies: what was not stored did not happen.
func (t *throttles) order(ctx context.Context, o *order, do func(*throttle.Policy, *throttle.State, time.Time) []throttle.Act) (api.LimitActs, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	provider, err := t.known(o.provider)
	if err != nil {
		return api.LimitActs{}, err
	}
	sources := t.sources
	if o.source != "" {
		if !slices.Contains(sources, o.source) {
			return api.LimitActs{}, notFound("no source has the name " + o.source + ": segue source ls shows them")
		}
		sources = []string{o.source}
	}
	for more := true; more; {
		if more, _, err = t.next(ctx); err != nil {
			return api.LimitActs{}, err
		}
	}
	c := t.change()
	for _, source := range sources {
		p := pair{source, provider}
		s, err := copied(t.state(p))
		if err != nil {
			return api.LimitActs{}, err
		}
		if acts := do(t.policy(provider), s, t.settled()); slices.ContainsFunc(acts, ordered) {
			c.add(p, s, acts)
		}
	}
	if len(c.acts) == 0 {
		return api.LimitActs{}, api.Problem(http.StatusConflict, "nothing was changed", o.none)
	}
	if err := t.commit(ctx, c); err != nil {
		return api.LimitActs{}, err
	}
	return api.LimitActs{Acts: limitActs(slices.DeleteFunc(c.acts, func(a throttle.Act) bool { return !ordered(a) }))}, nil
}

// ordered reports whether an act is that of an operator.
func ordered(a throttle.Act) bool {
	return a.Kind == throttle.Pinned || a.Kind == throttle.Unpinned || a.Kind == throttle.Cancelled
}

func copied(s *throttle.State) (*throttle.State, error) {
	b, err := s.Encode()
	if err != nil {
		return nil, err
	}
	return throttle.Decode(b)
}
