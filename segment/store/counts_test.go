// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestCountedIsKept(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	b := s.Batch()
	b.Counted(Counted{Identity: [16]byte{1}, ID: 7})
	b.Counted(Counted{Identity: [16]byte{2}, ID: 8, Built: true})
	b.Counted(Counted{Identity: [16]byte{3}, ID: 9})
	b.CountedEdges(7, 3, []byte("bits"))
	b.CountedEdges(8, 0, []byte("others"))
	b.CountedChange(7, 70, true)
	b.CountedChange(7, 71, false)
	b.CountedChange(8, 80, true)
	b.Edge(5, 2, 70)
	b.Edge(4, 2, 71)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	b = s.Batch()
	b.DeleteCounted([16]byte{3})
	b.CountedEdges(8, 0, nil)
	b.DeleteCountedChange(8, 80)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs)
	defer s.Close()
	list, err := s.Counted()
	if want := []Counted{{Identity: [16]byte{1}, ID: 7}, {Identity: [16]byte{2}, ID: 8, Built: true}}; err != nil || !slices.Equal(list, want) {
		t.Errorf("conditions %v, %v", list, err)
	}
	var got []string
	note := func(format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) }
	for _, err := range []error{
		s.CountedEdges(func(id uint32, n uint16, value []byte) error { note("%d chunk %d %s", id, n, value); return nil }),
		s.CountedChanges(func(id uint32, edge uint64, in bool) error { note("%d edge %d %v", id, edge, in); return nil }),
		s.Edges(func(account, edge uint64) error { note("account %d edge %d", account, edge); return nil }),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"7 chunk 3 bits", "7 edge 70 true", "7 edge 71 false", "account 4 edge 71", "account 5 edge 70"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
