// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"sync"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
)

// policy is a segment's table as the queue takes it.
func policy(s *config.Segment) queue.Policy {
	frequency := func(f config.Frequency) queue.Cap {
		return queue.Cap{Count: f.Count, Per: f.Per.Std(), Text: f.String()}
	}
	return queue.Policy{
		Window:     queue.Window{From: s.SendWindow.From, Until: s.SendWindow.Until},
		ContactCap: frequency(s.ContactCap), AccountCap: frequency(s.AccountCap),
		DropCapped: s.Capped == config.CappedDrop, CappedWait: s.CappedWait.Std(), OnLeave: queue.Leaving(s.OnLeave),
	}
}

// zones turns names of time zones into zones, each once: loading one reads a file.
// What no zone is called is the zone that budgets live in.
type zones struct {
	known  *sync.Map // name to *time.Location
	budget *time.Location
}

func newZones(budget *time.Location) zones { return zones{known: &sync.Map{}, budget: budget} }

func (z zones) of(name string) *time.Location {
	if name == "" || name == "Local" {
		return z.budget
	}
	if zone, ok := z.known.Load(name); ok {
		if l, ok := zone.(*time.Location); ok {
			return l
		}
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return z.budget
	}
	z.known.Store(name, zone)
	return zone
}

// Person implements queue.Contacts.
func (c *contacts) Person(e *store.Entry) (queue.Person, error) {
	p, err := c.db.Person(e.Contact, e.Address)
	return queue.Person{Zone: c.zones.of(p.Zone), Accounts: p.Accounts}, err
}

// Standing implements queue.Contacts.
func (c *contacts) Standing(e *store.Entry, class store.Class, m *store.Message) (queue.Standing, error) {
	v, err := c.db.Look(e.Address, mailOf(class, m), c.settled())
	if err != nil {
		return queue.Standing{}, err
	}
	var s queue.Standing
	for _, x := range v.Segments {
		s.Segments = append(s.Segments, x.Name)
	}
	if len(v.Segments) > 0 {
		s.Version = v.Segments[0].Version
	}
	s.Class = c.lane(class.Stream, v.First, v.Tier, class.Domain)
	return s, nil
}
