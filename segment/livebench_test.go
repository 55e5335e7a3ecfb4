// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/tier"
)

// benchSegments is n segments of ordinary rules, half of which read the tier.
func benchSegments(n int) (list []Definition) {
	for i := range n {
		where := fmt.Sprintf(`contact.score >= %d && account.plan == "paid"`, i%60)
		if i%2 == 0 {
			where = fmt.Sprintf(`tier == "active" && contact.score >= %d && contact.status == "trial"`, i%60)
		}
		list = append(list, Definition{Name: fmt.Sprintf("s%03d", i), Where: where})
	}
	return list
}

// benchImported is a database on disk with n imported contacts, 10 an account, and
// no segments; it is closed.
func benchImported(b *testing.B, n int, h *hand) Options {
	b.Helper()
	o := testOptions(b, nil)
	o.Dir, o.Segments, o.Now = b.TempDir(), nil, h.Now
	d := open(b, o)
	read, write := io.Pipe()
	go func() {
		_, err := fmt.Fprintln(write, "email,account,contact.status,contact.score,contact.signed_up,account.plan")
		for i := 0; i < n && err == nil; i++ {
			_, err = fmt.Fprintf(write, "u%d@example.com,Acme %d,%s,%d,2026-05-%02d,%s\n",
				i, i/10, []string{"trial", "paying", "lost"}[i%3], i%60, 1+i%28, []string{"paid", "free"}[i/10%2])
		}
		write.CloseWithError(err)
	}()
	if _, err := d.Import(context.Background(), ImportOptions{Reader: read, Name: "base.csv"}); err != nil {
		b.Fatal(err)
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	return o
}

// benchPeople is how many contacts a benchmark of the base has: SEGUE_BENCH_CONTACTS,
// else a tenth of the million that the budgets speak of.
func benchPeople(b *testing.B) int {
	b.Helper()
	n, err := strconv.Atoi(os.Getenv("SEGUE_BENCH_CONTACTS"))
	if err != nil {
		return 100_000
	}
	return n
}

// spent is the processor time of this process: on a busy machine the time on the
// wall says nothing.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLiveEvent is an event that 10 rules may answer differently for, in
// calls of 1000.
func BenchmarkLiveEvent(b *testing.B) {
	h := &hand{t0()}
	n := benchPeople(b)
	o := benchImported(b, n, h)
	o.Segments = benchSegments(20)
	d := open(b, o)
	defer d.Close()
	for more := true; more; {
		var err error
		if more, err = d.buildStep(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	events := make([]event.Event, 1000)
	seq := uint64(0)
	before := spent(b)
	b.ResetTimer()
	for done := 0; done < b.N; done += len(events) {
		if seq >= uint64(n) {
			h.turn(31 * tier.Day) // everybody is warm by now: the next answer changes the tier again
		}
		for i := range events {
			seq++
			who := seq * 7919 % uint64(n)
			events[i] = event.Event{
				Sequence: seq, Kind: event.Engaged, Address: fmt.Sprintf("u%d@example.com", who), Contact: who + 1, Time: h.now,
			}
		}
		if err := d.Apply(context.Background(), epoch, events); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((spent(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/event")
}

// BenchmarkLiveRebuild is one pass over all contacts, per contact.
func BenchmarkLiveRebuild(b *testing.B) {
	h := &hand{t0()}
	n := benchPeople(b)
	o := benchImported(b, n, h)
	for _, segments := range []int{1, 100} {
		b.Run(fmt.Sprint(segments), func(b *testing.B) {
			var cpu time.Duration
			for i := range b.N {
				o.Segments = benchSegments(segments)
				for k := range o.Segments {
					o.Segments[k].Version = uint64(1000*segments + i + 1)
				}
				o.private.buildLater = true
				d := open(b, o)
				before := spent(b)
				for more := true; more; {
					var err error
					if more, err = d.buildStep(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				cpu += spent(b) - before
				if err := d.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N)/float64(n), "cpu-ns/contact")
		})
	}
}

// BenchmarkLiveLook is admission of one recipient among 100 segments.
func BenchmarkLiveLook(b *testing.B) {
	o := benchImported(b, 10_000, &hand{t0()})
	o.Segments = benchSegments(100)
	d := open(b, o)
	defer d.Close()
	a := addr(b, "u77@example.com")
	b.ReportAllocs()
	before := spent(b)
	for b.Loop() {
		if _, err := d.Look(a, "marketing", "example.com", t0()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((spent(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/look")
}

// BenchmarkLiveMemory is what 500 segments hold in memory: their sizes are those
// of a real base, from a few members to nearly everybody, 7 % on average.
func BenchmarkLiveMemory(b *testing.B) {
	n := uint64(100 * benchPeople(b))
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		rosters := make([]*roster, 500)
		members := uint64(0)
		for i := range rosters {
			r := newRoster(uint32(i), 1)
			every := uint64(2 + i*i/25)
			ids := make([]uint32, 0, n/every+1)
			for id := uint64(i) % every; id < n; id += every {
				ids = append(ids, bit(id))
			}
			r.bits = roaring.BitmapOf(ids...)
			members += r.bits.GetCardinality()
			rosters[i] = r
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB")
		b.ReportMetric(float64(members)/1e6, "M-members")
		runtime.KeepAlive(rosters)
	}
}
