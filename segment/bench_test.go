// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/event"
)

// benchContacts is how many contacts a benchmark has.
const benchContacts = 100_000

// benchDB is a database on disk with contacts that were accepted.
func benchDB(b *testing.B) *DB {
	b.Helper()
	o := testOptions(b, nil)
	o.Dir = b.TempDir()
	d := open(b, o)
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	events := make([]event.Event, benchContacts)
	for i := range events {
		events[i] = event.Event{Sequence: uint64(i + 1), Kind: event.Accepted, Address: fmt.Sprintf("u%d@example.com", i), Time: t0()}
	}
	apply(b, d, events)
	return d
}

// BenchmarkApply folds deliveries, in calls of 1000, each with its sync.
func BenchmarkApply(b *testing.B) {
	const n = benchContacts
	d := benchDB(b)
	events := make([]event.Event, 1000)
	seq := uint64(n)
	b.ResetTimer()
	for done := 0; done < b.N; done += len(events) {
		for i := range events {
			seq++
			who := seq * 7919 % n
			events[i] = event.Event{
				Sequence: seq, Kind: event.Delivered, Address: fmt.Sprintf("u%d@example.com", who), Contact: who + 1,
				Time: t0().Add(time.Duration(seq) * time.Millisecond),
			}
		}
		if err := d.Apply(context.Background(), epoch, events); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkCheck(b *testing.B) {
	d := benchDB(b)
	a := addr(b, "u77@example.com")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.Check(78, a, Mail{Stream: "marketing", Domain: "example.com"}, t0()); err != nil {
			b.Fatal(err)
		}
	}
}
