// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

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
		if _, _, err := d.Check(78, a, "marketing", "example.com", t0()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLook(b *testing.B) {
	d := benchDB(b)
	a := addr(b, "u77@example.com")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Look(a, "marketing", "example.com", t0()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIngest sends track calls one by one from 64 goroutines, each of which
// waits until its call is on disk.
func BenchmarkIngest(b *testing.B) {
	const n = benchContacts
	d := benchDB(b)
	var next atomic.Uint64
	spent := cpu(b)
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := next.Add(1)
			errs, err := d.Ingest(context.Background(), []Call{{
				Kind: CallTrack, MessageID: fmt.Sprint("m", i), Email: fmt.Sprintf("u%d@example.com", i*7919%n), Event: "Report Run",
				Time: t0().Add(-time.Duration(i) * time.Millisecond), Properties: map[string]any{"rows": 12.0, "kind": "daily"},
			}})
			if err != nil || errs[0] != nil {
				b.Error(errs, err)
			}
		}
	})
	b.ReportMetric(float64(cpu(b)-spent)/1e3/float64(b.N), "us-cpu/event")
	b.ReportMetric(float64(b.N)/testutil.ToFloat64(d.metrics.tracking.commits), "events/commit")
}

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
