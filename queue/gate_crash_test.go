// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

// TestCanaryOverPowerLoss cuts the power while cohorts are held and let go. What is
// parked then stays parked until the hold is walked through again, as is done at start;
// nothing is lost, what was received twice was in flight, and a recipient is told to be
// of a trial once, by the event that its record goes with.
func TestCanaryOverPowerLoss(t *testing.T) {
	t.Parallel()
	parked, sampled := 0, 0
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 5))
			roll := dice(rng)
			mem := vfs.NewCrashableMem()
			var clone *vfs.MemFS
			var before map[store.ID]int
			w, c := newWorld(), newCohorts()
			for i := range 60 {
				if i%3 == 0 {
					c.trials[name(i)] = []string{"segment:trial#1"}
				}
			}
			cutAfter := 1 + roll(40)
			w.pause = func(context.Context) { time.Sleep(time.Duration(roll(20)) * time.Millisecond) }
			w.answer = func(*store.Entry) Outcome { // under the lock of the world
				if clone != nil || roll(4) == 0 {
					return deferred("later")
				}
				if cutAfter--; cutAfter == 0 {
					before = maps.Clone(w.received)
					clone = mem.CrashClone(vfs.CrashCloneCfg{RNG: rand.New(rand.NewPCG(seed, 6)), UnsyncedDataPercent: roll(101)})
				}
				return Outcome{Kind: Delivered}
			}
			r := startWith(t, mem, w, func(o *Options) { o.Gate, o.Retry = c, []time.Duration{10 * time.Millisecond} })
			ids := toggle(r, c, roll)
			r.stop()
			if clone == nil {
				return // not so many were received
			}

			again := newWorld()
			again.received = before
			open := newCohorts()
			open.trials = c.trials
			r = startWith(t, clone, again, func(o *Options) { o.Gate, o.Retry = open, []time.Duration{10 * time.Millisecond} })
			r.Pause("a1", "", again.clock.now()) // nothing is due before the walk
			synctest.Wait()
			parked += r.Total().Held
			for _, hold := range []string{"segment:r0", "segment:r1"} {
				if _, err := r.ReleaseHold(context.Background(), hold, nil); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(time.Minute)
			r.until(0)
			r.verify()
			for _, id := range ids {
				if n := again.received[id]; n > 2 || n == 0 && r.kinds(id) != "" {
					t.Errorf("seed %d: %s was received %d times", seed, id, n)
				}
				sampled += r.trials(seed, id)
			}
			r.stop()
		})
	}
	if parked == 0 || sampled == 0 {
		t.Errorf("%d were parked at a cut and %d of a trial: the test sees nothing", parked, sampled)
	}
}

// toggle sends mail while cohorts are held and let go, and returns what it sent.
func toggle(r *running, c *cohorts, roll func(int) int) (ids []store.ID) {
	for i := range 60 {
		ids = append(ids, r.send(name(i)))
		if i%6 == 0 {
			hold := "segment:" + name(roll(2))
			c.set(func(c *cohorts) { c.all = hold })
		}
		time.Sleep(time.Duration(roll(10)) * time.Millisecond)
		if i%6 == 4 && roll(3) > 0 {
			hold := c.all
			c.set(func(c *cohorts) { c.all = "" })
			if _, err := r.ReleaseHold(context.Background(), hold, nil); err != nil {
				r.t.Error(err)
			}
		}
	}
	return ids
}

// trials checks what is told of a recipient of a trial: once, and before its outcome.
func (r *running) trials(seed uint64, id store.ID) int {
	r.t.Helper()
	list, err := r.st.Timeline(id.Message)
	if err != nil {
		r.t.Fatal(err)
	}
	told := 0
	for i := range list {
		e := &list[i]
		switch {
		case e.Kind == event.Sampled:
			told++
		case e.Kind == event.Delivered && len(e.Sample) != told:
			r.t.Errorf("seed %d: %s was delivered for %q, told %d times", seed, id, e.Sample, told)
		}
	}
	if told > 1 {
		r.t.Errorf("seed %d: %s is told %d times", seed, id, told)
	}
	return told
}
