// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"testing"
	"time"
)

// TestClockSetBack: a cohort that was released, or whose trial began, while the clock was a day ahead is
// judged by what is sent after the clock was set right, and not only by what is sent a day later.
func TestClockSetBack(t *testing.T) {
	p := DefaultPolicy()
	ahead := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	now := ahead.Add(-24 * time.Hour)
	bad := Observation{Sent: now.Add(time.Minute), Day: 20_000, Counts: Counts{Concluded: 50, Answered: 50, Bounced: 50}}

	s := New(Segment, "trial")
	p.Release(s, ahead, "ann", "")
	p.Tick(s, now)
	p.Observe(s, bad)
	if acts := p.Tick(s, now.Add(time.Minute)); len(acts) != 1 || acts[0].Kind != Opened {
		t.Errorf("released by a clock that was ahead: %v", acts)
	}

	s = New(Batch, "fair")
	p.Resize(s, ahead, 5000)
	p.Tick(s, now)
	bad.Sample = true
	bad.Admitted = 50
	p.Observe(s, bad)
	if acts := p.Tick(s, now.Add(time.Minute)); len(acts) != 1 || acts[0].Kind != CanaryFailed || s.Trial != nil {
		t.Errorf("tried by a clock that was ahead: %v", acts)
	}
}
