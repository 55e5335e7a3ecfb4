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
	flying  map[store.ID]*act // value: what waits for the conclusion
	changed map[store.ID]bool
	loads   map[lane]map[store.ID]bool // what left a lane while a page of it was being read
}

type lane struct {
	domain string
	class  schedule.ClassID
}

func (o *owned) init() {
	o.flying = make(map[store.ID]*act)
	o.changed = make(map[store.ID]bool)
	o.loads = make(map[lane]map[store.ID]bool)
}

func (o *owned) depart(id store.ID) { o.flying[id] = nil }

// land takes a recipient back from its connection and returns what waited for that.
func (o *owned) land(domain string, class schedule.ClassID, id store.ID) *act {
	a := o.flying[id]
	delete(o.flying, id)
	o.left(domain, class, id)
	return a
}

// left notes that a recipient is no longer where a page being read may show it.
func (o *owned) left(domain string, class schedule.ClassID, id store.ID) {
	if set := o.loads[lane{domain, class}]; set != nil {
		set[id] = true
	}
}

func (o *owned) loading(domain string, class schedule.ClassID) {
	o.loads[lane{domain, class}] = make(map[store.ID]bool)
}

// loaded takes out of a page what left or changed its owner since it was asked for.
func (o *owned) loaded(domain string, class schedule.ClassID, items []schedule.Item) []schedule.Item {
	key := lane{domain, class}
	set := o.loads[key]
	delete(o.loads, key)
	kept := items[:0]
	for _, it := range items {
		id := store.ID(it.ID)
		_, flying := o.flying[id]
		if !set[id] && !flying && !o.changed[id] {
			kept = append(kept, it)
		}
	}
	return kept
}
