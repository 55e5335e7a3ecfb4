// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// SendWindow is a part of every day in the recipient's time zone, written
// "08:00-20:00". It may pass midnight: "20:00-02:00". The zero SendWindow is the
// whole day.
type SendWindow struct {
	From, Until time.Duration // by the clock on the recipient's wall
}

// UnmarshalText parses a send window; "00:00-24:00" is the whole day.
func (w *SendWindow) UnmarshalText(text []byte) error {
	fail := notA(text, "a send window", `write "08:00-20:00", or "20:00-02:00" over midnight`)
	from, until, found := strings.Cut(string(text), "-")
	a, okA := clock(from)
	b, okB := clock(until)
	if !found || !okA || !okB || a == b || a == day || b == 0 {
		return fail
	}
	*w = SendWindow{From: a, Until: b}
	if a == 0 && b == day {
		*w = SendWindow{}
	}
	return nil
}

// IsZero reports whether the window is the whole day.
func (w SendWindow) IsZero() bool { return w == SendWindow{} }

// String prints the window as it is written, "" for the whole day.
func (w SendWindow) String() string {
	if w.IsZero() {
		return ""
	}
	return hhmm(w.From) + "-" + hhmm(w.Until)
}

// MarshalText is the inverse of UnmarshalText.
func (w SendWindow) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// Frequency is at most so many messages in any span of so long, written "3/7d".
// The zero Frequency is no limit.
type Frequency struct {
	Count int
	Per   Duration
}

// Bounds of a frequency: the store keeps what was sent for as long, and reads as
// many entries before a message leaves.
const (
	maxFrequency     = 1000
	minFrequencySpan = Duration(time.Minute)
	maxFrequencySpan = Duration(366 * day)
)

// UnmarshalText parses a frequency. None at all is refused: a segment that sends
// nothing is better written in another way.
func (f *Frequency) UnmarshalText(text []byte) error {
	fail := notA(text, "a number of messages in a span of time", `write "3/7d" for at most 3 in any 7 days; up to 1000 in 1m to 366d`)
	number, span, found := strings.Cut(string(text), "/")
	n, err := strconv.Atoi(number)
	var per Duration
	if !found || err != nil || n < 1 || n > maxFrequency || number[0] == '+' || per.UnmarshalText([]byte(span)) != nil {
		return fail
	}
	if per < minFrequencySpan || per > maxFrequencySpan {
		return fail
	}
	*f = Frequency{Count: n, Per: per}
	return nil
}

// IsZero reports whether there is no limit.
func (f Frequency) IsZero() bool { return f == Frequency{} }

// String prints the frequency as it is written, "" where there is no limit.
func (f Frequency) String() string {
	if f.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d/%s", f.Count, f.Per)
}

// MarshalText is the inverse of UnmarshalText.
func (f Frequency) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// policies reports keys of a segment that have no effect as they are written.
func (k *checker) policies() {
	for _, s := range k.c.Segments {
		path := "segment[" + s.Name + "]"
		capped := !s.ContactCap.IsZero() || !s.AccountCap.IsZero() || k.c.IsSet(path+".contact_cap") || k.c.IsSet(path+".account_cap")
		if !capped {
			for _, key := range []string{"capped", "capped_wait"} {
				if k.c.IsSet(path + "." + key) {
					k.warn(path+"."+key, "is not used: the segment has no cap", "set contact_cap or account_cap")
				}
			}
		}
		if capped && s.Capped == CappedDrop && k.c.IsSet(path+".capped_wait") {
			k.warn(path+".capped_wait", `is not used: capped is "drop"`, `set capped = "wait", or leave it out`)
		}
		if s.Holdback == 1 {
			k.warn(path+".holdback", "holds back everybody: the segment sends nothing", "write a share such as 0.05")
		}
	}
}
