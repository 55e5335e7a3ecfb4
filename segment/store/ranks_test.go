// SPDX-License-Identifier: Apache-2.0

package store

import (
	"math"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestRanks writes ranks of one account among those of others, and reads the best of
// each base.
func TestRanks(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer s.Close()
	list := []Ranked{
		{Rank{50, 1, 9, -2}, []uint64{7}},
		{Rank{50, 2, 9, 4}, []uint64{6, 7}},
		{Rank{50, 0, 0, math.Inf(-1)}, []uint64{7, 8}},
		{Rank{0, 5, 9, 3}, []uint64{7}},
		{Rank{0, 6, 9, 3.5}, []uint64{7}},
		{Rank{7.5, 1, 1, 1}, []uint64{8}},
	}
	b := s.Batch()
	for i := range list {
		b.Ranked(uint64(i+1), &Ranked{}, &list[i])
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	ranks := func(account uint64, most int, without uint64) []Rank {
		t.Helper()
		got, err := s.Ranks(account, most, func(contact uint64) bool { return contact == without })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, x := range []struct {
		account uint64
		most    int
		without uint64
		want    []Rank
	}{
		{7, 1, 0, []Rank{list[1].Rank, list[4].Rank}},
		{7, 1, 2, []Rank{list[0].Rank, list[4].Rank}},
		{7, 3, 0, []Rank{list[1].Rank, list[0].Rank, list[2].Rank, list[4].Rank, list[3].Rank}},
		{8, 1, 0, []Rank{list[2].Rank, list[5].Rank}},
		{9, 1, 0, nil},
	} {
		if got := ranks(x.account, x.most, x.without); !reflect.DeepEqual(got, x.want) {
			t.Errorf("account %d, %d of each base but contact %d: %+v, wanted %+v", x.account, x.most, x.without, got, x.want)
		}
	}
	b = s.Batch()
	b.Ranked(2, &list[1], &Ranked{})
	b.Ranking(Ranking{Identity: [16]byte{1}, Built: true})
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := ranks(6, 1, 0); got != nil {
		t.Errorf("who is gone has %v", got)
	}
	if x, ok, err := s.Ranked(3); err != nil || !ok || !x.Equal(&list[2]) {
		t.Errorf("%+v, %v, %v", x, ok, err)
	}
	if x, ok, err := s.Ranking(); err != nil || !ok || !x.Built || x.Identity != [16]byte{1} {
		t.Errorf("%+v, %v, %v", x, ok, err)
	}
	b = s.Batch()
	b.DropRanks()
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if x, ok, err := s.Ranking(); err != nil || ok || ranks(7, 1, 0) != nil {
		t.Errorf("%+v, %v", x, err)
	}
}
