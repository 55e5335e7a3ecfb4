// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"strings"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/throttle"
)

// lastReplies tells the replies of one transaction of the log: one that it ended with for many
// recipients says something once. What the queue writes of it has one time.
type lastReplies struct {
	message uint64
	time    time.Time
	source  string
	site    string
	replies map[reply]bool
}

type reply struct {
	code           int
	enhanced, text string
}

// repeats reports whether an event brings a reply that another recipient of its
// transaction brought before.
func (t *lastReplies) repeats(e *event.Event) bool {
	if e.Message != t.message || !e.Time.Equal(t.time) || e.Source != t.source || e.Site != t.site {
		*t = lastReplies{message: e.Message, time: e.Time, source: e.Source, site: e.Site}
	}
	if e.Kind == event.Delivered {
		return false
	}
	r := reply{e.Code, e.Enhanced, nameless(e.Reply, e.Address)}
	if t.replies[r] {
		return true
	}
	if t.replies == nil {
		t.replies = make(map[reply]bool)
	}
	t.replies[r] = true
	return false
}

// resume takes the transaction that an event belongs to, up to it: a page may end between two
// recipients.
func (t *lastReplies) resume(mail *store.Store, sequence uint64) error {
	*t = lastReplies{}
	if sequence == 0 {
		return nil
	}
	list, err := mail.Events(sequence-1, 1)
	if err != nil || len(list) == 0 || list[0].Message == 0 {
		return err
	}
	if list, err = mail.Timeline(list[0].Message); err != nil {
		return err
	}
	for i := range list {
		if _, ok := throttle.From(&list[i]); ok && list[i].Sequence <= sequence {
			t.repeats(&list[i])
		}
	}
	return nil
}

// nameless takes the recipient's address out of what a server said. Acts quote replies and are
// about no recipient: an erasure would not find them. And what differs in nothing else was
// said once.
func nameless(text, address string) string {
	low, name := strings.ToLower(text), strings.ToLower(address)
	if name == "" || !strings.Contains(low, name) {
		return text
	}
	if len(low) != len(text) || len(name) != len(address) {
		return strings.ReplaceAll(text, address, "...") // not ASCII: places in the two differ
	}
	var b strings.Builder
	for {
		i := strings.Index(low, name)
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i] + "...")
		text, low = text[i+len(name):], low[i+len(name):]
	}
}
