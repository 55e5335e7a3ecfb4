// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"fmt"
	"time"
)

// Window is a part of every day by the clock on somebody's wall, from From up to
// Until as offsets from midnight; Until before From passes midnight. The zero Window
// is the whole day.
type Window struct {
	From, Until time.Duration
}

// Opens is the first instant from t on at which the window is open in a zone: t
// itself where it is. It goes by what the clock on the wall shows: hours that a change
// to summer time leaves out open nothing, and those that a change back repeats
// are asked both times.
func (w Window) Opens(t time.Time, zone *time.Location) time.Time {
	if w == (Window{}) {
		return t
	}
	for at := t; ; {
		wait := w.wait(at, zone)
		_, end := at.In(zone).ZoneBounds()
		if end.IsZero() || at.Add(wait).Before(end) {
			return at.Add(wait)
		}
		at = end // the wall clock jumps: look again from there
	}
}

// wait is how long the window stays closed where the wall clock does not jump.
func (w Window) wait(t time.Time, zone *time.Location) time.Duration {
	local := t.In(zone)
	since := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute +
		time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())
	open := since >= w.From && since < w.Until
	if w.Until <= w.From {
		open = since >= w.From || since < w.Until
	}
	switch {
	case open:
		return 0
	case since < w.From:
		return w.From - since
	default:
		return w.From - since + 24*time.Hour
	}
}

// String is the window as it is written in the configuration.
func (w Window) String() string {
	text := func(d time.Duration) string {
		return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
	}
	return text(w.From) + "-" + text(w.Until)
}

// Waits says to operators what a message waits for that leaves when the window opens.
func (w Window) Waits(opens time.Time, zone *time.Location) string {
	local := opens.In(zone)
	return fmt.Sprintf("waits for its send window, opens at %s %s on %s (open %s)",
		local.Format("15:04"), zone, local.Format(time.DateOnly), w)
}
