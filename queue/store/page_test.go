// SPDX-License-Identifier: Apache-2.0

package store

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Mail moves to a later time while pages are read. A page that told where somebody is now
// would end there, and whoever reads on from its end would miss all that lies between.
func TestPageIsInOrderWhileMailMoves(t *testing.T) {
	s := openMem(t, vfs.NewMem(), true)
	defer s.Close()
	const recipients = 500
	mid, err := accept(t.Context(), s, recipients, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Recipient(ID{mid, 0})
	if err != nil {
		t.Fatal(err)
	}
	moved := make(chan error, 1)
	go func() {
		moved <- move(t, s, mid, recipients)
	}()
	for {
		list, _, err := s.Schedule("example.com", first.Class, Position{}, recipients)
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i < len(list); i++ {
			a, b := &list[i-1], &list[i]
			if b.Due.Before(a.Due) || b.Due.Equal(a.Due) && b.ID.Recipient <= a.ID.Recipient {
				t.Fatalf("%s, due %s, stands before %s, due %s", a.ID, a.Due, b.ID, b.Due)
			}
		}
		select {
		case err := <-moved:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

// move puts the recipients of a message off, one after the other and often.
func move(t testing.TB, s *Store, mid uint64, recipients int) error {
	for n := range 8 * recipients {
		err := s.Commit(t.Context(), func(tx *Tx) error {
			id := ID{mid, uint32(n % recipients)}
			r, err := tx.Recipient(id)
			if err != nil {
				return err
			}
			next := r
			next.Due = r.Due.Add(time.Hour)
			tx.Put(id, r, next)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
