// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Percentiles are those of the sorted list, to the width of a bucket.
func TestPercentiles(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 99, 100, 101, 5000} {
		var whole histogram
		parts := [2]histogram{}
		var list []time.Duration
		for i := range n {
			d := time.Duration(math.Exp(random.Float64() * 30)) // nanoseconds to hours
			list = append(list, d)
			parts[i%2].add(d)
		}
		whole.merge(&parts[0])
		whole.merge(&parts[1])
		slices.Sort(list)
		for _, p := range []float64{0.1, 1, 50, 90, 99, 99.9, 100} {
			want := list[max(1, int(math.Ceil(p/100*float64(n))))-1]
			if got := whole.percentile(p); got < want || float64(got) > float64(want)*(1+1.0/64) {
				t.Errorf("percentile %g of %d: %d, want %d", p, n, got, want)
			}
		}
		if whole.max != list[n-1] {
			t.Errorf("longest of %d: %d, want %d", n, whole.max, list[n-1])
		}
	}
	if got := (&histogram{}).latency(); got != (Latency{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// Buckets follow each other without gaps.
func TestBuckets(t *testing.T) {
	t.Parallel()
	var h histogram
	for b := range len(h.counts) {
		end := ceiling(b)
		if bucket(end) != b || (end < math.MaxInt64 && bucket(end+1) != b+1) {
			t.Fatalf("bucket %d ends at %d, which is in %d, and %d is in %d", b, end, bucket(end), end+1, bucket(end+1))
		}
		if end == math.MaxInt64 {
			return
		}
	}
	t.Error("the longest duration is in no bucket")
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"1": 1, "10240": 10240, "10k": 10240, "10K": 10240, "10kB": 10240, "10KiB": 10240, "2M": 2 << 20, "1024m": 1 << 30} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "k", "-1", "1.5k", "1025M", "10g", "1 k", "99999999999", "10kk"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, text := range []string{"10k", "2MiB", "0", "99999999999999999999k", "ib"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseSize(text); err == nil && (n < 1 || n > maxSize) {
			t.Errorf("%q: %d", text, n)
		}
	})
}
