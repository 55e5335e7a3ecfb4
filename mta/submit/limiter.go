// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"sync"
	"time"
)

// Limiter counts recipients per credential. It must be safe for concurrent use.
type Limiter interface {
	// Take counts one recipient unless perHour were already counted within the
	// last 60 minutes.
	Take(name string, perHour int, now time.Time) bool
	// Give takes n recipients back that were never sent.
	Give(name string, n int, now time.Time)
}

// NewHourLimiter returns a Limiter in memory: sixty counters of a minute per
// credential, so that no 60 minutes hold more than the limit. A restart forgets.
func NewHourLimiter() Limiter {
	l := &hourLimiter{}
	l.mu.hours = map[string]*hour{}
	return l
}

type hourLimiter struct {
	mu struct {
		sync.Mutex
		hours map[string]*hour // as many as there are credentials
	}
}

// hour is a ring of minutes; minute is the newest.
type hour struct {
	minute int64
	counts [60]int
	sum    int
}

func (h *hour) advance(now time.Time) {
	minute := max(now.Unix()/60, 0)
	if minute < h.minute-60 { // the clock was set back: what was counted counts for an hour from here
		sum := h.sum
		*h = hour{minute: minute, sum: sum}
		h.counts[minute%60] = sum
	}
	if minute <= h.minute {
		return // also a clock that went back a little
	}
	if minute-h.minute >= 60 {
		*h = hour{minute: minute}
		return
	}
	for m := h.minute + 1; m <= minute; m++ {
		h.sum -= h.counts[m%60]
		h.counts[m%60] = 0
	}
	h.minute = minute
}

// Take implements Limiter.
func (l *hourLimiter) Take(name string, perHour int, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.mu.hours[name]
	if h == nil {
		h = &hour{}
		l.mu.hours[name] = h
	}
	h.advance(now)
	if h.sum >= perHour {
		return false
	}
	h.counts[h.minute%60]++
	h.sum++
	return true
}

// Give implements Limiter. What was counted earlier than a minute ago is taken
// from the newest minutes: the sum is right, and too little is forgiven rather than too
// much.
func (l *hourLimiter) Give(name string, n int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.mu.hours[name]
	if h == nil {
		return
	}
	h.advance(now)
	for m := h.minute; n > 0 && m > h.minute-60 && m >= 0; m-- {
		k := min(n, h.counts[m%60])
		h.counts[m%60] -= k
		h.sum -= k
		n -= k
	}
}
