// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
)

// anyAct gives a random order to a random recipient, and reports what it promised.
func anyAct(ctx context.Context, r *running, rng *rand.Rand, id store.ID, local string) (promised string, err error) {
	switch rng.IntN(6) {
	case 0:
		return "relaned", r.Do(ctx, id, Moving([]string{"main", "other"}[rng.IntN(2)]))
	case 1:
		return "held", r.Do(ctx, id, Holding("review"))
	case 2:
		return "released", r.Do(ctx, id, Releasing())
	case 3:
		return "dropped", r.Do(ctx, id, Dropping("not wanted"))
	case 4:
		r.w.tell(func() { r.w.suppressed[local] = "complaint (all)" })
	default:
		r.w.tell(func() { r.w.tiers[local] = []string{"active", "warm"}[rng.IntN(2)] })
	}
	return "", r.Recheck(ctx, rfc5321.Address{Local: local, Domain: "d" + local[1:2] + ".example"})
}

const raceMail = 40

// raceRound throws orders at mail of several recipients while it is sent, cuts
// the power at a random moment, and holds the disk against what was promised.
func raceRound(t *testing.T, seed uint64) (flights int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 21))
	mem := vfs.NewCrashableMem()
	w := newWorld()
	roll := dice(rng)
	w.pause = func(context.Context) { <-time.After(time.Duration(roll(900)) * time.Millisecond) }
	w.answer = func(*store.Entry) Outcome {
		switch roll(3) {
		case 0:
			return Outcome{Kind: Bounced, Reply: rfc5321.Reply{Code: 550}}
		case 1:
			return Outcome{Kind: Delivered, Reply: rfc5321.Reply{Code: 250}}
		}
		return deferred("later")
	}
	fast := func(o *Options) { o.Retry = []time.Duration{700 * time.Millisecond} }
	r := startWith(t, mem, w, fast)
	var ids []store.ID
	var locals []string
	for i := range raceMail / 2 {
		a, b := name(i%10*10+i/10), name(i%10*10+i/10+5)
		s := r.transactional(a, b)
		for k := range s.Recipients {
			s.Recipients[k].Address.Domain = "d" + s.Recipients[k].Address.Local[1:2] + ".example"
			s.Recipients[k].Expires = time.Now().Add(time.Duration(1+roll(12)) * time.Second)
		}
		mid := r.enqueue(s)
		ids, locals = append(ids, store.ID{Message: mid}, store.ID{Message: mid, Recipient: 1}), append(locals, a, b)
	}
	type promise struct {
		id   store.ID
		kind string
	}
	var mu sync.Mutex
	var promises []promise // answered with success before the cut
	dead := false
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for n := range 6 {
		own := rand.New(rand.NewPCG(seed, uint64(n)+30))
		wg.Go(func() {
			for ctx.Err() == nil {
				<-time.After(time.Duration(own.IntN(400)) * time.Millisecond)
				i := own.IntN(len(ids))
				kind, err := anyAct(ctx, r, own, ids[i], locals[i])
				mu.Lock()
				if err == nil && kind != "" && !dead {
					promises = append(promises, promise{ids[i], kind})
				}
				mu.Unlock()
			}
		})
	}
	time.Sleep(time.Duration(200+roll(2500)) * time.Millisecond)
	flights = r.Total().InFlight
	mu.Lock()
	dead = true
	left := mem.CrashClone(vfs.CrashCloneCfg{RNG: rand.New(rand.NewPCG(seed, 22)), UnsyncedDataPercent: int(seed*7) % 101})
	mu.Unlock()
	time.Sleep(time.Minute)
	cancel()
	wg.Wait()
	r.eachEndedOnce(ids)
	r.stop()

	r = startWith(t, left, w, fast)
	kinds := r.allKinds()
	for _, p := range promises {
		if !strings.Contains(kinds[p.id], p.kind) {
			t.Errorf("seed %d: %s of %s was promised and is lost: %s", seed, p.kind, p.id, kinds[p.id])
		}
	}
	time.Sleep(time.Minute)
	r.eachEndedOnce(ids)
	r.stop()
	return flights
}

// eachEndedOnce asserts that every recipient has ended once, after a minute in which all
// of them expired, and that nothing is left of their messages.
func (r *running) eachEndedOnce(ids []store.ID) {
	r.t.Helper()
	r.idle()
	r.verify()
	for _, id := range ids {
		if n := r.finals(id.Message)[id.Recipient]; n != 1 {
			r.t.Errorf("%s ended %d times: %s", id, n, r.kinds(id))
		}
		r.gone(id.Message)
	}
}

func TestRaceManyActsOnMailInFlight(t *testing.T) {
	t.Parallel()
	flights := 0
	for seed := range uint64(24) {
		synctest.Test(t, func(t *testing.T) { flights += raceRound(t, seed) })
	}
	if flights < 8 {
		t.Errorf("only %d were in flight at all cuts together: the acts met hardly anybody", flights)
	}
}
