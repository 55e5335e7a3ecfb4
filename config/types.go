// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// valueError says why a text is not a value of its type, and how one looks.
type valueError struct{ text, hint string }

func (e *valueError) Error() string { return e.text + " (" + e.hint + ")" }

func notA(text []byte, noun, hint string) error {
	return &valueError{text: fmt.Sprintf("%q is not %s", text, noun), hint: hint}
}

// Duration is a length of time, written as whole numbers with a unit: "90s",
// "5m", "4h", "30d", "2w", "1h30m". Units are ms, s, m, h, d (24 h) and w.
type Duration time.Duration

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// unitOf returns the length of a duration unit, 0 when there is none so named.
func unitOf(name string) time.Duration {
	switch name {
	case "ms":
		return time.Millisecond
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	case "d":
		return day
	case "w":
		return week
	default:
		return 0
	}
}

// UnmarshalText parses a duration. It is never negative.
func (d *Duration) UnmarshalText(text []byte) error {
	fail := notA(text, "a duration", `write whole numbers with a unit: "90s", "5m", "4h", "30d"`)
	rest, total := string(text), time.Duration(0)
	if rest == "" {
		return fail
	}
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return fail
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "mshdw"))
		unit := unitOf(rest[:letters])
		if unit == 0 || n > (math.MaxInt64-int64(total))/int64(unit) {
			return fail
		}
		rest, total = rest[letters:], total+time.Duration(n)*unit
	}
	*d = Duration(total)
	return nil
}

// Std returns the duration as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String prints the duration with the largest units that fit, "30d", "1h30m".
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	rest := time.Duration(d)
	for _, name := range []string{"d", "h", "m", "s", "ms"} {
		unit := unitOf(name)
		if n := rest / unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, name)
			rest %= unit
		}
	}
	return b.String()
}

// MarshalText is the inverse of UnmarshalText.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Size is a number of bytes, written "25MB" (decimal, 25,000,000) or "64MiB"
// (binary, 67,108,864). Units are B, kB, MB, GB, TB, KiB, MiB, GiB, TiB.
type Size int64

// sizeUnit returns how many bytes a unit holds, 0 when there is none so named.
func sizeUnit(name string) int64 {
	switch strings.ToLower(name) {
	case "b":
		return 1
	case "kb":
		return 1e3
	case "mb":
		return 1e6
	case "gb":
		return 1e9
	case "tb":
		return 1e12
	case "kib":
		return 1 << 10
	case "mib":
		return 1 << 20
	case "gib":
		return 1 << 30
	case "tib":
		return 1 << 40
	default:
		return 0
	}
}

// UnmarshalText parses a size.
func (s *Size) UnmarshalText(text []byte) error {
	fail := notA(text, "a size", `write a whole number with a unit: "500kB", "25MB", "64MiB", "1GB"`)
	digits := len(text) - len(strings.TrimLeft(string(text), "0123456789"))
	n, err := strconv.ParseInt(string(text[:digits]), 10, 64)
	if err != nil {
		return fail
	}
	unit := sizeUnit(string(text[digits:]))
	if unit == 0 || n > math.MaxInt64/unit {
		return fail
	}
	*s = Size(n * unit)
	return nil
}

// Bytes returns the size in bytes.
func (s Size) Bytes() int64 { return int64(s) }

// String prints the size with the largest unit that divides it.
func (s Size) String() string {
	for _, name := range []string{"TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "kB"} {
		if unit := sizeUnit(name); s != 0 && int64(s)%unit == 0 {
			return strconv.FormatInt(int64(s)/unit, 10) + name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// MarshalText is the inverse of UnmarshalText.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Rate is a number of recipients per unit of time, written "100/s", "600/m",
// "5000/h" or "20000/d". The zero Rate is unlimited.
type Rate struct {
	Count int64
	Per   time.Duration // one second, minute, hour or day
}

// UnmarshalText parses a rate. A rate of zero is refused: it would read as
// "unlimited" to one and as "nothing" to another.
func (r *Rate) UnmarshalText(text []byte) error {
	fail := notA(text, "a rate", `write a number per s, m, h or d: "100/s", "5000/h"`)
	number, unit, found := strings.Cut(string(text), "/")
	n, err := strconv.ParseInt(number, 10, 64)
	if !found || err != nil || n < 1 || number[0] == '+' || !strings.Contains("s m h d", unit) || len(unit) != 1 {
		return fail
	}
	*r = Rate{Count: n, Per: unitOf(unit)}
	return nil
}

// PerSecond returns the rate as recipients per second, 0 when unlimited.
func (r Rate) PerSecond() float64 {
	if r.Per == 0 {
		return 0
	}
	return float64(r.Count) / r.Per.Seconds()
}

// String prints the rate as it is written, "" when unlimited.
func (r Rate) String() string {
	switch r.Per {
	case time.Second:
		return fmt.Sprintf("%d/s", r.Count)
	case time.Minute:
		return fmt.Sprintf("%d/m", r.Count)
	case time.Hour:
		return fmt.Sprintf("%d/h", r.Count)
	case day:
		return fmt.Sprintf("%d/d", r.Count)
	default:
		return ""
	}
}

// MarshalText is the inverse of UnmarshalText.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Window is a part of every day, written "08:00-20:00", as offsets from
// midnight of budget_zone. The zero Window is the whole day. A window does
// not cross midnight, because a day's budget ends there.
type Window struct {
	From, Until time.Duration
}

// UnmarshalText parses a window; "00:00-24:00" is the whole day.
func (w *Window) UnmarshalText(text []byte) error {
	fail := notA(text, "a window of the day", `write "08:00-20:00"; it may not cross midnight, where a day's budget ends`)
	from, until, found := strings.Cut(string(text), "-")
	a, okA := clock(from)
	b, okB := clock(until)
	if !found || !okA || !okB || a >= b {
		return fail
	}
	*w = Window{From: a, Until: b}
	if a == 0 && b == day {
		*w = Window{}
	}
	return nil
}

// clock parses HH:MM; 24:00 is the end of the day.
func clock(text string) (time.Duration, bool) {
	if text == "24:00" {
		return day, true
	}
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, false
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, true
}

// IsZero reports whether the window is the whole day.
func (w Window) IsZero() bool { return w == Window{} }

// String prints the window as it is written, "" for the whole day.
func (w Window) String() string {
	if w.IsZero() {
		return ""
	}
	return hhmm(w.From) + "-" + hhmm(w.Until)
}

func hhmm(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60)
}

// MarshalText is the inverse of UnmarshalText.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// Zone is a time zone of the IANA database, written "UTC" or "Europe/Berlin".
type Zone struct{ *time.Location }

// UnmarshalText loads a zone. "Local" is refused: days would start elsewhere
// when the same file is read on another machine.
func (z *Zone) UnmarshalText(text []byte) error {
	name := string(text)
	location, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return notA(text, "a time zone known here", `write a name such as "UTC" or "Europe/Berlin"`)
	}
	*z = Zone{location}
	return nil
}

// Std returns the location, UTC for the zero Zone.
func (z Zone) Std() *time.Location {
	if z.Location == nil {
		return time.UTC
	}
	return z.Location
}

// MarshalText is the inverse of UnmarshalText.
func (z Zone) MarshalText() ([]byte, error) { return []byte(z.Std().String()), nil }

// Prefix is a network, written "10.0.0.0/8" or "2001:db8::/32"; an address
// alone is the network of that one address.
type Prefix struct{ netip.Prefix }

// UnmarshalText parses a network. Bits set beyond its length are refused:
// either the address or the length is then a slip.
func (p *Prefix) UnmarshalText(text []byte) error {
	hint := `write "10.0.0.0/8", "2001:db8::/32" or one address`
	if addr, err := netip.ParseAddr(string(text)); err == nil && addr.Zone() == "" {
		*p = Prefix{netip.PrefixFrom(addr, addr.BitLen())}
		return nil
	}
	parsed, err := netip.ParsePrefix(string(text))
	if err != nil {
		return notA(text, "a network", hint)
	}
	if parsed != parsed.Masked() {
		return notA(text, "a network: it has bits set beyond its length", "did you mean "+strconv.Quote(parsed.Masked().String())+"?")
	}
	*p = Prefix{parsed}
	return nil
}

// Prefixes returns the standard library's prefixes.
func Prefixes(list []Prefix) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		out[i] = p.Prefix
	}
	return out
}
