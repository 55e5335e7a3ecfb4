// SPDX-License-Identifier: Apache-2.0

package throttle

import (
	"testing"
	"time"
)

// TestClockSetBack: a clock that was a day ahead when a rule acted, and is right since, does not keep
// the rules quiet for that day.
func TestClockSetBack(t *testing.T) {
	p := builtinRules(t).For("yahoo", Normal{}, Damping{})
	deferred := readReply(t, "421 4.7.0 [TSS04] Messages from 192.0.2.25 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1")
	s := New("a1", "yahoo")
	if acts := p.Observe(s, start(), refused(deferred)); len(acts) != 1 || acts[0].Kind != Slow {
		t.Fatalf("%v", acts)
	}
	now := start().Add(-24 * time.Hour)
	var acts []Act
	for range 3 {
		now = now.Add(time.Second)
		acts = append(acts, p.Observe(s, now, refused(deferred))...)
	}
	if len(acts) != 1 || acts[0].Kind != Suspend || !acts[0].Until.Equal(now.Add(2*time.Hour-2*time.Second)) {
		t.Errorf("after the clock was set back: %v", acts)
	}
	quiet := New("a1", "google")
	p = builtinRules(t).For("google", Normal{}, Damping{})
	setup := readReply(t, "421 4.7.27 Your email has been rate limited because SPF authentication didn't pass for this message. x1 - gsmtp")
	for _, back := range []time.Duration{0, 24 * time.Hour} {
		var acts []Act
		for i := range 3 {
			acts = append(acts, p.Observe(quiet, start().Add(time.Duration(i)*time.Second-back), refused(setup))...)
		}
		if len(acts) != 1 || acts[0].Kind != Alert {
			t.Errorf("set back by %s: %v", back, acts)
		}
	}
}
