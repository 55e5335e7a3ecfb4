// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
)

// ledger is the outside's memory of what the engine has taken: addresses that
// were answered with 250.
type ledger struct {
	mu    sync.Mutex
	taken []string
	bell  chan struct{} // a knock for each
}

func (l *ledger) note(addresses []string) {
	l.mu.Lock()
	l.taken = append(l.taken, addresses...)
	l.mu.Unlock()
	l.bell <- struct{}{}
}

// together is how many recipients a transactional message of the load has. They
// share a transaction, a marketing message never does.
const together = 3

// load submits from several connections at once until each breaks or done is
// closed; every message goes to addresses of its own, every fourth to several.
func (w *world) load(l *ledger, round int, done <-chan struct{}) *sync.WaitGroup {
	const submitters = 8
	var wg sync.WaitGroup
	for n := range submitters {
		wg.Go(func() {
			c, err := dial(w.ip(1) + ":" + submissionPort)
			if err != nil {
				return
			}
			defer c.Close()
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				header, to := "", []string{fmt.Sprintf("m%d-%d-%d@dest.example", round, n, i)}
				if i%4 == 3 {
					header, to = "X-Segue-Stream: transactional\n", nil
					for r := range together {
						to = append(to, fmt.Sprintf("t%d-%d-%d-%d@dest.example", round, n, i, r))
					}
				}
				if _, err := c.send("news@example.com", letter(header), to...); err != nil {
					return
				}
				l.note(to)
			}
		})
	}
	return &wg
}

func TestNothingAcceptedIsLostByKill9UnderLoad(t *testing.T) {
	t.Parallel()
	const rounds, connections = 5, 5
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	l := &ledger{bell: make(chan struct{}, 1<<20)}
	for round := range rounds {
		w.start()
		done := make(chan struct{})
		wg := w.load(l, round, done)
		for range 100 + rand.IntN(300) {
			<-l.bell
		}
		w.kill()
		close(done)
		wg.Wait()
	}
	w.start()
	w.empty()
	got := received(mx.Messages())
	lost, repeated := 0, map[byte]int{}
	for _, to := range l.taken {
		if got[to] == 0 {
			lost++
			t.Errorf("%s was taken and lost", to)
		}
	}
	for to, n := range got {
		repeated[to[0]] += n - 1
	}
	t.Logf("%d taken, %d lost, repeated by %d kills: %d marketing, %d transactional", len(l.taken), lost, rounds, repeated['m'], repeated['t'])
	if n := repeated['m'] + (repeated['t']+together-1)/together; n > rounds*connections {
		t.Errorf("%d transactions were repeated, more than %d connections at each of %d kills", n, connections, rounds)
	}
	w.balance()
	w.stop()
	w.verify()
}

// A cold source may reach 50 recipients today, whatever happens to the process.
func TestAWarmupBudgetSurvivesKill9(t *testing.T) {
	t.Parallel()
	const allowed, sent = 50, 200
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"}, "dot : delay 20ms")
	w.head = fmt.Sprintf("budget_zone = %q\n", noon())
	w.more = fmt.Sprintf(`
[[source]]
name = "cold"
addresses = ["%s.12"]
plan = "ramp"
[[pool]]
name = "cold"
[[pool.member]]
source = "cold"
[[plan]]
name = "ramp"
pace = false
[[plan.stage]]
tiers = ["new"]
new_share = 1.0
per_day = { default = %d }
[[tier]]
name = "new"
pool = "cold"
`, w.net, allowed)
	w.start()
	w.submitEach("dest.example", sent)
	for _, n := range []int{5, 20, 35} { // the numbers are only where to strike
		wait(t, "some deliveries", func() bool { return len(mx.Messages()) >= n })
		w.kill()
		w.start()
	}
	var budget api.Warmup
	wait(t, "the budget to be used up", func() bool {
		var list []api.Warmup
		if err := json.Unmarshal([]byte(w.must("warmup", "show", "--json")), &list); err != nil {
			t.Fatal(err)
		}
		for _, b := range list {
			if b.Source == "cold" && b.Provider == "other" {
				budget = b
			}
			if b.Used > b.Allowed {
				t.Fatalf("over budget: %+v", b)
			}
		}
		s := w.summary()
		return budget.Used == allowed && s.InFlight == 0
	})
	fromCold := 0
	for _, m := range mx.Messages() {
		if m.Remote.Addr().String() == w.ip(12) {
			fromCold++
		}
	}
	// What was leased when the process died counts as used.
	if n := len(mx.Messages()); fromCold != n || n > allowed || n < allowed/2 {
		t.Errorf("%d arrived, %d of them from the cold source, which may reach %d", n, fromCold, allowed)
	}
	kinds := w.balanceOpen()
	if s := w.summary(); s.Waiting != sent-kinds[event.Delivered] {
		t.Errorf("%d wait, %d of %d were delivered", s.Waiting, kinds[event.Delivered], sent)
	}
	w.stop()
	w.verify()
}
