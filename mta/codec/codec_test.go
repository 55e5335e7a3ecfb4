// SPDX-License-Identifier: Apache-2.0

package codec_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/mta/codec"
)

// field is one kind of field: what it appends for a value and what it reads.
type field struct {
	name  string
	draw  func(t *rapid.T) any
	write func(b []byte, v any) []byte
	read  func(r *codec.Reader) any
}

func fields() []field {
	return []field{
		{
			"uint", func(t *rapid.T) any { return rapid.Uint64().Draw(t, "uint") },
			func(b []byte, v any) []byte { return codec.AppendUint(b, v.(uint64)) }, func(r *codec.Reader) any { return r.Uint() },
		},
		{
			"int", func(t *rapid.T) any { return rapid.Int64().Draw(t, "int") },
			func(b []byte, v any) []byte { return codec.AppendInt(b, v.(int64)) }, func(r *codec.Reader) any { return r.Int() },
		},
		{
			"string", func(t *rapid.T) any { return rapid.String().Draw(t, "string") },
			func(b []byte, v any) []byte { return codec.AppendString(b, v.(string)) }, func(r *codec.Reader) any { return r.String() },
		},
		{
			"bytes", func(t *rapid.T) any { return rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes") },
			func(b []byte, v any) []byte { return codec.AppendBytes(b, v.([]byte)) }, func(r *codec.Reader) any { return r.Bytes() },
		},
		{
			"strings", func(t *rapid.T) any {
				list := rapid.SliceOf(rapid.String()).Draw(t, "strings")
				if len(list) == 0 {
					list = nil
				}
				return list
			},
			func(b []byte, v any) []byte { return codec.AppendStrings(b, v.([]string)) }, func(r *codec.Reader) any { return r.Strings() },
		},
		{
			"time", func(t *rapid.T) any {
				if rapid.Bool().Draw(t, "zero") {
					return time.Time{}
				}
				// Years 0 to some 30,000.
				return time.UnixMicro(rapid.Int64Range(-62_167_219_200_000_000, 900_000_000_000_000_000).Draw(t, "time")).UTC()
			},
			func(b []byte, v any) []byte { return codec.AppendTime(b, v.(time.Time)) }, func(r *codec.Reader) any { return r.Time() },
		},
		{
			"bool", func(t *rapid.T) any { return rapid.Bool().Draw(t, "bool") },
			func(b []byte, v any) []byte { return codec.AppendBool(b, v.(bool)) }, func(r *codec.Reader) any { return r.Bool() },
		},
		{
			"byte", func(t *rapid.T) any { return rapid.Byte().Draw(t, "byte") },
			func(b []byte, v any) []byte { return append(b, v.(byte)) }, func(r *codec.Reader) any { return r.Byte() },
		},
	}
}

// TestRoundTrip: any fields in any order read back as they were, and every
// shorter value is an error, after which everything reads as zero.
func TestRoundTrip(t *testing.T) {
	all := fields()
	rapid.Check(t, func(t *rapid.T) {
		var list []field
		var values []any
		var raw []byte
		for range rapid.IntRange(1, 8).Draw(t, "fields") {
			f := rapid.SampledFrom(all).Draw(t, "field")
			v := f.draw(t)
			list, values, raw = append(list, f), append(values, v), f.write(raw, v)
		}
		r := codec.NewReader(raw)
		for i, f := range list {
			if !r.More() {
				t.Fatalf("nothing is left for field %d", i)
			}
			if got := f.read(r); !equal(got, values[i]) {
				t.Fatalf("%s %v reads as %v", f.name, values[i], got)
			}
		}
		if r.More() || r.Err() != nil {
			t.Fatalf("more %t, %v", r.More(), r.Err())
		}
		cut := codec.NewReader(raw[:rapid.IntRange(0, len(raw)-1).Draw(t, "cut")])
		for _, f := range list {
			if got := f.read(cut); cut.Err() != nil && !zero(got) {
				t.Fatalf("%s reads as %v from a value that is cut short", f.name, got)
			}
		}
		if !errors.Is(cut.Err(), codec.ErrCorrupt) || cut.More() {
			t.Fatalf("a value that is cut short: %v", cut.Err())
		}
	})
}

func equal(a, b any) bool {
	if x, ok := a.([]byte); ok {
		return bytes.Equal(x, b.([]byte))
	}
	return reflect.DeepEqual(a, b)
}

func zero(v any) bool {
	s := reflect.ValueOf(v)
	return s.IsZero() || s.Kind() == reflect.Slice && s.Len() == 0
}

func TestTimeIsInWholeMicroseconds(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 891_234_567, time.FixedZone("here", 3600))
	got := codec.NewReader(codec.AppendTime(nil, at)).Time()
	if !got.Equal(at.Truncate(time.Microsecond)) || got.Location() != time.UTC {
		t.Fatal(got)
	}
	if got := codec.NewReader(codec.AppendTime(nil, time.Unix(0, 0))).Time(); got.IsZero() || got.Unix() != 0 {
		t.Fatalf("the epoch reads as %v", got)
	}
}

// TestBytesAliasAndStringsDoNot: a reader runs over memory that its owner uses again.
func TestBytesAliasAndStringsDoNot(t *testing.T) {
	raw := codec.AppendStrings(codec.AppendString(codec.AppendBytes(nil, []byte("abc")), "def"), []string{"ghi"})
	r := codec.NewReader(raw)
	b, s, list := r.Bytes(), r.String(), r.Strings()
	if _ = append(b, '!'); !slices.Equal(raw[4:8], []byte("\x03def")) {
		t.Fatal("appending to a field writes over the next one")
	}
	clear(raw)
	if string(b) != "\x00\x00\x00" || s != "def" || list[0] != "ghi" {
		t.Fatalf("%q %q %q", b, s, list)
	}
}

// TestLyingLengths: a length beyond the end costs no memory.
func TestLyingLengths(t *testing.T) {
	for _, n := range []uint64{2, 1 << 20, 1 << 40, math.MaxInt64, math.MaxUint64} {
		raw := append(codec.AppendUint(nil, n), 0)
		reads := map[string]func(r *codec.Reader) any{
			"bytes":   func(r *codec.Reader) any { return r.Bytes() },
			"string":  func(r *codec.Reader) any { return r.String() },
			"strings": func(r *codec.Reader) any { return r.Strings() },
		}
		for name, read := range reads {
			r := codec.NewReader(raw)
			if got := read(r); !zero(got) || r.Err() == nil || r.More() {
				t.Errorf("%s of length %d: %v, %v", name, n, got, r.Err())
			}
			if got := testing.AllocsPerRun(10, func() { r := codec.NewReader(raw); _ = r.Bytes(); _ = r.Strings() }); got > 2 {
				t.Errorf("%s of length %d: %v allocations", name, n, got)
			}
		}
	}
	// An overlong varint is no number.
	r := codec.NewReader(bytes.Repeat([]byte{0xff}, 11))
	if r.Uint() != 0 || r.Err() == nil {
		t.Error("an overlong varint was read")
	}
	var none codec.Reader
	if none.More() || none.Err() != nil || none.Byte() != 0 || none.Err() == nil {
		t.Error("the zero reader")
	}
}

// FuzzReader reads fields as the plan says from bytes that are anything: no
// panic, no growth, and after the first error only zero values.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, codec.AppendTime(codec.AppendString(nil, "x"), time.Unix(1, 0)))
	f.Add([]byte{4, 4}, []byte{3, 0, 0, 9})
	f.Add([]byte{2}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	all := fields()
	f.Fuzz(func(t *testing.T, plan, raw []byte) {
		r := codec.NewReader(raw)
		size := 0
		for _, c := range plan {
			field := all[int(c)%len(all)]
			bad := r.Err() != nil
			v := field.read(r)
			if (bad || r.Err() != nil) && !zero(v) {
				t.Fatalf("%s reads as %v behind an error", field.name, v)
			}
			if bad && r.Err() == nil {
				t.Fatal("an error was forgotten")
			}
			switch v := v.(type) {
			case []byte:
				size += len(v)
			case string:
				size += len(v)
			case []string:
				size += len(v)
			}
			if r.Err() != nil {
				continue
			}
			// What was read is what would be written, as far as there is one way to write it.
			if again := field.read(codec.NewReader(field.write(nil, v))); !equal(again, v) {
				t.Fatalf("%s %v is written and read as %v", field.name, v, again)
			}
		}
		if size > len(raw) {
			t.Fatalf("%d bytes came out of %d", size, len(raw))
		}
	})
}
