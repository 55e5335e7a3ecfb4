// SPDX-License-Identifier: Apache-2.0

package breaker

import "testing"

// TestCanaryOfACohortThatGrows: a trial that was told of three contacts, all of whom go,
// stops when many more were let go than can be of three, counted or not; told of all of
// them, it goes on with its part.
func TestCanaryOfACohortThatGrows(t *testing.T) {
	p := DefaultPolicy()
	s := New(Batch, "fair")
	p.Resize(s, start(), 3)
	let := func(ahead bool) (n uint64) {
		for id := range uint64(10_000) {
			c := Contact{ID: id + 1}
			if ahead {
				c.Ahead = n
			}
			if a := p.Asks(s, start(), c); !a.Go {
				continue
			}
			n++
			if !ahead {
				p.Observe(s, Observation{Sent: start(), Day: today, Sample: true, Counts: Counts{Admitted: 1}})
			}
		}
		return n
	}
	if n := let(true); n < p.Least || n > 300 {
		t.Errorf("%d of 10,000 were let go before any was counted", n)
	}
	if n := let(false); n < p.Least || n > 300 {
		t.Errorf("%d of 10,000 were let go", n)
	}
	p.Resize(s, start(), 10_000)
	if n := s.Trial.Counts.Admitted + let(false); n < 500 || n > 900 {
		t.Errorf("%d of 10,000 were let go when all were known", n)
	}
}
