// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/queue/store"
)

// asking is a gate that calls hook after each answer, with the number of the question.
type asking struct {
	*cohorts
	hook func(n int)
}

func (a asking) Ask(e *store.Entry, class store.Class, m *store.Message) Passage {
	p := a.cohorts.Ask(e, class, m)
	if a.hook != nil {
		a.mu.Lock()
		n := a.asked
		a.mu.Unlock()
		a.hook(n)
	}
	return p
}

// TestCanaryReleaseMissesNobody: a cohort is let go, and its hold walked through, after
// the connection has asked and before the committer does; or while the committer
// parks. The first question is the connection's, the second the committer's.
func TestCanaryReleaseMissesNobody(t *testing.T) {
	t.Parallel()
	for question := 1; question <= 2; question++ {
		synctest.Test(t, func(t *testing.T) {
			w, c := newWorld(), newCohorts()
			c.all = "segment:trial"
			var r *running
			walked := make(chan int, 1)
			gate := asking{c, func(n int) {
				if n != question {
					return
				}
				c.set(func(c *cohorts) { c.all = "" })
				go func() {
					n, err := r.ReleaseHold(context.Background(), "segment:trial", nil)
					if err != nil {
						t.Error(err)
					}
					walked <- n
				}()
				synctest.Wait() // it has walked, or waits for the committer
			}}
			r = startWith(t, vfs.NewMem(), w, func(o *Options) { o.Gate = gate })
			id := r.send("ann")
			if n := <-walked; n != question-1 {
				t.Errorf("question %d: %d released", question, n)
			}
			r.until(0)
			want := []string{"", "accepted delivered ", "accepted held released delivered "}[question]
			if k := r.kinds(id); k != want {
				t.Errorf("question %d: %s", question, k)
			}
			r.verify()
			r.stop()
		})
	}
}

// TestCanaryReleaseRaces: cohorts are held and let go, each time with one walk,
// while their mail leaves; in the end nobody is left, and nobody got mail twice.
func TestCanaryReleaseRaces(t *testing.T) {
	t.Parallel()
	parked := 0
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			roll := dice(rng)
			w, c := newWorld(), newCohorts()
			w.pause = func(context.Context) { time.Sleep(time.Duration(roll(30)) * time.Millisecond) }
			w.answer = func(*store.Entry) Outcome {
				if roll(4) == 0 {
					return deferred("later")
				}
				return Outcome{Kind: Delivered}
			}
			r := startWith(t, vfs.NewMem(), w, func(o *Options) {
				o.Gate, o.Retry = c, []time.Duration{20 * time.Millisecond}
			})
			const n = 120
			for i := range n {
				r.send(name(i))
				if i%10 != 0 {
					continue
				}
				hold := "segment:" + name(roll(2))
				c.set(func(c *cohorts) { c.all = hold })
				if roll(2) == 0 {
					if _, err := r.AskAll(context.Background(), nil); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Duration(roll(40)) * time.Millisecond)
				parked += r.Total().Held
				c.set(func(c *cohorts) { c.all = "" })
				if _, err := r.ReleaseHold(context.Background(), hold, nil); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(time.Minute)
			r.until(0)
			if len(w.received) != n {
				t.Errorf("seed %d: %d of %d were received, %+v", seed, len(w.received), n, r.Total())
			}
			for id, times := range w.received {
				if times != 1 {
					t.Errorf("seed %d: %s was received %d times", seed, id, times)
				}
			}
			r.verify()
			r.stop()
		})
	}
	if parked == 0 {
		t.Error("nothing was ever parked: the test sees nothing")
	}
}

// TestCanaryInFlight: what is in flight when its cohort is held goes on; its retry
// is asked. An operator's act that waits for it is not put aside by a release.
func TestCanaryInFlight(t *testing.T) {
	t.Parallel()
	gated(t, nil, func(w *world, r *running, c *cohorts) {
		answer := make(chan struct{})
		w.pause = func(context.Context) { <-answer }
		w.answer = func(*store.Entry) Outcome { return deferred("later") }
		ann, bob := r.send("ann"), r.send("bob")
		synctest.Wait()
		c.set(func(c *cohorts) { c.all = "segment:trial" })
		if n, err := r.AskAll(context.Background(), nil); n != 0 || err != nil {
			t.Errorf("%d in flight were parked, %v", n, err)
		}
		if n, err := r.DoAll(context.Background(), []store.ID{bob}, Holding("review")); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		r.release("segment:trial", 0)
		close(answer)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if k := r.kinds(ann); k != "accepted deferred held " || r.record(ann).Hold != "segment:trial" {
			t.Errorf("%s, under %q", k, r.record(ann).Hold)
		}
		r.release("segment:trial", 1)
		if k := r.kinds(bob); k != "accepted deferred held " || r.record(bob).Hold != "review" {
			t.Errorf("%s, under %q", k, r.record(bob).Hold)
		}
	})
}

// TestCanaryReleaseIsForItsHold: who is under another hold or under none, and who is about to
// land in it, is left alone; an act that waits for a conclusion stays.
func TestCanaryReleaseIsForItsHold(t *testing.T) {
	t.Parallel()
	gated(t, nil, func(w *world, r *running, c *cohorts) {
		r.Pause("a1", "", w.clock.now().Add(time.Hour))
		ann, bob := r.send("ann"), r.send("bob")
		if err := r.Do(context.Background(), bob, Holding("review")); err != nil {
			t.Error(err)
		}
		if n, err := r.DoAll(context.Background(), []store.ID{ann, bob}, releasing("segment:trial")); n != 0 || err != nil {
			t.Errorf("%d released, %v", n, err)
		}
		if k := r.kinds(ann) + r.kinds(bob); k != "accepted accepted held " {
			t.Error(k)
		}
		c.set(func(c *cohorts) { c.all = "segment:trial" })
		if n, err := r.AskAll(context.Background(), nil); n != 1 || err != nil {
			t.Errorf("%d parked, %v", n, err)
		}
		drop := &waiting{act: &act{kind: "dropped", reason: "by hand"}}
		machine := func(f func()) {
			if err := r.ask(context.Background(), func(time.Time) { f() }); err != nil {
				t.Error(err)
			}
		}
		machine(func() { r.owned.flying[ann] = drop }) // its conclusion has parked it, and has not landed
		released := make(chan int)
		go func() {
			n, err := r.ReleaseHold(context.Background(), "segment:trial", nil)
			if err != nil {
				t.Error(err)
			}
			released <- n
		}()
		time.Sleep(time.Second)
		machine(func() {
			if r.owned.flying[ann] != drop {
				t.Error("the act that waits was put aside")
			}
			delete(r.owned.flying, ann)
		})
		if n := <-released; n != 1 {
			t.Errorf("%d released", n)
		}
	})
}

// TestCanaryAsksAll: mail that waits for its date is parked at once, and only that
// of the cohort.
func TestCanaryAsksAll(t *testing.T) {
	t.Parallel()
	gated(t, nil, func(w *world, r *running, c *cohorts) {
		r.Pause("a1", "", w.clock.now().Add(time.Hour))
		for i := range page + 5 {
			r.send(name(i % 2))
		}
		eve := r.enqueue(r.transactional(name(1)))
		c.set(func(c *cohorts) { c.held[name(1)] = "batch:fair" })
		n, err := r.AskAll(context.Background(), func(_ *store.Entry, class store.Class) bool { return class.Tier == "active" })
		if n != (page+5)/2 || err != nil {
			t.Errorf("%d parked, %v", n, err)
		}
		synctest.Wait()
		if x := r.Total(); x.Held != n || r.record(store.ID{Message: eve}).Hold != "" {
			t.Errorf("%+v", x)
		}
		c.set(func(c *cohorts) { clear(c.held) })
		r.release("batch:fair", n)
		r.Pause("a1", "", time.Time{})
		r.until(0)
	})
}

// TestCanaryOfAnotherLane: mail under the hold of its segment that moves to another
// one is that one's; what an operator holds stays held.
func TestCanaryOfAnotherLane(t *testing.T) {
	t.Parallel()
	bySegment := func(o *Options) { o.Gate = segmentGate{} }
	gated(t, bySegment, func(w *world, r *running, _ *cohorts) {
		pause := func(d time.Duration) { r.Pause("a1", "", w.clock.now().Add(d)) }
		for to, want := range map[string]string{"": "", "bad": "segment:bad", "worse": "segment:worse"} {
			s := r.message("ann", "active")
			s.Recipients[0].Class.Segment = "bad"
			id := store.ID{Message: r.enqueue(s)}
			synctest.Wait()
			if h := r.record(id).Hold; h != "segment:bad" {
				t.Errorf("held under %q", h)
			}
			pause(time.Hour)
			move := func(q *Queue, id store.ID) (*act, error) {
				class := store.Class{Stream: "marketing", Segment: to, Tier: "active", Pool: "main"}
				return &act{kind: "relaned", class: class}, nil
			}
			if err := r.Do(context.Background(), id, move); err != nil {
				t.Error(err)
			}
			if h := r.record(id).Hold; h != want {
				t.Errorf("moved to segment %q it is held under %q", to, h)
			}
			pause(0)
		}
	})
}

// segmentGate holds every segment that has a name.
type segmentGate struct{}

func (segmentGate) Ask(_ *store.Entry, class store.Class, _ *store.Message) Passage {
	if class.Segment == "" {
		return Passage{Go: true}
	}
	return Passage{Hold: "segment:" + class.Segment, Why: "bounces"}
}

// Goes implements Gate.
func (asking) Goes(*store.Entry, []string) {}

// Goes implements Gate.
func (segmentGate) Goes(*store.Entry, []string) {}
