// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"

	"github.com/seguemta/segue/queue"
)

// lookUp reads the contact of each recipient: tier, segments, suppression.
func (a *Admitter) lookUp(d *draft) error {
	if d.asked.segment != "" {
		if _, ok := a.o.Segments[d.asked.segment]; !ok {
			return refuse(fmt.Sprintf("X-Segue-Segment names the unknown segment %.40q", d.asked.segment))
		}
	}
	d.contacts = make([]Contact, len(d.to))
	for i, to := range d.to {
		c, err := a.o.Contacts.Look(to, Mail{Stream: d.stream, Domain: d.domain, List: d.asked.list}, d.now)
		if err != nil {
			return fmt.Errorf("looking up a contact: %w", err)
		}
		d.contacts[i] = c
	}
	return nil
}

// chooseLane turns each contact into a recipient with its lane and its times.
func (a *Admitter) chooseLane(d *draft) error {
	expires := d.now.Add(d.class.MaxAge)
	if !d.asked.expires.IsZero() && d.asked.expires.Before(expires) {
		expires = d.asked.expires
	}
	if !expires.After(d.now) || (!d.asked.notBefore.IsZero() && !d.asked.notBefore.Before(expires)) {
		return refuse("the message expires before it may be sent")
	}
	d.recipients = make([]queue.Recipient, len(d.to))
	for i, to := range d.to {
		c := &d.contacts[i]
		r := queue.Recipient{Address: to, Contact: c.ID, Batch: c.Batch, Due: d.asked.notBefore, Expires: expires, Suppressed: c.Suppressed}
		var lead Segment
		for n, s := range c.Segments {
			r.Segments = append(r.Segments, s.Name)
			if n == 0 {
				lead = s
			}
		}
		if d.asked.segment != "" {
			if s, ok := member(c.Segments, d.asked.segment); ok {
				lead = s
			} else {
				r.Ignored = d.asked.segment
			}
		}
		r.Version = lead.Version
		r.Class = a.Lane(d.stream, lead.Name, c.Tier, d.domain)
		if !d.class.Transactional {
			a.o.Segments[lead.Name].obey(&r, c, d.now)
		}
		d.recipients[i] = r
	}
	return nil
}

func member(list []Segment, name string) (Segment, bool) {
	for _, s := range list {
		if s.Name == name {
			return s, true
		}
	}
	return Segment{}, false
}
