// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math/bits"
	"time"
)

// A histogram counts durations in buckets that are 1/64 of their value wide, so
// that a percentile is right to 1.6 % whatever was measured, and an hour of load
// takes no more memory than a second.
type histogram struct {
	counts [(64 - histogramBits) << histogramBits]uint64
	n      uint64
	max    time.Duration
}

// histogramBits is the precision: 64 buckets between a value and its double.
const histogramBits = 6

// bucket is where a duration is counted.
func bucket(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < 1<<histogramBits {
		return int(v)
	}
	shift := bits.Len64(v) - histogramBits - 1
	return shift<<histogramBits + int(v>>shift) //nolint:gosec // 7 bits
}

// ceiling is the longest duration of a bucket.
func ceiling(bucket int) time.Duration {
	if bucket < 2<<histogramBits {
		return time.Duration(bucket)
	}
	shift := bucket>>histogramBits - 1
	return time.Duration(bucket-shift<<histogramBits+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.n++
	h.max = max(h.max, d)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// percentile is the least duration that p percent of those counted do not exceed,
// by the method of the nearest rank.
func (h *histogram) percentile(p float64) time.Duration {
	const percent = 100
	rank := uint64(p / percent * float64(h.n))
	if float64(rank) < p/percent*float64(h.n) {
		rank++
	}
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; seen >= rank && seen > 0 {
			return min(ceiling(i), h.max)
		}
	}
	return 0
}

// Latency is how long something took, in milliseconds.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func (h *histogram) latency() Latency {
	const median, tail = 50, 99
	ms := func(d time.Duration) float64 { return float64(d.Round(time.Microsecond)) / float64(time.Millisecond) }
	return Latency{P50: ms(h.percentile(median)), P99: ms(h.percentile(tail)), Max: ms(h.max)}
}
