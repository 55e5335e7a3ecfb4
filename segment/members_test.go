// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/seguemta/segue/segment/store"
)

// TestMembersWithBrokenRunsAreRefused holds that a stored chunk whose runs overlap,
// stand in the wrong order or leave the chunk is corrupt, and nothing else.
func TestMembersWithBrokenRunsAreRefused(t *testing.T) {
	r := newRoster(7, 1)
	r.bits.AddRange(10, 40)
	r.bits.AddRange(100, 140)
	value, err := r.chunk(0)
	if err != nil {
		t.Fatal(err)
	}
	second := len(value) - 4 // first and length less one of the second run
	for _, c := range []struct {
		first, more uint16
		ok          bool
	}{{100, 39, true}, {41, 0, true}, {39, 5, false}, {10, 29, false}, {5, 2, false}, {65530, 5, true}, {65530, 6, false}} {
		binary.LittleEndian.PutUint16(value[second:], c.first)
		binary.LittleEndian.PutUint16(value[second+2:], c.more)
		again := newRoster(7, 1)
		if err := again.load(value); (err == nil) != c.ok || err != nil && !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("a run of %d from %d: %v", c.more+1, c.first, err)
		} else if want := 30 + int(c.more) + 1; c.ok && again.size() != want {
			t.Errorf("a run of %d from %d makes %d members, not %d", c.more+1, c.first, again.size(), want)
		}
	}
}
