// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
)

// TestSentNamesTheTokenThatWasCarried: recipients that leave in one transaction share the
// token of the first; who is tried again alone has a token of its own.
func TestSentNamesTheTokenThatWasCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		tries := 0
		w.answer = func(e *store.Entry) Outcome {
			if e.Address.Local == "bob" {
				if tries++; tries == 1 {
					return deferred("come again")
				}
			}
			return Outcome{Kind: Delivered, Reply: rfc5321.Reply{Code: 250}}
		}
		r := start(t, vfs.NewMem(), w)
		m := r.message("ann", "")
		for i := range 3 {
			x := m.Recipients[0]
			x.Class.Stream = "transactional"
			x.Address.Local = []string{"ann", "bob", "eve"}[i]
			x.Contact, x.Batch, x.Version = uint64(10+i), "fair", 7
			m.Recipients = append(m.Recipients[:i], x, x)
		}
		m.Recipients = m.Recipients[:3]
		m.Message.Campaign, m.Message.Domain = "spring", "example.org"
		mid, err := r.Enqueue(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		r.until(0)
		for i, token := range []uint32{0, 1, 0} {
			id := store.ID{Message: mid, Recipient: uint32(i)}
			got, err := r.st.SentRecord(id)
			if err != nil {
				t.Fatal(err)
			}
			want := store.Sent{
				Time: got.Time, Contact: uint64(10 + i), Address: m.Recipients[i].Address.String(), Stream: "transactional", SegmentVersion: 7,
				Pool: "main", Campaign: "spring", Batch: "fair", Source: "a1", Domain: "example.org", Token: token,
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v\nwant %+v", id, got, want)
			}
		}
		if e := r.last(store.ID{Message: mid}); e.Batch != "fair" {
			t.Errorf("event of batch %q", e.Batch)
		}
		r.stop()
	})
}

// TestSentIsKeptFor60DaysAfterDelivery: also of mail that was long under way.
func TestSentIsKeptFor60DaysAfterDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const age = 30 * time.Hour
		w := newWorld()
		r := startWith(t, vfs.NewMem(), w, func(o *Options) { o.MaxAge = age })
		accepted := w.clock.now()
		m := r.message("ann", "active")
		m.Recipients[0].Due, m.Recipients[0].Expires = accepted.Add(age-time.Hour), accepted.Add(age)
		mid, err := r.Enqueue(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		id := store.ID{Message: mid}
		<-time.After(age - time.Hour)
		r.until(0)
		sent, err := r.st.SentRecord(id)
		if err != nil || sent.Time.Before(accepted.Add(age-time.Hour)) {
			t.Fatalf("sent at %s, %v", sent.Time, err)
		}
		r.send("bob") // the index ends where a later day's begins
		r.until(0)
		const days = 24 * time.Hour
		for _, x := range []struct {
			at   time.Time
			kept bool
		}{{sent.Time.Add(60 * days), true}, {accepted.Add(63 * days), false}} {
			if err := r.forget(t.Context(), x.at); err != nil {
				t.Fatal(err)
			}
			if _, err := r.st.SentRecord(id); errors.Is(err, store.ErrNotFound) == x.kept {
				t.Errorf("at %s kept should be %v: %v", x.at, x.kept, err)
			}
		}
		r.stop()
	})
}
