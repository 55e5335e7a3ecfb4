// SPDX-License-Identifier: Apache-2.0

package warmup

import (
	"errors"
	"fmt"
	"time"
)

// Day is a calendar day, counted from 1970-01-01. Which instants it covers is
// a matter of a time zone: [DayOf], [DayBounds].
type Day int32

// String is the day as 2026-11-23.
func (d Day) String() string { return d.utc().Format(time.DateOnly) }

func (d Day) utc() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// DayOf is the day of a zone that an instant falls on. It agrees with
// [DayBounds]: start <= t < end.
func DayOf(t time.Time, loc *time.Location) Day {
	y, m, d := t.In(loc).Date()
	day := Day(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400) //nolint:gosec // five million years
	switch {
	case t.Before(startOf(day, loc)):
		return day - 1
	case !t.Before(startOf(day+1, loc)):
		return day + 1
	}
	return day
}

// DayBounds is the first instant of a day in a zone and that of the next day. Days
// on which clocks change have 23 or 25 hours.
func DayBounds(d Day, loc *time.Location) (start, end time.Time) {
	return startOf(d, loc), startOf(d+1, loc)
}

// startOf is midnight, or where the clocks skip midnight, the first instant
// after it.
func startOf(d Day, loc *time.Location) time.Time {
	y, m, dd := d.utc().Date()
	t := time.Date(y, m, dd, 0, 0, 0, 0, loc)
	if t.Day() == dd {
		return t.Add(-sinceMidnight(t))
	}
	lo, hi := int64(0), int64(3*time.Hour/time.Second)
	for lo < hi {
		mid := (lo + hi) / 2
		if t.Add(time.Duration(mid)*time.Second).Day() == dd {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return t.Add(time.Duration(lo) * time.Second)
}

// sinceMidnight is how far time.Date went behind a midnight that clocks
// skipped, back to the change itself; 0 on any other day.
func sinceMidnight(t time.Time) time.Duration {
	if t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 {
		return 0
	}
	start, _ := t.ZoneBounds()
	return t.Sub(start)
}

// Window is the part of a day in which mail leaves, as clock times. The zero
// Window is the whole day.
type Window struct {
	Open, Close time.Duration // since midnight by the clock on the wall; Close up to 24 h
}

// ErrWindow is wrapped by what is wrong with a window.
var ErrWindow = errors.New("bad window")

// String is the window as a plan is written: 08:00-20:00.
func (w Window) String() string {
	o, c := w.Open, w.Close
	if w == (Window{}) {
		c = 24 * time.Hour
	}
	return fmt.Sprintf("%02d:%02d-%02d:%02d", o/time.Hour, o%time.Hour/time.Minute, c/time.Hour, c%time.Hour/time.Minute)
}

// Validate refuses windows that are empty, cross midnight or leave the day.
func (w Window) Validate() error {
	switch {
	case w == (Window{}):
		return nil
	case w.Open < 0 || w.Close > 24*time.Hour:
		return fmt.Errorf("%w: %s leaves the day", ErrWindow, w)
	case w.Open == w.Close:
		return fmt.Errorf("%w: %s is empty; leave it out for the whole day", ErrWindow, w)
	case w.Open > w.Close:
		return fmt.Errorf("%w: %s crosses midnight, where the day's budget ends; use two plans or a window within a day", ErrWindow, w)
	}
	return nil
}

// Bounds is when the window opens and closes on a day of a zone. Clock times
// that a change of clocks skips are taken as just after it. On no day does the
// window leave the day or close before it opens.
func (w Window) Bounds(d Day, loc *time.Location) (opens, closes time.Time) {
	start, end := DayBounds(d, loc)
	if w == (Window{}) {
		return start, end
	}
	clock := func(at time.Duration) time.Time {
		if at >= 24*time.Hour {
			return end
		}
		y, m, dd := d.utc().Date()
		t := time.Date(y, m, dd, int(at/time.Hour), int(at%time.Hour/time.Minute), 0, 0, loc)
		if t.Before(start) {
			return start
		}
		if t.After(end) {
			return end
		}
		return t
	}
	opens, closes = clock(w.Open), clock(w.Close)
	if closes.Before(opens) {
		closes = opens
	}
	return opens, closes
}
