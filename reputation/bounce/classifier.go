// SPDX-License-Identifier: Apache-2.0

package bounce

import (
	"sync"
	"sync/atomic"

	"github.com/seguemta/segue/mta/rfc5321"
)

// maxCached is how many replies each of the two generations of the cache holds.
const maxCached = 4096

// Classifier is a [Table] that can be replaced while it is used, with the latest
// replies and what they mean in front: providers say the same few things all day.
type Classifier struct {
	current atomic.Pointer[cached]
}

// cached is a table and what it said. Replacing the table drops both.
type cached struct {
	table      *Table
	mu         sync.Mutex
	young, old map[said]Result
}

// said is a reply and who gave it.
type said struct {
	provider string
	code     int
	enhanced rfc5321.EnhancedCode
	text     string
}

// NewClassifier begins with a table.
func NewClassifier(t *Table) *Classifier {
	c := &Classifier{}
	c.Replace(t)
	return c
}

// Replace puts another table in place, for all replies that are asked about from
// now on.
func (c *Classifier) Replace(t *Table) {
	c.current.Store(&cached{table: t, young: make(map[said]Result)})
}

// Classify is [Table.Classify].
func (c *Classifier) Classify(provider string, r rfc5321.Reply) Result {
	cur := c.current.Load()
	if len(r.Text) > maxText {
		return cur.table.Classify(provider, r) // rare, and would make the cache large
	}
	key := said{provider, r.Code, r.Enhanced, r.Text}
	if res, ok := cur.get(key); ok {
		return res
	}
	res := cur.table.Classify(provider, r)
	cur.put(key, res)
	return res
}

func (c *cached) get(key said) (Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if res, ok := c.young[key]; ok {
		return res, true
	}
	res, ok := c.old[key]
	return res, ok
}

// put remembers a reply. A full generation becomes the old one, so that what is
// asked about stays for at least maxCached others.
func (c *cached) put(key said, res Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= maxCached {
		c.old, c.young = c.young, make(map[said]Result)
	}
	c.young[key] = res
}
