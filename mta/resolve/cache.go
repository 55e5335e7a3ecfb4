// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// key names a question; name is canonical.
type key struct {
	name  string
	qtype uint16
}

// entry is an answer or the lack of one. Records are shared: read only.
type entry struct {
	meta    Meta
	records []dns.RR
	err     *Error
}

// cache keeps the answers used last. Its size is bounded in entries.
type cache struct {
	mu    sync.Mutex
	size  int
	items map[key]*list.Element
	order *list.List // used last in front
}

type item struct {
	key   key
	entry entry
}

func newCache(size int) *cache {
	return &cache{size: size, items: map[key]*list.Element{}, order: list.New()}
}

func (c *cache) get(k key, now time.Time) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.items[k]
	if !ok {
		return entry{}, false
	}
	it := el.Value.(*item)
	// None lives longer than maxTTL: what would was answered before the clock was set back.
	if end := it.entry.meta.Until; !now.Before(end) || end.After(now.Add(maxTTL)) {
		c.order.Remove(el)
		delete(c.items, k)
		return entry{}, false
	}
	c.order.MoveToFront(el)
	return it.entry, true
}

func (c *cache) put(k key, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.items[k]; ok {
		el.Value.(*item).entry = e
		c.order.MoveToFront(el)
		return
	}
	c.items[k] = c.order.PushFront(&item{k, e})
	for len(c.items) > c.size {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.items, last.Value.(*item).key)
	}
}

// flights lets equal questions wait for one query.
type flights struct {
	mu    sync.Mutex
	calls map[key]*call
}

type call struct {
	done  chan struct{}
	entry entry
	err   error // of the leader's context
}

// do runs ask once for all who come while it runs. The one who came first asks
// with its own context; when that ends early, the next in line asks.
func (f *flights) do(ctx context.Context, k key, ask func() (entry, error)) (entry, error) {
	for {
		f.mu.Lock()
		if f.calls == nil {
			f.calls = map[key]*call{}
		}
		running, ok := f.calls[k]
		if !ok {
			mine := &call{done: make(chan struct{})}
			f.calls[k] = mine
			f.mu.Unlock()
			mine.entry, mine.err = ask()
			f.mu.Lock()
			delete(f.calls, k)
			f.mu.Unlock()
			close(mine.done)
			return mine.entry, mine.err
		}
		f.mu.Unlock()
		select {
		case <-running.done:
			if running.err == nil {
				return running.entry, nil
			}
		case <-ctx.Done():
			return entry{}, context.Cause(ctx)
		}
	}
}
