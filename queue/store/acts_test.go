// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
)

// TestActs: acts are found among other events, newest first, page by page, after a start
// too; with the head of the log theirs goes.
func TestActs(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, fs, false)
	for i := range 30 {
		e := event.Event{Kind: event.Delivered, Message: 1}
		if i%10 == 5 {
			e = event.Event{Kind: event.Throttled, Act: fmt.Sprintf("act %d", i)}
		}
		if err := s.Commit(t.Context(), func(tx *Tx) error { tx.Event(&e); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	page := func(before uint64, limit int) (names string, last uint64) {
		t.Helper()
		list, err := s.Acts(before, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			names, last = names+e.Act+"; ", e.Sequence
		}
		return names, last
	}
	names, last := page(0, 2)
	if names != "act 25; act 15; " {
		t.Fatalf("the newest two: %s", names)
	}
	if names, _ = page(last, 10); names != "act 5; " {
		t.Errorf("those before: %s", names)
	}
	if names, _ = page(1<<63, 10); names != "act 25; act 15; act 5; " {
		t.Errorf("before the future: %s", names)
	}
	head, err := s.Head(10)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Commit(t.Context(), func(tx *Tx) error {
		tx.TruncateEvents(head[0].Sequence, head[9].Sequence, head)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openMem(t, fs, false)
	if names, _ = page(0, 10); names != "act 25; act 15; " {
		t.Errorf("when the head of the log is cut: %s", names)
	}
	clean(t, s)
	for key, want := range map[string]string{
		string(actKey(26)): `events: event 26 has the act "act 25", and its place in the index of acts is false`,
		string(actKey(99)): "events: the index of acts names event 99, which is not there",
	} {
		if err := s.Commit(t.Context(), func(tx *Tx) error {
			if key == string(actKey(26)) {
				tx.del([]byte(key))
			} else {
				tx.set([]byte(key), nil)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		list, err := Verify(s)
		if err != nil || !slices.ContainsFunc(list, func(v Violation) bool { return v.String() == want }) {
			t.Errorf("not found: %q in %v, %v", want, list, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
