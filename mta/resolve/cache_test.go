// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"testing"
	"time"
)

// An answer of a clock that was ahead does not live until its date comes again.
func TestAnAnswerFromAheadHasEnded(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	k := key{name: "dest.example."}
	c.put(k, entry{meta: Meta{Until: now.Add(maxTTL)}})
	if _, ok := c.get(k, now); !ok {
		t.Error("an answer of the longest life is not there")
	}
	if _, ok := c.get(k, now.Add(-time.Hour)); ok {
		t.Error("it is there after the clock was set back")
	}
}
