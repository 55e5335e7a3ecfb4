// SPDX-License-Identifier: Apache-2.0

package schedule

import "slices"

// pages are the Loads of a chaos: each is read from the disk a while after it was
// asked for and told a while after that, as the driver does it.
type pages struct {
	reading []*reading
	changed map[ID]bool // who is on disk and about to be told
}

type reading struct {
	load Load
	read bool
	page Loaded
	left map[ID]bool // since it was asked for
}

func (c *chaos) ask(l Load) { c.reading = append(c.reading, &reading{load: l, left: map[ID]bool{}}) }

// leave notes who is no longer where a page shows it.
func (c *chaos) leave(k backlogKey, id ID) {
	for _, r := range c.reading {
		if k == (backlogKey{r.load.Domain, r.load.Class}) {
			r.left[id] = true
		}
	}
}

// turnPage brings a random page one step further.
func (c *chaos) turnPage() {
	if len(c.reading) == 0 {
		return
	}
	i := c.r.IntN(len(c.reading))
	r := c.reading[i]
	if !r.read {
		r.page, r.read = c.page(r.load), true
		return
	}
	all := r.page.Items
	items := slices.DeleteFunc(slices.Clone(all), func(it Item) bool { return r.left[it.ID] || c.flying[it.ID] || c.changed[it.ID] })
	if len(items) == 0 && r.page.More {
		r.load.After, r.read = position(&all[len(all)-1]), false
		return
	}
	c.reading = slices.Delete(c.reading, i, i+1)
	r.page.Items = items
	c.step(r.page)
}

// checkWindows holds the windows against the disk: whoever waits is in memory, or
// stands behind the end of what was read and is not due before the time of which the
// machine knows. Backlogs of which a page is being read are not looked at.
func (c *chaos) checkWindows() {
	for k, list := range c.disk {
		b := c.m.backlogs[k]
		if b != nil && b.loading {
			continue
		}
		behind := 0
		for i := range list {
			it := &list[i]
			if c.changed[it.ID] || c.m.flights[it.ID] != nil || b != nil && b.knows(it.ID) {
				continue
			}
			behind++
			if b == nil || b.complete || !b.last.before(position(it)) || it.Due.Before(b.next) {
				c.t.Fatalf("%v waits in %v and nobody will read it: %+v", it, k, b)
			}
		}
		if b != nil && b.rest() < behind {
			c.t.Fatalf("%v: %d wait on disk, the machine thinks %d", k, behind, b.rest())
		}
		if b != nil && !b.complete && b.main.len() > 0 && b.last.before(position(b.main.at(b.main.len()-1))) {
			c.t.Fatalf("%v: the window goes on behind what was read", k)
		}
	}
}
