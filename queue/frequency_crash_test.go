// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/queue/store"
)

// cappedLife runs a queue with a cap of two messages in two hours until f has returned.
func cappedLife(t testing.TB, fs vfs.FS, w *world, f func(*running)) {
	t.Helper()
	policy := capped(2)
	r := startWith(t, fs, w, func(o *Options) {
		o.ContactSpan, o.AccountSpan = policy.ContactCap.Per, policy.ContactCap.Per
		o.Retry = []time.Duration{10 * time.Second}
		o.Policy = func(store.Class) Policy { return policy }
	})
	f(r)
	r.stop()
}

// TestFrequencyCapHoldsOverPowerLoss cuts the power while messages to few contacts
// are in flight: over both lives nobody gets more messages than the cap allows. The
// same message may come twice, as after every crash; that is one.
func TestFrequencyCapHoldsOverPowerLoss(t *testing.T) {
	t.Parallel()
	full := 0
	for seed := range uint64(24) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 11))
			roll := dice(rng)
			mem := vfs.NewCrashableMem()
			var clone *vfs.MemFS
			c := tally{sent: map[string]map[store.ID]time.Time{}}
			cutAfter := 1 + roll(7)
			w := newWorld()
			w.answer = func(e *store.Entry) Outcome { // under the lock of the world
				switch {
				case clone != nil || roll(5) == 0:
					return deferred("later")
				case roll(5) == 0:
					return Outcome{Kind: Bounced}
				}
				c.received(e)
				if cutAfter--; cutAfter == 0 {
					clone = mem.CrashClone(vfs.CrashCloneCfg{RNG: rand.New(rand.NewPCG(seed, 6)), UnsyncedDataPercent: roll(101)})
				}
				return Outcome{Kind: Delivered}
			}
			cappedLife(t, mem, w, func(r *running) {
				for i := range 24 {
					r.send(name(i % 4))
				}
				time.Sleep(5 * time.Minute)
			})
			if clone == nil {
				t.Fatal("the power was not cut")
			}
			again := newWorld()
			again.answer = func(e *store.Entry) Outcome { c.received(e); return Outcome{Kind: Delivered} }
			cappedLife(t, clone, again, func(r *running) {
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				r.verify()
			})
			most := c.most(2 * time.Hour)
			if most > 2 {
				t.Errorf("seed %d: %d in two hours, 2 are allowed", seed, most)
			}
			if most == 2 {
				full++
			}
		})
	}
	if full < 12 {
		t.Errorf("the cap was reached in %d of 24 runs only: the test sees nothing", full)
	}
}
