// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
)

const primePool = `
[[pool]]
name = "prime"
[[pool.member]]
source = "a1"
[[tier]]
name = "active"
pool = "prime"
`

// crowd is mail to many contacts that waits for hours, a thousand recipients a message.
type crowd struct {
	w   *world
	ids []string // of messages
}

const perMessage = 1000

func (c *crowd) address(i int) string { return fmt.Sprintf("c%d@d%d.example", i, i%50) }

// id is the queued mail of the ith contact.
func (c *crowd) id(i int) string { return fmt.Sprintf("%s.%d", c.ids[i/perMessage], i%perMessage) }

func (c *crowd) submit(n int) {
	t := c.w.t
	t.Helper()
	c.ids = make([]string, n/perMessage)
	raw := strings.ReplaceAll(later(), "\n", "\r\n") + "From: Shop <news@example.com>\r\nSubject: hello\r\n\r\nbody\r\n"
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for m := part; m < len(c.ids); m += 4 {
				in := api.Message{From: "news@example.com", Raw: raw, Stream: "marketing"}
				for i := range perMessage {
					in.To = append(in.To, c.address(m*perMessage+i))
				}
				got, err := c.w.api.Submit(t.Context(), in)
				if err != nil {
					t.Error(err)
					return
				}
				c.ids[m] = got.ID
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// reached carries out a change of contacts and says how long it took until the
// queued mail of each shows it.
func (c *crowd) reached(contacts []int, change func(i int), ok func(*api.QueueDetail) bool) []time.Duration {
	c.w.t.Helper()
	var took []time.Duration
	for _, i := range contacts {
		began := time.Now()
		change(i)
		wait(c.w.t, "the news to reach the mail of "+c.address(i), func() bool {
			d, err := c.w.api.QueueShow(c.w.t.Context(), c.id(i))
			if err != nil {
				c.w.t.Fatal(err)
			}
			return ok(&d)
		})
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}

// TestRelaneOfDeepQueue suppresses and promotes contacts while mail to a
// hundred thousand waits. How long the news takes is logged; that it reads the contact's
// mail alone is asserted where it can be counted, in package queue.
func TestRelaneOfDeepQueue(t *testing.T) {
	t.Parallel()
	n := 100_000
	if raced {
		n /= 10 // the race detector looks for races, not for seconds
	}
	w := newWorld(t)
	w.more = primePool
	w.start()
	c := &crowd{w: w}
	c.submit(n)
	wait(t, "the counts", func() bool { return w.summary().Waiting == n })
	some := func(from int) (list []int) {
		for i := range 10 {
			list = append(list, from+i*(n/10))
		}
		return list
	}
	ended := func(d *api.QueueDetail) bool {
		return len(d.Events) > 0 && d.Events[len(d.Events)-1].Kind == event.Suppressed
	}
	suppressed := c.reached(some(7), func(i int) {
		if err := w.api.Suppress(t.Context(), api.Suppression{Address: c.address(i), Scope: "all", Reason: "manual"}); err != nil {
			t.Fatal(err)
		}
	}, ended)
	promoted := c.reached(some(8), func(i int) {
		rows := "email,first_sent_at,last_engaged_at\n" + c.address(i) + "," + yesterday() + "," + yesterday() + "\n"
		if _, err := w.api.ImportContacts(t.Context(), api.Import{Name: fmt.Sprint(i, ".csv")}, strings.NewReader(rows)); err != nil {
			t.Fatal(err)
		}
	}, func(d *api.QueueDetail) bool { return d.Why != nil && d.Why.Lane == "marketing/-/active/prime" })
	// Who has just got another lane is counted nowhere for a moment.
	wait(t, "all but the suppressed to be counted", func() bool { return w.summary().Waiting == n-len(suppressed) })
	for what, list := range map[string][]time.Duration{"suppression": suppressed, "promotion": promoted} {
		t.Logf("%s reaches the queued mail of a contact among %d: half within %v, all within %v", what, n, list[len(list)/2], list[len(list)-1])
	}
	w.stop()
	w.verify()
}
