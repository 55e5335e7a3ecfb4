// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"time"

	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// heldAt are the classes that wait at a provider. It is touched only by Run's
// goroutine.
type heldAt struct {
	holds   func(store.Class) bool
	classes map[store.ClassID]bool // that wait, of those known
}

// Limit sets what holds for a source at a provider until the next Limit of the
// pair. The queue does not store it: whoever knows the limits gives them before
// Run, and nothing leaves before they are in force.
func (q *Queue) Limit(l schedule.Limit) { q.mail.fact(l) }

// HoldAt makes the mail of some classes wait at a provider ("" or [schedule.Other] =
// the sites that belong to none), from every source: those that holds reports, classes
// that come later included, and no others that an earlier call named. nil = none. Mail
// of transactional classes never waits for it. holds is called by the queue's own
// goroutine, once per class: it must be quick and always answer the same. Like a
// Limit it is not stored and may be given before Run.
func (q *Queue) HoldAt(provider string, holds func(store.Class) bool) {
	if provider == "" {
		provider = schedule.Other // and not all of them
	}
	q.mail.act(func(now time.Time) {
		h := q.held[provider]
		if h == nil {
			h = &heldAt{classes: make(map[store.ClassID]bool)}
			q.held[provider] = h
		}
		h.holds = holds
		for id := range q.known {
			q.holdAt(now, provider, h, id)
		}
		if holds == nil {
			delete(q.held, provider)
		}
	})
}

// holdAt makes a class wait at a provider, or lets it go.
func (q *Queue) holdAt(now time.Time, provider string, h *heldAt, id store.ClassID) {
	holds := h.holds != nil && h.holds(q.store.Class(id))
	switch {
	case holds == h.classes[id]:
		return
	case holds:
		h.classes[id] = true
	default:
		delete(h.classes, id)
	}
	q.machine.Step(now, schedule.Hold{Class: schedule.ClassID(id), Provider: provider, Off: !holds})
}
