// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestValues parses values of each type; an empty want is an error.
func TestValues(t *testing.T) {
	for _, x := range []struct {
		value      encoding.TextUnmarshaler
		text, want string
	}{
		{new(Duration), "90s", "1m30s"},
		{new(Duration), "30d", "30d"},
		{new(Duration), "2w", "14d"},
		{new(Duration), "1h30m", "1h30m"},
		{new(Duration), "0s", "0s"},
		{new(Duration), "1500ms", "1s500ms"},
		{new(Duration), "106751d", "106751d"},
		{new(Duration), "106752d", ""},
		{new(Duration), "9223372036854775808s", ""},
		{new(Duration), "5", ""},
		{new(Duration), "m", ""},
		{new(Duration), "5 m", ""},
		{new(Duration), "+5m", ""},
		{new(Size), "25MB", "25MB"},
		{new(Size), "64MiB", "64MiB"},
		{new(Size), "1024B", "1KiB"},
		{new(Size), "1kb", "1kB"},
		{new(Size), "0B", "0B"},
		{new(Size), "9223372036854775807B", "9223372036854775807B"},
		{new(Size), "9007199254740992KiB", ""},
		{new(Size), "-1MB", ""},
		{new(Size), "1.5GB", ""},
		{new(Rate), "100/s", "100/s"},
		{new(Rate), "600/m", "600/m"},
		{new(Rate), "5000/h", "5000/h"},
		{new(Rate), "1/d", "1/d"},
		{new(Rate), "+1/d", ""},
		{new(Rate), "-1/s", ""},
		{new(Rate), "1/", ""},
		{new(Rate), "/s", ""},
		{new(Rate), "1/s ", ""},
		{new(Window), "08:00-20:00", "08:00-20:00"},
		{new(Window), "00:00-24:00", ""},
		{new(Window), "23:59-24:00", "23:59-24:00"},
		{new(SendWindow), "08:00-20:00", "08:00-20:00"},
		{new(SendWindow), "20:00-02:00", "20:00-02:00"},
		{new(SendWindow), "00:00-24:00", ""},
		{new(Frequency), "3/7d", "3/7d"},
		{new(Frequency), "1/1h", "1/1h"},
		{new(Frequency), "1000/366d", "1000/366d"},
		{new(Zone), "UTC", "UTC"},
		{new(Zone), "", ""},
		{new(Zone), "../../etc/passwd", ""},
		{new(Prefix), "10.0.0.0/8", "10.0.0.0/8"},
		{new(Prefix), "::1", "::1/128"},
		{new(Prefix), "192.0.2.1", "192.0.2.1/32"},
		{new(Prefix), "fe80::1%eth0", ""},
		{new(Addr), "::ffff:192.0.2.1", "192.0.2.1"},
		{new(Addr), "224.0.0.1", ""},
		{new(Server), "::1", "[::1]:53"},
		{new(Server), "127.0.0.1:5353", "127.0.0.1:5353"},
		{new(Listen), ":8080", ":8080"},
		{new(Listen), "[::1]:25", "[::1]:25"},
		{new(Listen), ":0", ":0"},
		{new(Listen), "", ""},
		{new(HostPort), "SMTP.corp.example:25", "smtp.corp.example:25"},
		{new(HostPort), "[2001:db8::1]:25", "[2001:db8::1]:25"},
		{new(HostPort), "corp.example:0", ""},
		{new(HostPort), "1.2.3:25", ""},
	} {
		name := strings.TrimPrefix(fmt.Sprintf("%T %s", x.value, x.text), "*config.")
		err := x.value.UnmarshalText([]byte(x.text))
		whole := x.text == "00:00-24:00" // the whole day prints as nothing, and is no error
		if (err != nil) != (x.want == "" && !whole) {
			t.Errorf("%s: error %v, wanted %q", name, err, x.want)
			continue
		}
		if got := fmt.Sprint(x.value); err == nil && got != x.want {
			t.Errorf("%s is %q, wanted %q", name, got, x.want)
		}
	}
}

// TestValuesRoundTrip prints any duration, size, rate and window and parses
// what was printed.
func TestValuesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(time.Duration(rapid.Int64Range(0, math.MaxInt64/int64(time.Millisecond)).Draw(t, "ms")) * time.Millisecond)
		again(t, d, new(Duration))
		again(t, Size(rapid.Int64Min(0).Draw(t, "size")), new(Size))
		unit := rapid.SampledFrom([]string{"s", "m", "h", "d"}).Draw(t, "unit")
		again(t, Rate{Count: rapid.Int64Min(1).Draw(t, "count"), Per: unitOf(unit)}, new(Rate))
		from := rapid.IntRange(0, 24*60-3).Draw(t, "from")
		until := rapid.IntRange(from+2, 24*60-1).Draw(t, "until")
		again(t, Window{time.Duration(from) * time.Minute, time.Duration(until) * time.Minute}, new(Window))
		again(t, SendWindow{time.Duration(until) * time.Minute, time.Duration(from+1) * time.Minute}, new(SendWindow))
		span := time.Duration(rapid.IntRange(1, 366*24*60).Draw(t, "span")) * time.Minute
		again(t, Frequency{Count: rapid.IntRange(1, maxFrequency).Draw(t, "messages"), Per: Duration(span)}, new(Frequency))
	})
}

func again[T interface {
	comparable
	encoding.TextMarshaler
}](t *rapid.T, value T, parsed encoding.TextUnmarshaler) {
	text, err := value.MarshalText()
	if err == nil {
		err = parsed.UnmarshalText(text)
	}
	if got, ok := parsed.(interface{ MarshalText() ([]byte, error) }); err != nil || !ok {
		t.Fatalf("%v: %v", value, err)
	} else if back, err := got.MarshalText(); err != nil || string(back) != string(text) {
		t.Fatalf("%s became %s: %v", text, back, err)
	}
	if fmt.Sprintf("%#v", value) != strings.TrimPrefix(fmt.Sprintf("%#v", deref(parsed)), "&") {
		t.Fatalf("%#v became %#v", value, deref(parsed))
	}
}

func deref(v any) any {
	switch x := v.(type) {
	case *Duration:
		return *x
	case *Size:
		return *x
	case *Rate:
		return *x
	case *Window:
		return *x
	case *SendWindow:
		return *x
	case *Frequency:
		return *x
	default:
		return v
	}
}

func TestRatePerSecond(t *testing.T) {
	for text, want := range map[string]float64{"100/s": 100, "600/m": 10, "3600/h": 1, "86400/d": 1} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r.PerSecond() != want {
			t.Errorf("%s is %v a second: %v", text, r.PerSecond(), err)
		}
	}
	if (Rate{}).PerSecond() != 0 {
		t.Error("an unlimited rate has a number")
	}
}

func TestStandardTypes(t *testing.T) {
	prefix, addr := netip.MustParsePrefix("10.0.0.0/8"), netip.MustParseAddr("192.0.2.1")
	if got := Prefixes([]Prefix{{prefix}}); len(got) != 1 || got[0] != prefix {
		t.Error(got)
	}
	if got := Addrs([]Addr{{addr}}); len(got) != 1 || got[0] != addr {
		t.Error(got)
	}
	if (Zone{}).Std() != time.UTC || !(Window{}).IsZero() || !(Listen{}).IsZero() {
		t.Error("zero values are not what their comments say")
	}
}

// TestDistance compares distances with those that one counts by hand.
func TestDistance(t *testing.T) {
	for _, x := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"retry", "retry", 0},
		{"retyr", "retry", 1},
		{"weigth", "weight", 1},
		{"hostnam", "hostname", 1},
		{"kitten", "sitting", 3},
		{strings.Repeat("x", 101), "x", 100},
	} {
		if got := distance(x.a, x.b); got != x.want {
			t.Errorf("%s to %s is %d, wanted %d", x.a, x.b, got, x.want)
		}
	}
}
