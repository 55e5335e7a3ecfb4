// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

// cohorts is a gate: who is held under which name, and who goes for which trials.
type cohorts struct {
	mu     sync.Mutex
	held   map[string]string   // by local part
	trials map[string][]string // likewise
	all    string              // everybody else is held under it; "" = nobody
	asked  int
}

func newCohorts() *cohorts {
	return &cohorts{held: map[string]string{}, trials: map[string][]string{}}
}

func (c *cohorts) Ask(e *store.Entry, _ store.Class, _ *store.Message) Passage {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	hold := c.held[e.Address.Local]
	if hold == "" {
		hold = c.all
	}
	if hold != "" {
		return Passage{Hold: hold, Why: hold + " bounces; release: segue segment release"}
	}
	return Passage{Go: true, Sample: c.trials[e.Address.Local]}
}

func (c *cohorts) set(f func(*cohorts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// gated runs a queue with a gate in a bubble.
func gated(t *testing.T, change func(*Options), f func(w *world, r *running, c *cohorts)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, c := newWorld(), newCohorts()
		w.caps = dayCap(100_000)
		r := startWith(t, vfs.NewMem(), w, func(o *Options) {
			o.Gate = c
			o.Retry = []time.Duration{time.Minute}
			if change != nil {
				change(o)
			}
		})
		f(w, r, c)
		r.verify()
		r.stop()
	})
}

// release lets go whatever is under a hold.
func (r *running) release(hold string, want int) {
	r.t.Helper()
	if n, err := r.ReleaseHold(context.Background(), hold, nil); n != want || err != nil {
		r.t.Errorf("%d released of %s, %v; want %d", n, hold, err, want)
	}
}

// TestCanaryParksWhoDoesNotGo: mail that the gate holds makes no attempt, costs no
// budget, says why, and goes when its cohort is let go; transactional mail goes at once.
func TestCanaryParksWhoDoesNotGo(t *testing.T) {
	t.Parallel()
	gated(t, nil, func(w *world, r *running, c *cohorts) {
		c.set(func(c *cohorts) { c.all = "segment:trial" })
		c.set(func(c *cohorts) { c.held["bob"] = "batch:fair" })
		ann, bob := r.send("ann"), r.send("bob")
		eve := r.enqueue(r.transactional("eve"))
		r.until(2)
		synctest.Wait()
		if w.received[store.ID{Message: eve}] != 1 {
			t.Error("transactional mail was not sent")
		}
		if n := r.Total(); n != (Count{Held: 2}) {
			t.Errorf("%+v", n)
		}
		s, err := r.Why(context.Background(), ann)
		if err != nil || s.State != "held" || s.Why.Text != "held under segment:trial: segment:trial bounces; release: segue segment release" {
			t.Errorf("%+v, %v", s, err)
		}
		if e := r.last(bob); e.Kind != event.Held || !strings.HasPrefix(e.Reason, "batch:fair bounces") || e.Attempt != 0 {
			t.Errorf("%+v", e)
		}
		for _, b := range r.BudgetsToday() {
			if b.Used != 1 {
				t.Errorf("%d of the budget are used, by one that was sent", b.Used)
			}
		}
		c.set(func(c *cohorts) { c.all = "" })
		due := r.record(ann).Due
		r.Pause("a1", "", w.clock.now().Add(time.Hour))
		time.Sleep(time.Minute)
		r.release("segment:trial", 1)
		r.release("segment:trial", 0)
		if x := r.record(ann); x.Hold != "" || !x.Due.Equal(due) {
			t.Errorf("held under %q, due at %v; it was due at %v", x.Hold, x.Due, due)
		}
		r.until(1)
		if k := r.kinds(ann); k != "accepted held released delivered " {
			t.Errorf("%s", k)
		}
		if n := r.Total(); n != (Count{Held: 1}) || w.received[bob] != 0 {
			t.Errorf("of the other cohort: %+v", n)
		}
	})
}

// TestCanaryReleasesWhomItIsTold: only those that the caller's question allows.
func TestCanaryReleasesWhomItIsTold(t *testing.T) {
	t.Parallel()
	gated(t, nil, func(_ *world, r *running, c *cohorts) {
		c.set(func(c *cohorts) { c.all = "segment:trial" })
		var ids []store.ID
		for i := range page + 7 {
			ids = append(ids, r.send(name(i)))
		}
		r.until(len(ids))
		synctest.Wait()
		c.set(func(c *cohorts) { c.all = "" })
		n, err := r.ReleaseHold(context.Background(), "segment:trial", func(e *store.Entry, class store.Class) bool {
			return class.Tier == "active" && e.ID.Message%2 == 0
		})
		if err != nil || n != len(ids)/2 && n != len(ids)/2+1 {
			t.Errorf("%d of %d, %v", n, len(ids), err)
		}
		r.until(len(ids) - n)
		r.release("segment:trial", len(ids)-n)
		r.until(0)
	})
}

// TestCanarySampleIsKept: for which trials mail was let go is told once, before it
// is sent, is in every later event, in the record of a retry and in the sent index.
func TestCanarySampleIsKept(t *testing.T) {
	t.Parallel()
	for _, caps := range []bool{false, true} {
		change := func(o *Options) {
			if caps {
				o.ContactSpan = time.Hour
				o.Policy = func(store.Class) Policy { return capped(1) }
			}
		}
		gated(t, change, func(w *world, r *running, c *cohorts) {
			c.set(func(c *cohorts) { c.trials["ann"] = []string{"segment:trial#1", "batch:fair#1"} })
			durable := make(chan []string, 9)
			w.mail = func(job *Job) {
				x, err := r.st.Recipient(job.Recipients[0].ID)
				if err != nil {
					t.Error(err)
				}
				durable <- x.Sample
			}
			tries := 0
			w.answer = func(*store.Entry) Outcome {
				if tries++; tries < 3 {
					return deferred("later")
				}
				return Outcome{Kind: Delivered}
			}
			id := r.send("ann")
			synctest.Wait()
			if got := <-durable; !slices.Equal(got, c.trials["ann"]) {
				t.Errorf("while MAIL is sent: %q", got)
			}
			time.Sleep(90 * time.Second)
			c.set(func(c *cohorts) { c.trials["ann"] = []string{"segment:trial#2"} })
			r.until(0)
			var told []string
			list, err := r.st.Timeline(id.Message)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				told = append(told, string(e.Kind)+" "+strings.Join(e.Sample, ","))
			}
			want := []string{
				"accepted ", "sampled segment:trial#1,batch:fair#1", "deferred segment:trial#1,batch:fair#1", "deferred segment:trial#1,batch:fair#1",
				"sampled segment:trial#2", "delivered segment:trial#1,batch:fair#1,segment:trial#2",
			}
			if !reflect.DeepEqual(told, want) {
				t.Errorf("%q\nwant %q", told, want)
			}
			sent, err := r.st.SentRecord(id)
			if err != nil || !slices.Equal(sent.Sample, []string{"segment:trial#1", "batch:fair#1", "segment:trial#2"}) {
				t.Errorf("sent index: %+v, %v", sent, err)
			}
		})
	}
}

// TestCanaryOfParkedMailEnds: it expires, is suppressed and is dropped as every
// other mail; released by hand, it asks again.
func TestCanaryOfParkedMailEnds(t *testing.T) {
	t.Parallel()
	gated(t, nil, func(w *world, r *running, c *cohorts) {
		c.set(func(c *cohorts) { c.all = "segment:trial" })
		ids := map[string]store.ID{}
		for _, who := range []string{"expires", "suppressed", "dropped", "released"} {
			s := r.message(who, "active")
			s.Recipients[0].Expires = w.clock.now().Add(10 * time.Minute)
			ids[who] = store.ID{Message: r.enqueue(s)}
		}
		r.until(4)
		synctest.Wait()
		w.mu.Lock()
		w.suppressed["suppressed"] = "complaint (all)"
		w.mu.Unlock()
		if err := r.Recheck(context.Background(), r.record(ids["suppressed"]).Address); err != nil {
			t.Error(err)
		}
		for who, o := range map[string]Order{"dropped": Dropping("by hand"), "released": Releasing()} {
			if err := r.Do(context.Background(), ids[who], o); err != nil {
				t.Error(err)
			}
		}
		r.until(2)
		synctest.Wait() // what waits again has been asked about
		if k := r.kinds(ids["released"]); k != "accepted held released held " {
			t.Errorf("released by hand: %s", k)
		}
		time.Sleep(15 * time.Minute)
		r.until(0)
		for who, want := range map[string]string{
			"expires": "accepted held expired ", "suppressed": "accepted held suppressed ", "dropped": "accepted held dropped ",
			"released": "accepted held released held expired ",
		} {
			if k := r.kinds(ids[who]); k != want {
				t.Errorf("%s: %s", who, k)
			}
		}
		if len(w.received) != 0 {
			t.Errorf("%d were received", len(w.received))
		}
	})
}

// Goes implements Gate.
func (*cohorts) Goes(*store.Entry, []string) {}
