// SPDX-License-Identifier: Apache-2.0

package store

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/rfc5321"
)

// shelf is a store with a clock that tests set, and one contact.
type shelf struct {
	*Store
	t   testing.TB
	now time.Time
	ann Who
}

func newShelf(t testing.TB, fs vfs.FS) *shelf {
	t.Helper()
	s := &shelf{t: t, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), ann: ContactWho(rfc5321.Address{Local: "Ann", Domain: "dest.example"})}
	var err error
	s.Store, err = Open(Options{Dir: "queue", FS: fs, MemTableSize: 1 << 20, IDBlock: 10, Now: func() time.Time { return s.now }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shelf) do(f func(tx *Tx)) {
	s.t.Helper()
	if err := s.Commit(s.t.Context(), func(tx *Tx) error { f(tx); return nil }); err != nil {
		s.t.Fatal(err)
	}
}

// room is what counts for ann under a cap of limit in an hour, and how long it lasts.
func (s *shelf) room(tx *Tx, id ID, limit int) (int, time.Duration) {
	s.t.Helper()
	used, from, err := tx.Room(id, s.ann, limit, time.Hour)
	if err != nil {
		s.t.Error(err)
	}
	if from.IsZero() {
		return used, -1
	}
	return used, from.Sub(tx.Now())
}

func (s *shelf) expect(id ID, limit, used int, lasts time.Duration) {
	s.t.Helper()
	s.do(func(tx *Tx) {
		if n, d := s.room(tx, id, limit); n != used || d != lasts {
			s.t.Errorf("under a cap of %d %d count for %v, not %d for %v", limit, n, d, used, lasts)
		}
	})
}

func TestFrequencyOfPlacesAndWhatWasUsed(t *testing.T) {
	s := newShelf(t, vfs.NewMem())
	a, b, c := ID{1, 0}, ID{2, 0}, ID{3, 0}
	who := []Who{s.ann, AccountWho(7)}
	s.do(func(tx *Tx) { tx.Reserve(a, who) })
	s.expect(a, 1, 0, 0)  // its own place is not in its way
	s.expect(b, 1, 1, -1) // nobody knows how long
	s.do(func(tx *Tx) {
		tx.Use(a)
		if n, d := s.room(tx, b, 1); n != 1 || d != time.Hour { // in the same group
			t.Errorf("%d count for %v", n, d)
		}
		tx.Use(a) // again changes nothing
	})
	s.now = s.now.Add(10 * time.Minute)
	s.do(func(tx *Tx) { tx.Reserve(b, who); tx.Use(b); tx.Reserve(c, who) })
	s.expect(ID{4, 0}, 4, 3, 0)
	s.expect(ID{4, 0}, 3, 3, 50*time.Minute) // until a's time is over
	s.expect(ID{4, 0}, 2, 2, time.Hour)      // c is in flight: until b's
	s.expect(ID{4, 0}, 1, 1, -1)
	s.do(func(tx *Tx) { tx.Return(c); tx.Return(c) })
	s.expect(c, 2, 2, 50*time.Minute)
	s.now = s.now.Add(50*time.Minute - time.Nanosecond)
	s.expect(c, 2, 2, time.Nanosecond)
	s.now = s.now.Add(time.Nanosecond)
	s.expect(c, 2, 1, 0)
	if len(s.state.usage.reserved) != 0 || len(s.state.usage.holding) != 0 {
		t.Errorf("memory holds %+v", s.state.usage)
	}
	clean(t, s.Store)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFrequencyEntriesAreForgottenByTheWeek(t *testing.T) {
	s := newShelf(t, vfs.NewMem())
	defer s.Close()
	const day = 24 * time.Hour
	for i := range uint64(20) {
		s.do(func(tx *Tx) { tx.Reserve(ID{i + 1, 0}, []Who{s.ann}); tx.Use(ID{i + 1, 0}) })
		s.now = s.now.Add(2 * day)
	}
	count := func(span time.Duration) int {
		list, err := s.Used(s.ann, s.now, span, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if n, m := count(366*day), count(10*day+time.Minute); n != 20 || m != 5 {
		t.Errorf("%d in a year, %d in ten days", n, m)
	}
	s.do(func(tx *Tx) { tx.DropUsed(20 * day) })
	if n := count(366 * day); n < 10 || n > 13 {
		t.Errorf("%d are left of twenty days", n)
	}
	s.now = s.now.Add(-366 * day) // what the clock wrote before it was set back is far ahead
	s.do(func(tx *Tx) { tx.DropUsed(20 * day) })
	s.now = s.now.Add(366 * day)
	if n := count(366 * day); n != 0 {
		t.Errorf("%d are left", n)
	}
	s.do(func(tx *Tx) {
		if tx.DropUsed(20 * day); tx.writes != 0 {
			t.Errorf("%d writes to forget nothing", tx.writes)
		}
	})
}

func TestFrequencyPlacesOutliveACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := newShelf(t, fs)
	mid, err := accept(t.Context(), s.Store, 2, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	first, second := ID{mid, 0}, ID{mid, 1}
	s.do(func(tx *Tx) { tx.Reserve(first, []Who{s.ann}); tx.Reserve(second, []Who{s.ann}) })
	s = newShelf(t, fs.CrashClone(vfs.CrashCloneCfg{}))
	defer s.Close()
	s.expect(first, 2, 1, 0) // the other one may have been sent
	clean(t, s.Store)
	if err := deliver(t.Context(), s.Store, first); err != nil { // or dropped: it may have been sent before
		t.Fatal(err)
	}
	s.expect(second, 1, 1, time.Hour)
	s.expect(first, 2, 2, time.Hour)
	s.do(func(tx *Tx) { tx.Reserve(first, []Who{s.ann}) }) // of nobody: what Verify must see
	list, err := Verify(s.Store)
	if err != nil || len(list) != 1 || !strings.Contains(list[0].String(), "reservation has no recipient") {
		t.Errorf("violations: %v, %v", list, err)
	}
}
