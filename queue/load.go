// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"log/slog"
	"time"

	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// maxLookups is how many domains are looked up at a time: a restart with a
// million domains must not start a million lookups.
const maxLookups = 256

// startLoad begins to read a page of a lane's schedule.
func (q *Queue) startLoad(l schedule.Load) {
	q.owned.loading(l.Domain, l.Class)
	q.wg.Go(func() { q.load(l) })
}

// load reads a page, again and again where the disk fails: a lane whose page
// never comes would wait for good.
func (q *Queue) load(l schedule.Load) {
	for {
		list, more, err := q.store.Schedule(l.Domain, store.ClassID(l.Class), store.Position{Due: l.After.Due, ID: store.ID(l.After.ID)}, l.Limit)
		if err == nil {
			q.mail.act(func(now time.Time) { q.loaded(now, l, list, more) })
			return
		}
		q.log.Error("reading the schedule failed, trying again", slog.Any("error", err))
		if wait(q.soft, lagWait) != nil {
			return
		}
	}
}

// loaded hands a page to the machine. A page of which nothing is left says
// nothing about what is behind it: the next one is read instead.
func (q *Queue) loaded(now time.Time, l schedule.Load, list []store.Entry, more bool) {
	items := q.owned.loaded(l.Domain, l.Class, list)
	if len(items) == 0 && more && len(list) > 0 {
		if q.soft.Err() == nil {
			last := &list[len(list)-1]
			l.After = schedule.Position{Due: last.Due, ID: schedule.ID(last.ID)}
			q.wg.Go(func() { q.load(l) })
		}
		return
	}
	delete(q.owned.loads, lane{l.Domain, l.Class})
	q.machine.Step(now, schedule.Loaded{Domain: l.Domain, Class: l.Class, Items: items, More: more})
}

func item(e *store.Entry) schedule.Item {
	return schedule.Item{
		ID: schedule.ID(e.ID), Due: e.Due, Queued: e.Queued, Expires: e.Expires,
		Pin: e.Pin, PinUntil: e.PinUntil, Attempts: e.Attempts,
		Charged: schedule.Charge{Source: e.Charged, Day: schedule.Day(e.ChargeDay)},
	}
}

// lookup asks where a domain's mail goes, now or when another lookup ends.
func (q *Queue) lookup(domain string) {
	q.lookups = append(q.lookups, domain)
	q.startLookups()
}

func (q *Queue) startLookups() {
	for q.looking < maxLookups && len(q.lookups) > 0 && q.soft.Err() == nil {
		domain := q.lookups[0]
		q.lookups = q.lookups[1:]
		q.looking++
		q.wg.Go(func() { q.resolve(domain) })
	}
}

func (q *Queue) resolve(domain string) {
	route := q.o.Resolver.Resolve(q.soft, domain)
	q.mail.act(func(now time.Time) {
		q.looking--
		q.startLookups()
		q.routes.set(now, domain, route)
		q.step(now, schedule.Resolved{
			Domain: domain, Site: route.Site, Provider: route.Provider, Permanent: route.Permanent, Until: route.Until, Failure: route.Failure,
		})
	})
}

// routes remembers, until the answer ends, why a domain takes no mail: the
// machine does not need to know. It is touched only by Run's goroutine.
type routes struct {
	m     map[string]Route
	sweep int // size at which answers that have ended are forgotten
}

func (r *routes) init() {
	r.m = make(map[string]Route)
	r.sweep = 1000
}

func (r *routes) set(now time.Time, domain string, route Route) {
	if !route.Permanent {
		delete(r.m, domain)
		return
	}
	r.m[domain] = route
	if len(r.m) < r.sweep {
		return
	}
	for name, old := range r.m {
		if old.Until.Before(now) {
			delete(r.m, name)
		}
	}
	r.sweep = max(1000, 2*len(r.m))
}

// get is the route of a domain that takes no mail.
func (r *routes) get(domain string) Route {
	route, ok := r.m[domain]
	if !ok {
		route.Reply.Text = "the domain takes no mail"
	}
	return route
}
