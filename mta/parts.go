// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"log/slog"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/admit"
	"github.com/seguemta/segue/mta/deliver"
	"github.com/seguemta/segue/mta/smtpclient"
	"github.com/seguemta/segue/mta/submit"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/bounce"
)

// makeQueue makes delivery, admission and the queue between them.
func (e *Engine) makeQueue() error {
	router, guard, err := newRouter(e.c, &e.o)
	if err != nil {
		return err
	}
	table, err := bounceRules(e.c)
	if err != nil {
		return err
	}
	e.plan.bounces = bounce.NewClassifier(table)
	transport, err := deliver.New(deliver.Options{
		Router: router, Sources: e.plan.sources, Domains: e.plan.domains, Tokens: e.plan.secrets.tokens,
		Classifier: classifier{e.plan.bounces}, Network: guard.Network(e.o.Network), Registry: e.o.Registry, Now: e.o.Now,
		Marketing:  e.marketing(),
		NoChunking: !e.c.Delivery.Chunking, Timeouts: smtpclient.Timeouts{Connect: e.c.Delivery.ConnectTimeout.Std()},
		Logger: e.log.With(slog.String("component", "deliver")),
	})
	if err != nil {
		return err
	}
	if e.admit, err = e.newAdmitter(); err != nil {
		return err
	}
	if e.evidence, err = newEvidences(e.c, e.mail, e.time.Settled, e.log.With(slog.String("component", "evidence"))); err != nil {
		return err
	}
	if e.warm, err = newWarmups(e.c, e.mail, e.evidence); err != nil {
		return err
	}
	if e.breakers, err = newBreakers(e.c, e.mail, e.people.MemberSet, e.time.Settled, e.log.With(slog.String("component", "breaker"))); err != nil {
		return err
	}
	e.queue, err = queue.New(queue.Options{
		Store: e.mail, Transport: transport, Resolver: routes{router, classifier{e.plan.bounces}, e.o.Now}, Contacts: e.contacts, Budgets: e.warm, Gate: e.breakers,
		Sources: e.plan.defineSource, Pools: e.plan.definePool, Providers: e.plan.defineProv,
		Lane:   e.plan.lane,
		Relane: func(c store.Class, tier string) store.Class { return e.admit.Lane(c.Stream, c.Segment, tier, c.Domain) },
		Policy: func(c store.Class) queue.Policy { return e.plan.policies[c.Segment] }, ContactSpan: e.plan.contactSpan, AccountSpan: e.plan.accountSpan,
		Retry: durations(e.c.Delivery.Retry), Jitter: e.c.Delivery.Jitter,
		Schedule: schedule.Options{MaxConnections: e.c.Delivery.MaxConnections},
		Logger:   e.log.With(slog.String("component", "queue")), Registry: e.o.Registry, Now: e.o.Now, Settled: e.time.Settled,
		EventRetention: e.c.Queue.EventRetention.Std(), MaxAge: e.plan.maxAge,
		Consumed: func() uint64 {
			return min(e.contacts.consumed(), e.evidence.consumed(), e.complaints.consumed(), e.throttles.consumed(), e.breakers.consumed())
		},
	})
	if err != nil {
		return err
	}
	e.time.set = e.queue.ClockSet
	e.erasures = newErasures(e.people, e.queue, e.complaints.forget, e.log.With(slog.String("component", "contacts")))
	if e.pauses, err = newPauses(e.mail, e.queue, e.o.Now()); err != nil {
		return err
	}
	e.throttles, err = newThrottles(e.c, e.mail, e.queue, e.time.Settled, e.log.With(slog.String("component", "throttle")))
	return err
}

// newAdmitter plugs admission to the queue that is made after it.
func (e *Engine) newAdmitter() (*admit.Admitter, error) {
	return admit.New(admit.Options{
		Hostname: e.c.Hostname, Contacts: e.contacts, Queue: enqueuer{e}, Streams: e.plan.streams,
		Segments: e.plan.assignments, Tiers: e.plan.tierPools, Pool: e.c.Delivery.Pool, Domains: e.plan.signs, Ramped: e.plan.ramped, Now: e.o.Now,
		Unsubscribe: !e.c.Public.Address.IsZero(),
	})
}

// enqueuer is the queue as admission sees it.
type enqueuer struct{ e *Engine }

// Enqueue implements admit.Queue.
func (q enqueuer) Enqueue(ctx context.Context, s *queue.Submission) (uint64, error) {
	if err := q.e.optout.scopes.note(ctx, s.Message.List); err != nil {
		return 0, err
	}
	return q.e.queue.Enqueue(ctx, s)
}

func durations(list []config.Duration) []time.Duration {
	out := make([]time.Duration, len(list))
	for i, d := range list {
		out[i] = d.Std()
	}
	return out
}

// accept admits one submitted message.
func (e *Engine) accept(ctx context.Context, in *submit.Envelope) (string, error) {
	if err := e.room(); err != nil {
		return "", err
	}
	mid, err := e.admit.Admit(ctx, &admit.Envelope{
		From: in.From, To: in.To, Data: in.Data, Credential: in.Credential, Streams: in.Streams, Domains: in.Domains,
		Remote: in.RemoteAddr, Hello: in.HELO, Protocol: in.Protocol, UTF8: in.UTF8,
	})
	if err != nil {
		return "", err
	}
	return store.FormatMessage(mid), nil
}
