// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
)

// methods is the engine as its operators see it.
type methods struct{ *Engine }

var _ api.Methods = methods{}

// Methods is the engine's side of the API.
func (e *Engine) Methods() api.Methods { return methods{e} }

const defaultPage = 100

func notFound(what string) error {
	return api.Problem(http.StatusNotFound, what, "")
}

func badRequest(title string, err error) error {
	return api.Problem(http.StatusBadRequest, title, err.Error())
}

// Health implements api.Methods.
func (m methods) Health(context.Context) (api.Health, error) {
	h := api.Health{Version: m.o.Version, Started: m.started, Problems: []string{}, Warnings: []string{}}
	h.Sequence, _ = m.mail.Durable()
	if err := m.mail.Err(); err != nil {
		h.Problems = append(h.Problems, err.Error())
	}
	h.Problems = append(h.Problems, m.diskProblems()...)
	if lag, err := m.contacts.lag(m.o.Now()); err != nil {
		h.Problems = append(h.Problems, err.Error())
	} else if lag > maxLag {
		h.Problems = append(h.Problems, "contacts are "+lag.Round(time.Second).String()+" behind their events: marketing mail waits")
	}
	if w := m.time.warning(); w != "" {
		h.Warnings = append(h.Warnings, w)
	}
	h.Warnings = append(h.Warnings, m.contacts.outages.warnings()...)
	h.Ready = len(h.Problems) == 0
	return h, nil
}

// Queue implements api.Methods.
func (m methods) Queue(ctx context.Context, q api.QueueQuery) (api.QueueList, error) {
	entries, flying, err := m.find(ctx, q)
	if err != nil {
		return api.QueueList{}, err
	}
	list := api.QueueList{Entries: make([]api.QueueEntry, len(entries))}
	for i := range entries {
		list.Entries[i] = m.entry(&entries[i])
		list.Entries[i].State = state(&entries[i], flying)
	}
	if n := len(entries); n > 0 && n == limit(q.Limit) {
		list.Next = entries[n-1].ID.String()
	}
	return list, nil
}

func limit(n int) int {
	if n <= 0 {
		return defaultPage
	}
	return n
}

// find reads the recipients that a query selects, and who is in flight.
func (m methods) find(ctx context.Context, q api.QueueQuery) ([]store.Entry, map[store.ID]bool, error) {
	if err := m.checkNames(&q); err != nil {
		return nil, nil, err
	}
	flying, err := m.queue.Flying(ctx)
	if err != nil {
		return nil, nil, err
	}
	if q.Address != "" {
		a, err := rfc5321.ParseAddress(q.Address)
		if err != nil {
			return nil, nil, badRequest("the address cannot be read", err)
		}
		list, err := m.mail.OfAddress(a.Key(), store.ID{}, limit(q.Limit))
		return keep(list, func(e *store.Entry) bool { return selects(&q, e, m.mail.Class(e.Class), flying) }), flying, err
	}
	var from store.ID
	if q.After != "" {
		id, err := store.ParseID(q.After)
		if err != nil {
			return nil, nil, badRequest("after is no id", err)
		}
		from = store.ID{Message: id.Message, Recipient: id.Recipient + 1}
	}
	wanted := func(e *store.Entry, c store.Class) bool { return selects(&q, e, c, flying) }
	var list []store.Entry
	if q.Domain != "" {
		list, err = m.queue.ListDomain(ctx, q.Domain, from, limit(q.Limit), wanted)
	} else {
		list, err = m.queue.List(from, limit(q.Limit), wanted)
	}
	return list, flying, err
}

// state is where a recipient is.
func state(e *store.Entry, flying map[store.ID]bool) string {
	switch {
	case flying[e.ID]:
		return "in_flight"
	case e.Hold != "":
		return "held"
	default:
		return "waiting"
	}
}

func keep(list []store.Entry, f func(*store.Entry) bool) []store.Entry {
	out := list[:0]
	for i := range list {
		if f(&list[i]) {
			out = append(out, list[i])
		}
	}
	return out
}

func selects(q *api.QueueQuery, e *store.Entry, c store.Class, flying map[store.ID]bool) bool {
	for _, f := range [][2]string{
		{q.Stream, c.Stream},
		{q.Segment, c.Segment},
		{q.Tier, c.Tier},
		{q.Pool, c.Pool},
		{q.Domain, e.Address.Domain},
		{q.State, state(e, flying)},
	} {
		if f[0] != "" && f[0] != f[1] {
			return false
		}
	}
	return true
}

func (m methods) entry(e *store.Entry) api.QueueEntry {
	c := m.mail.Class(e.Class)
	return api.QueueEntry{
		ID: e.ID.String(), Address: e.Address.String(), State: state(e, nil), Stream: c.Stream, Segment: c.Segment, Tier: c.Tier,
		Pool: c.Pool, Plan: c.Plan, Queued: e.Queued, Due: e.Due, Expires: e.Expires, Attempts: e.Attempts, Reply: coded(e.Code, e.Reply), Hold: e.Hold,
	}
}

// coded is a reply with its code, without which "try again later" could be any server's or our own.
func coded(code int, text string) string {
	if code == 0 {
		return text
	}
	return rfc5321.Reply{Code: code, Text: text}.String()
}

// QueueSummary implements api.Methods.
func (m methods) QueueSummary(ctx context.Context) (api.QueueSummary, error) {
	if err := m.queue.Counted(ctx); err != nil && !errors.Is(err, queue.ErrStopping) {
		return api.QueueSummary{}, err
	}
	t := m.queue.Total()
	s := api.QueueSummary{Waiting: t.Waiting, Held: t.Held, InFlight: t.InFlight, Lanes: []api.LaneCount{}}
	for _, l := range m.queue.Lanes() {
		s.Lanes = append(s.Lanes, api.LaneCount{
			Stream: l.Stream, Segment: l.Segment, Tier: l.Tier, Pool: l.Pool, Plan: l.Plan, Provider: other(l.Provider),
			Waiting: l.Waiting, Held: l.Held, InFlight: l.InFlight,
		})
	}
	return s, nil
}

// QueueShow implements api.Methods.
func (m methods) QueueShow(ctx context.Context, id string) (api.QueueDetail, error) {
	s, err := m.status(ctx, id)
	if err != nil {
		return api.QueueDetail{}, err
	}
	d := api.QueueDetail{Events: s.Events}
	if s.State == "concluded" {
		// What follows on the conclusion, a complaint or its case, says less of the message.
		i := slices.IndexFunc(s.Events, func(e event.Event) bool { return e.Kind.Final() })
		if i < 0 {
			i = len(s.Events) - 1
		}
		end := &s.Events[i]
		d.QueueEntry = api.QueueEntry{
			ID: s.ID.String(), Address: end.Address, State: s.State, Stream: end.Stream, Segment: end.Segment, Tier: end.Tier,
			Pool: end.Pool, Plan: end.Plan, Campaign: end.Campaign, Queued: s.Events[0].Time, Attempts: end.Attempt, Reply: coded(end.Code, end.Reply),
		}
		d.Sender, d.Size = end.Sender, end.Size
		return d, nil
	}
	d.QueueEntry = m.entry(&store.Entry{ID: s.ID, Recipient: s.Record})
	d.State, d.Campaign, d.Sender, d.Size = s.State, s.Message.Campaign, s.Message.Sender.String(), s.Message.Size
	why := m.why(s)
	d.Why = &why
	return d, nil
}

// QueueWhy implements api.Methods.
func (m methods) QueueWhy(ctx context.Context, id string) (api.Why, error) {
	s, err := m.status(ctx, id)
	if err != nil {
		return api.Why{}, err
	}
	return m.why(s), nil
}

func (m methods) status(ctx context.Context, text string) (*queue.Status, error) {
	id, err := store.ParseID(text)
	if err != nil {
		return nil, badRequest("bad id", err)
	}
	s, err := m.queue.Why(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		return nil, notFound("no message has the id " + text)
	}
	if err == nil {
		m.redact(s.Events)
	}
	return s, err
}

func (m methods) why(s *queue.Status) api.Why {
	w := api.Why{ID: s.ID.String(), State: s.State, Code: s.Why.Code, Text: s.Why.Text, Until: s.Why.Until, Expected: s.Why.Expected, Ahead: s.Why.Ahead}
	w.Source, w.Provider, w.Site = s.Why.Source, s.Why.Provider, s.Why.Site
	if s.State == "concluded" {
		last := s.Events[len(s.Events)-1]
		w.Code, w.Text = string(last.Kind), "concluded: "+string(last.Kind)+" at "+last.Time.Format(time.RFC3339)
		w.Lane = lane(last.Stream, last.Segment, last.Tier, last.Pool)
		return w
	}
	w.Lane = lane(s.Class.Stream, s.Class.Segment, s.Class.Tier, s.Class.Pool)
	if held, until := m.breakers.heldBy(s.Record.Hold, &store.Entry{ID: s.ID, Recipient: s.Record}); held != "" {
		w.Text, w.Until = held, until
	}
	return w
}

func lane(stream, segment, tier, pool string) string {
	if segment == "" {
		segment = "-"
	}
	return stream + "/" + segment + "/" + tier + "/" + pool
}

// Events implements api.Methods.
func (m methods) Events(_ context.Context, after uint64, n int) ([]event.Event, error) {
	list, err := m.mail.Events(after, min(limit(n), 10_000))
	m.redact(list)
	return list, err
}
