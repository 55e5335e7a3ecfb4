// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"
)

// drills are the ways of a recipient through a full machine, see bench_test.go.
func drills() map[string]func(t testing.TB, sites int) func() {
	return map[string]func(t testing.TB, sites int) func(){
		"steady state": steadyState, "budgeted send": budgetedSend, "deep send": deepSend,
	}
}

// The machine is asked for every recipient, and the collector would pay for what
// it leaves behind: with 20,000 sites and deep lanes it leaves nothing.
func TestStepDoesNotAllocate(t *testing.T) {
	const sites, turns = 20_000, 100
	for name, drill := range drills() {
		t.Run(name, func(t *testing.T) {
			turn := drill(t, sites)
			for range 2 * sites {
				turn() // every site has sent once, slices and maps have their size
			}
			n := testing.AllocsPerRun(20, func() {
				for range turns {
					turn()
				}
			})
			if n != 0 {
				t.Errorf("%v allocations in %d turns", n, turns)
			}
		})
	}
}

// A Step or a Take that walked all sites or all lanes would cost twenty times
// as much with twenty times as many of them. That caches miss makes it somewhat dearer;
// the least of several rounds leaves the noise of the computer out.
func TestATurnDoesNotGrowWithTheSites(t *testing.T) {
	const few, many, rounds, turns, most = 2_000, 40_000, 8, 1_000, 6
	for name, drill := range drills() {
		t.Run(name, func(t *testing.T) {
			small, large := drill(t, few), drill(t, many)
			least := func(best time.Duration, turn func()) time.Duration {
				began := time.Now()
				for range turns {
					turn()
				}
				if took := time.Since(began); best == 0 || took < best {
					return took
				}
				return best
			}
			var a, b time.Duration
			for range rounds {
				a, b = least(a, small), least(b, large)
			}
			t.Logf("a turn takes %s with %d sites, %s with %d", a/turns, few, b/turns, many)
			if b > most*a {
				t.Errorf("with %d times the sites a turn takes %.1f times as long", many/few, float64(b)/float64(a))
			}
		})
	}
}
