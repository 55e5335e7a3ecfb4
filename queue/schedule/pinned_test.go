// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"
)

// A provider that defers all mail, which comes no faster than it is tried: the
// retries keep their source, and wait on disk, not in memory.
func TestRetriesThatKeepTheirSourceStayOnDisk(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, f := range []Fact{
		DefineSource{Name: "a"},
		DefinePool{Name: "p", Members: []Member{{Source: "a", Weight: 1}}},
		DefineClass{ID: 1, Class: Class{Pool: "p", Weight: 1}},
	} {
		m.Step(now, f)
	}
	const n = 5000
	for i := range n {
		m.Step(now, Queued{Domain: "a.test", Class: 1, Item: Item{
			ID: ID{Message: uint64(i + 1)}, Due: now.Add(time.Hour + time.Duration(i)*time.Second), Queued: now,
			Attempts: 1, Pin: "a", PinUntil: now.Add(4 * time.Hour),
		}})
	}
	b := m.backlogs[backlogKey{"a.test", 1}]
	if most := 4 * m.o.Window; b.mem() > most || m.loaded != b.mem() {
		t.Errorf("%d of %d retries are in memory, %d counted", b.mem(), n, m.loaded)
	}
	if b.mem()+b.rest() != n || b.complete || b.next.IsZero() || b.next.After(now.Add(2*time.Hour)) {
		t.Errorf("%d in memory, %d on disk, complete %v, next %v", b.mem(), b.rest(), b.complete, b.next)
	}
}
