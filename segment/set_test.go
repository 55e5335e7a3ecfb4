// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/seguemta/segue/segment/store"
)

// TestSetIsReadBack as it was written, and nothing else is read.
func TestSetIsReadBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var many []uint64
	for range 5000 {
		many = append(many, rng.Uint64N(1<<20)+1)
	}
	for _, list := range [][]uint64{nil, {7}, {1, 1 << 17, 1 << 30}, many} {
		want := Set{}.With(list)
		b, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeSet(b)
		if err != nil || got.Len() != want.Len() {
			t.Fatalf("%d contacts came back as %d: %v", want.Len(), got.Len(), err)
		}
		for _, id := range list {
			if !got.Has(id) || (Set{}).Has(id) {
				t.Errorf("contact %d", id)
			}
		}
		if more := got.With([]uint64{3}); !more.Has(3) || got.Has(3) {
			t.Error("a set was changed, or one with another contact does not have it")
		}
		if _, err := DecodeSet(append(b, 0)); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("with an octet behind it: %v", err)
		}
		for n := 0; n < len(b); n += 1 + len(b)/100 {
			if _, err := DecodeSet(b[:n]); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("cut to %d of %d octets: %v", n, len(b), err)
			}
		}
	}
}
