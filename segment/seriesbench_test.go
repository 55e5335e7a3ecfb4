// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"testing"

	"github.com/seguemta/segue/mta/event"
)

// BenchmarkLiveSeries is an event that belongs to a series which that many rules
// read, in calls of 1000; 0 is the same event where no rule asks for it.
func BenchmarkLiveSeries(b *testing.B) {
	for _, rules := range []int{0, 10} {
		b.Run(fmt.Sprint(rules), func(b *testing.B) {
			h := &hand{t0()}
			const n = 10_000
			o := benchImported(b, n, h)
			for i := range rules {
				o.Segments = append(o.Segments, Definition{
					Name: fmt.Sprint("s", i), Where: fmt.Sprintf(`events("Email Delivered").within(days(%d)).count() >= %d`, 10+i, 2+i),
				})
			}
			d := open(b, o)
			defer d.Close()
			events := make([]event.Event, 1000)
			seq := uint64(0)
			before := spent(b)
			b.ResetTimer()
			for done := 0; done < b.N; done += len(events) {
				for i := range events {
					seq++
					who := seq * 7919 % n
					events[i] = event.Event{Sequence: seq, Kind: event.Delivered, Address: fmt.Sprintf("u%d@example.com", who), Contact: who + 1, Time: h.now}
				}
				if err := d.Apply(context.Background(), epoch, events); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((spent(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/event")
		})
	}
}
