// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/segment/store"
)

// TestAddressIndex gives and takes addresses at random, many of which have the same
// sum, and compares with the states.
func TestAddressIndex(t *testing.T) {
	t.Parallel()
	const ids, sums = 20_000, 12_000
	var m memory
	m.init()
	r := rand.New(rand.NewPCG(7, 8))
	of := map[uint64]uint32{}
	for range 6 * ids {
		id := 1 + r.Uint64N(ids)
		sum := uint32(r.IntN(sums)) * 77_777 // 0: it is gone
		m.set(id, store.State{Address: sum})
		of[id] = sum
	}
	want := map[uint32][]uint64{}
	for id, sum := range of {
		want[sum] = append(want[sum], id)
	}
	for sum := range uint32(sums) {
		got := m.addressed(sum*77_777, nil)
		slices.Sort(got)
		slices.Sort(want[sum*77_777])
		if sum != 0 && !slices.Equal(got, want[sum*77_777]) {
			t.Fatalf("sum %d is that of %d, found are %d", sum, want[sum*77_777], got)
		}
	}
}

// twins are two addresses with the same sum.
func twins() (string, string) {
	known, r := map[uint32]string{}, rand.New(rand.NewPCG(9, 10))
	for {
		a := fmt.Sprintf("%x@example.com", r.Uint64())
		sum := store.AddressSum(a)
		if b, ok := known[sum]; ok {
			return a, b
		}
		known[sum] = a
	}
}

// TestTwinAddresses is about people whose addresses have the same sum: each is found
// under the own, and a stranger with such an address is nobody.
func TestTwinAddresses(t *testing.T) {
	t.Parallel()
	a, b := twins()
	const other = "other@example.com"
	o := testOptions(t, vfs.NewMem())
	d := open(t, o)
	identify := func(message, user, address string) {
		t.Helper()
		call := Call{Kind: CallIdentify, Time: t0(), MessageID: message, UserID: user, Traits: map[string]any{"email": address}}
		if errs, err := d.Ingest(t.Context(), []Call{call}); err != nil || errs[0] != nil {
			t.Fatal(errs, err)
		}
	}
	expect := func(what string, want map[string]uint64) {
		t.Helper()
		for _, address := range []string{a, b, other} {
			v, err := d.Look(addr(t, address), Mail{Stream: "marketing", Domain: "example.com"}, t0())
			if err != nil || v.ID != want[address] || v.Known != (want[address] != 0) {
				t.Errorf("%s: %s is contact %d, want %d: %v", what, address, v.ID, want[address], err)
			}
		}
	}
	identify("1", "u1", a)
	expect("one", map[string]uint64{a: 1})
	identify("2", "u2", b)
	expect("two", map[string]uint64{a: 1, b: 2})
	identify("3", "u1", other)
	expect("the first has another address", map[string]uint64{other: 1, b: 2})
	identify("4", "u1", a)
	if _, err := d.Erase(b); err != nil {
		t.Fatal(err)
	}
	expect("the second was erased", map[string]uint64{a: 1})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, o)
	expect("after another open", map[string]uint64{a: 1})
	if _, err := d.Erase(a); err != nil {
		t.Fatal(err)
	}
	expect("all were erased", nil)
	for i := range d.mem.addresses.tables {
		if n := d.mem.addresses.tables[i].n; n != 0 {
			t.Errorf("%d are in the index still", n)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
