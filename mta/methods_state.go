// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/warmup"
	"github.com/seguemta/segue/segment"
)

// Contact implements api.Methods.
func (m methods) Contact(_ context.Context, address string) (api.Contact, error) {
	a, err := rfc5321.ParseAddress(address)
	if err != nil {
		return api.Contact{}, badRequest("the address cannot be read", err)
	}
	c, err := m.people.Contact(a, m.o.Now())
	if errors.Is(err, segment.ErrUnknown) {
		return api.Contact{}, notFound("no contact has the address " + a.String())
	}
	if err != nil {
		return api.Contact{}, err
	}
	out := api.Contact{
		Address: c.Address, ID: c.ID, UserID: c.UserID, Account: c.Account, Tier: c.Tier, TierReason: strings.TrimPrefix(c.TierReason, c.Tier+": "), Segments: []string{},
		FirstSent: c.FirstSent, LastSent: c.LastSent, LastEngaged: c.LastEngaged, Sends: uint64(max(c.Sends, 0)),
		SendsSince: uint64(max(c.SendsSinceEngagement, 0)), Batch: c.Batch, Attributes: map[string]string{}, Suppressions: []api.Suppression{},
	}
	out.Tags, out.Lists, out.Language, out.TimeZone = c.Tags, c.Lists, c.Language, c.Zone
	out.Source, out.Created, out.Consent, out.ConsentBy = c.Source, c.Created, c.Consent, c.ConsentBy
	out.Stage, out.StageBy = c.Stage, c.StageBy
	for _, m := range c.Accounts {
		out.Accounts = append(out.Accounts, api.Membership{Name: m.Name, GroupID: m.GroupID, Parent: m.Parent, Role: m.Role, Since: m.Since, Score: m.Score})
	}
	if x := c.Scores; x != nil {
		out.Scores = &api.ContactScores{Score: x.Score, Fit: x.Fit, Behaviour: x.Behaviour, Why: x.Why}
	}
	for _, s := range c.Segments {
		out.Segments = append(out.Segments, s.Name)
	}
	for name, v := range c.Attributes {
		out.Attributes[name] = v.String()
	}
	for i := range c.Suppressions {
		out.Suppressions = append(out.Suppressions, suppressionOf(&c.Suppressions[i]))
	}
	queued, err := m.mail.OfAddress(a.Key(), store.ID{}, 1000)
	out.Queued = len(queued)
	return out, err
}

// Suppressions implements api.Methods.
func (m methods) Suppressions(_ context.Context, q api.SuppressionQuery) ([]api.Suppression, error) {
	list, _, err := m.people.Suppressions(segment.Query{Prefix: q.Address, Limit: limit(q.Limit)})
	if a, bad := rfc5321.ParseAddress(q.Address); bad == nil && err == nil && len(list) == 0 {
		list, err = m.people.SuppressionsOf(a) // of somebody who was erased the hash tells
	}
	out := make([]api.Suppression, len(list))
	for i := range list {
		out[i] = suppressionOf(&list[i])
	}
	return out, err
}

func suppressionOf(s *segment.Suppression) api.Suppression {
	return api.Suppression{
		Address: s.Address, Hash: s.Hash, Reason: s.Reason, Scope: s.Scope, Source: s.Source, Evidence: s.Evidence, Created: s.Created, Expires: s.Expires,
	}
}

// Suppress implements api.Methods.
func (m methods) Suppress(ctx context.Context, s api.Suppression) error {
	a, err := rfc5321.ParseAddress(s.Address)
	if err != nil {
		return badRequest("the address cannot be read", err)
	}
	if err := m.checkScope(s.Scope); err != nil {
		return err
	}
	added, err := m.people.Suppress(a, segment.Suppression{
		Scope: s.Scope, Reason: s.Reason, Source: segment.SourceOperator, Evidence: s.Evidence, Expires: s.Expires,
	})
	if errors.Is(err, segment.ErrScope) {
		return badRequest("bad scope", err)
	}
	if err != nil || !added {
		return err
	}
	return m.tell(ctx, event.Event{Kind: event.SuppressAdded, Address: a.String(), Scope: s.Scope, Reason: s.Reason})
}

// tell writes an operator's act to the event log.
func (m methods) tell(ctx context.Context, e event.Event) error {
	return m.mail.Commit(ctx, func(tx *store.Tx) error {
		tx.Event(&e)
		return nil
	})
}

// Pools implements api.Methods.
func (m methods) Pools(context.Context) ([]api.Pool, error) {
	waiting := map[string]int{}
	for _, l := range m.queue.Lanes() {
		waiting[l.Pool] += l.Waiting
	}
	list := []api.Pool{}
	for _, p := range m.c.Pools {
		out := api.Pool{Name: p.Name, Excess: string(p.Excess), Overflow: p.Overflow, Waiting: waiting[p.Name]}
		for _, x := range p.Members {
			out.Members = append(out.Members, api.Member{Source: x.Source, Weight: x.Weight})
		}
		list = append(list, out)
	}
	return list, nil
}

// Sources implements api.Methods.
func (m methods) Sources(ctx context.Context) ([]api.Source, error) {
	budgets, err := m.Warmup(ctx)
	if err != nil {
		return nil, err
	}
	list := []api.Source{}
	for _, s := range m.c.Sources {
		out := api.Source{Name: s.Name, Hostname: m.plan.sources[s.Name].Hostname, Plan: s.Plan, Paused: m.pauses.until(s.Name, "", m.o.Now()), Addresses: []string{}, Budgets: []api.Warmup{}}
		for _, a := range s.Addresses {
			out.Addresses = append(out.Addresses, a.String())
		}
		for _, p := range m.pauses.of(s.Name, m.o.Now()) {
			if p.Provider != "" {
				out.Pauses = append(out.Pauses, api.Pause{Provider: p.Provider, Until: p.Until, Since: p.Since})
			}
		}
		slices.SortFunc(out.Pauses, func(a, b api.Pause) int { return strings.Compare(a.Provider, b.Provider) })
		for _, b := range budgets {
			if b.Source == s.Name {
				out.Budgets = append(out.Budgets, b)
			}
		}
		list = append(list, out)
	}
	return list, nil
}

// Source implements api.Methods.
func (m methods) Source(ctx context.Context, name string) (api.Source, error) {
	list, err := m.Sources(ctx)
	if err != nil {
		return api.Source{}, err
	}
	for _, s := range list {
		if s.Name == name {
			return s, nil
		}
	}
	return api.Source{}, notFound("no source has the name " + name + ": segue source ls shows them")
}

// Warmup implements api.Methods.
func (m methods) Warmup(context.Context) ([]api.Warmup, error) {
	list := []api.Warmup{}
	today := warmup.DayOf(m.o.Now(), m.warm.zone)
	for _, b := range m.queue.BudgetsToday() {
		s := m.warm.standing(b.Key, today)
		w := api.Warmup{
			Source: b.Key.Source, Domain: b.Key.Domain, Plan: s.plan, State: s.state, Evidence: s.sample.Text(), Segment: b.Key.Segment, Tier: b.Key.Tier, Provider: b.Key.Provider,
			Day: warmup.Day(b.Day).String(), Stage: s.stage, Stages: s.stages, Allowed: b.Allowed, Used: b.Used, Admit: b.Admit, Reason: s.reason, Against: s.against,
		}
		if w.Admit == nil {
			w.Admit = []string{}
		}
		list = append(list, w)
	}
	return list, nil
}

// PauseSource implements api.Methods. A pause is durable.
func (m methods) PauseSource(ctx context.Context, p api.Pause) error {
	if _, ok := m.plan.sources[p.Source]; !ok {
		return notFound("no source has the name " + p.Source + ": segue source ls shows them")
	}
	if p.Provider != "" && !slices.Contains(m.warm.providers, p.Provider) {
		return noProvider(p.Provider, m.warm.providers)
	}
	if !p.Until.IsZero() && !p.Until.After(m.o.Now()) {
		return api.Problem(http.StatusBadRequest, "the pause ends in the past", p.Until.Format(time.RFC3339))
	}
	return m.pauses.set(ctx, p, m.o.Now())
}
