// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

// observer is the metrics' view of the event log: what has happened since the
// start. It keeps no cursor, because counters start at zero with the process.
type observer struct {
	mail *store.Store
	log  *slog.Logger

	recipients *prometheus.CounterVec
	segments   *prometheus.CounterVec
	overdraft  *prometheus.CounterVec
	acts       *prometheus.CounterVec
}

func newObserver(mail *store.Store, log *slog.Logger, reg prometheus.Registerer) *observer {
	o := &observer{
		mail: mail, log: log,
		recipients: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_recipients_total",
			Help: "Recipients by what happened to them. deferred counts attempts, everything else each recipient once.",
		}, []string{"result", "stream", "provider"}), // result: the kind of the event
		segments: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_segment_recipients_total",
			Help: "Recipients by the segment and tier they had when they were admitted.",
		}, []string{"result", "segment", "tier"}),
		overdraft: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_overdraft_total",
			Help: "Transactional transactions sent without a warm-up budget: the pool has no warm source.",
		}, []string{"source", "provider"}),
		acts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_acts_total",
			Help: "What the engine did by itself, and operators in the same matters: segue health acts shows evidence and undo.",
		}, []string{"kind", "act"}),
	}
	reg.MustRegister(o.recipients, o.segments, o.overdraft, o.acts)
	return o
}

// follow counts durable events until ctx ends.
func (o *observer) follow(ctx context.Context) {
	at, changed := o.mail.Durable()
	for {
		list, err := o.mail.Events(at, eventPage)
		if err != nil {
			o.log.Error("reading events for metrics failed", slog.Any("error", err))
			pause(ctx, time.Second)
		}
		for i := range list {
			o.count(&list[i])
			at = list[i].Sequence
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		_, changed = o.mail.Durable()
	}
}

func (o *observer) count(e *event.Event) {
	if e.Act != "" {
		o.acts.WithLabelValues(string(e.Kind), e.Act).Inc()
	}
	switch e.Kind {
	case event.Overdraft:
		o.overdraft.WithLabelValues(e.Source, other(e.Provider)).Inc()
		return
	case event.SuppressAdded, event.SuppressLift, event.StageAdvanced, event.SegmentIgnored, event.ClockFrozen, event.ClockSettled,
		event.StageBack, event.StageHeld, event.StageReleased, event.OutageBegan, event.OutageEnded, event.SuppressUndone, event.Throttled, event.Breaker,
		event.CaseOpened, event.CaseOverdue, event.CaseClosed:
		return
	default: // something that happened to a recipient
	}
	o.recipients.WithLabelValues(string(e.Kind), e.Stream, other(e.Provider)).Inc()
	o.segments.WithLabelValues(string(e.Kind), e.Segment, e.Tier).Inc()
}

func other(provider string) string {
	if provider == "" {
		return "other"
	}
	return provider
}

// stages shows where each warm-up stands; it is computed when it is read.
type stages struct {
	e    *Engine
	desc *prometheus.Desc
}

func newStages(e *Engine) *stages {
	return &stages{e: e, desc: prometheus.NewDesc("segue_stage",
		"Warm-up stage of a source at a provider, from 1. It falls, or does not rise for days: look at segue warmup show.",
		[]string{"source", "provider"}, nil)}
}

// Describe implements prometheus.Collector.
func (s *stages) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

// Collect implements prometheus.Collector.
func (s *stages) Collect(ch chan<- prometheus.Metric) {
	for _, b := range s.e.queue.BudgetsToday() {
		if b.Key.Source != "" {
			ch <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, float64(s.e.warm.stage(b.Key)), b.Key.Source, b.Key.Provider)
		}
	}
}
