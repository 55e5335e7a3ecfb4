// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/queue/store"
)

// The list of one domain is what the list of everything says of it, page by page,
// with and without mail that is held, which is kept elsewhere.
func TestListOfADomain(t *testing.T) {
	r := start(t, vfs.NewMem(), newWorld())
	tiers := []string{"active", "warm", "dead"}
	for i := range 90 {
		m := r.message(fmt.Sprintf("r%d", i), tiers[i%3])
		m.Recipients[0].Address.Domain = fmt.Sprintf("d%d.example", i%4)
		m.Recipients[0].Due = time.Now().Add(time.Duration(100-i) * time.Hour) // the last is the first due
		m.Recipients[0].Expires = time.Now().Add(200 * time.Hour)
		if _, err := r.Enqueue(context.Background(), m); err != nil {
			t.Fatal(err)
		}
	}
	warm := func(_ *store.Entry, c store.Class) bool { return c.Tier == "warm" }
	compare := func() {
		t.Helper()
		for _, keep := range []func(*store.Entry, store.Class) bool{nil, warm} {
			want := pages(t, func(from store.ID) ([]store.Entry, error) {
				return r.List(from, 1000, func(e *store.Entry, c store.Class) bool {
					return e.Address.Domain == "d1.example" && (keep == nil || keep(e, c))
				})
			})
			got := pages(t, func(from store.ID) ([]store.Entry, error) {
				return r.ListDomain(t.Context(), "d1.example", from, 4, keep)
			})
			if len(want) < 7 || !slices.Equal(got, want) {
				t.Errorf("the domain has %v, everything says %v", got, want)
			}
		}
	}
	compare()
	all := pages(t, func(from store.ID) ([]store.Entry, error) {
		return r.ListDomain(t.Context(), "d1.example", from, 4, nil)
	})
	ids, more, err := r.st.OfDomain("d1.example", all[2], 5)
	if err != nil || !more || !slices.Equal(ids, all[2:7]) {
		t.Errorf("five from the third on: %v, more %v, %v; want %v", ids, more, err, all[2:7])
	}
	if err := r.Do(t.Context(), all[3], Holding("review")); err != nil {
		t.Fatal(err)
	}
	compare()
	if list, err := r.ListDomain(t.Context(), "d1", store.ID{}, 4, nil); err != nil || len(list) != 0 {
		t.Errorf("a domain whose name begins another's has %v, %v", list, err)
	}
}

// pages reads a list to its end.
func pages(t *testing.T, next func(from store.ID) ([]store.Entry, error)) (ids []store.ID) {
	t.Helper()
	for from := (store.ID{}); ; {
		list, err := next(from)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return ids
		}
		for i := range list {
			ids = append(ids, list[i].ID)
		}
		from = store.ID{Message: ids[len(ids)-1].Message, Recipient: ids[len(ids)-1].Recipient + 1}
	}
}
