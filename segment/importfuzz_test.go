// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"
)

// readAll gives every record that our parser makes of a text, "" joined by \x00
// for a bad one.
func readAll(text string) ([][]string, error) {
	in, _, err := unpack(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := &csvRows{lines: &lines{in: in}}
	var all [][]string
	for {
		err := c.record()
		var bad *fault
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case errors.As(err, &bad):
			all = append(all, nil)
		case err != nil:
			return nil, err
		default:
			all = append(all, append([]string{}, c.fields...))
		}
	}
}

// FuzzCSV compares our parser with encoding/csv.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{
		"a,b\n1,2\n", "a\r\nb\r", "\"a\"\"b\",c\n", "\"a\nb\",\"\"\n\n,\n", "a\"b,c\nd\n", "\"a\"b\nc\n", "\"a", "\"a\r\nb\"\r\n", "\n\r\n\"", "\"\"\"\n\"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.HasPrefix(text, "\xef\xbb\xbf") || strings.HasPrefix(text, "\x1f\x8b") {
			return
		}
		got, err := readAll(text)
		if err != nil {
			t.Fatal(err)
		}
		r := csv.NewReader(strings.NewReader(text))
		r.FieldsPerRecord = -1
		for i := 0; ; i++ {
			want, err := r.Read()
			if errors.Is(err, io.EOF) {
				if i != len(got) {
					t.Fatalf("%d records, want %d", len(got), i)
				}
				return
			}
			if i >= len(got) {
				t.Fatalf("record %d is missing", i)
			}
			if (err != nil) != (got[i] == nil) {
				t.Fatalf("record %d: %q, want %q, %v", i, got[i], want, err)
			}
			if err == nil && strings.Join(got[i], "\x00") != strings.Join(want, "\x00") {
				t.Fatalf("record %d: %q, want %q", i, got[i], want)
			}
		}
	})
}

// FuzzRows holds that no file makes the reader of rows panic, loop or let
// through a row without an address.
func FuzzRows(f *testing.F) {
	f.Add("csv", everyColumn)
	f.Add("csv", people(20, 3))
	f.Add("jsonl", `{"email":"a@example.com","contact.tags":["x"],"sends_since_engagement":3}`)
	f.Add("jsonl", "{\"email\":\"a@example.com\"}\nnull\n[]\n{\"email\":{}}\n{\"user_id\":12}")
	schema := testOptions(f, nil).Schema
	f.Fuzz(func(t *testing.T, format, text string) {
		o := ImportOptions{Reader: strings.NewReader(text), Name: "x", Format: format}
		rows, _, err := openRows(schema, &o)
		if err != nil {
			return
		}
		fields := newFields(rows.columns())
		for range len(text) + 2 {
			err := rows.next()
			var bad *fault
			if err != nil && !errors.As(err, &bad) {
				return
			}
			if bad != nil {
				continue
			}
			if r, bad := fields.parse(rows, t0()); bad == nil && (r.key == "" || r.address.IsZero() || r.key != strings.ToLower(r.key)) {
				t.Fatalf("row %+v", r)
			}
		}
		t.Fatal("the rows do not end")
	})
}
