// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// owned are the recipients that the schedule on disk shows although somebody
// else owns them now: a connection, or a change under way. It is touched only by
// Run's goroutine, so that "in flight" means the same to the machine, to an
// operator's act and to a page that comes back from disk.
type owned struct {
	flying  map[store.ID]*waiting // value: what waits for the conclusion, or nil
	changed map[store.ID]bool
	loads   map[lane]map[store.ID]bool // what left a lane while a page of it was being read
	// heard is the sequence up to which the facts of new mail have arrived. What
	// is newer may be on disk already and belongs to its own fact, which follows.
	heard uint64
}

// waiting is an act on a recipient in flight.
type waiting struct {
	act  *act
	done func(error) // nil = nobody waits for it
}

type lane struct {
	domain string
	class  schedule.ClassID
}

func (o *owned) init() {
	o.flying = make(map[store.ID]*waiting)
	o.changed = make(map[store.ID]bool)
	o.loads = make(map[lane]map[store.ID]bool)
}

func (o *owned) depart(id store.ID) { o.flying[id] = nil }

// land takes a recipient back from its connection and returns what waited for that.
func (o *owned) land(domain string, class schedule.ClassID, id store.ID) *waiting {
	w := o.flying[id]
	delete(o.flying, id)
	o.left(domain, class, id)
	return w
}

// settled ends a change. A page of the old lane that is still being read may
// show the recipient as it was.
func (o *owned) settled(domain string, class schedule.ClassID, id store.ID) {
	delete(o.changed, id)
	o.left(domain, class, id)
}

// left notes that a recipient is no longer where a page being read may show it.
func (o *owned) left(domain string, class schedule.ClassID, id store.ID) {
	if set := o.loads[lane{domain, class}]; set != nil {
		set[id] = true
	}
}

// unheard reports whether a recipient is new mail whose own fact is still to come.
func (o *owned) unheard(r *store.Recipient) bool {
	return r.Generation == 1 && r.Sequence > o.heard
}

func (o *owned) loading(domain string, class schedule.ClassID) {
	o.loads[lane{domain, class}] = make(map[store.ID]bool)
}

// loaded gives the items of a page without what left, changed its owner or came
// since it was asked for.
func (o *owned) loaded(domain string, class schedule.ClassID, page []store.Entry) []schedule.Item {
	set := o.loads[lane{domain, class}]
	items := make([]schedule.Item, 0, len(page))
	for i := range page {
		e := &page[i]
		_, flying := o.flying[e.ID]
		if !set[e.ID] && !flying && !o.changed[e.ID] && !o.unheard(&e.Recipient) {
			items = append(items, item(e))
		}
	}
	return items
}
