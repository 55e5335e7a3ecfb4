// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// readAll gives every record that our parser makes of a text, "" joined by \x00
// for a bad one.
func readAll(comma byte, text string) ([][]string, error) {
	in, _, err := unpack(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := &csvRows{lines: &lines{in: in}, comma: comma}
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
		f.Add(byte(0), s)
		f.Add(byte(1), strings.ReplaceAll(s, ",", ";"))
	}
	f.Fuzz(func(t *testing.T, which byte, text string) {
		if strings.HasPrefix(text, "\xef\xbb\xbf") || strings.HasPrefix(text, "\x1f\x8b") {
			return
		}
		comma := delimiters[int(which)%len(delimiters)]
		got, err := readAll(comma, text)
		if err != nil {
			t.Fatal(err)
		}
		r := csv.NewReader(strings.NewReader(text))
		r.FieldsPerRecord, r.Comma = -1, rune(comma)
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
// through a row that names nothing.
func FuzzRows(f *testing.F) {
	f.Add("csv", "contacts", everyColumn)
	f.Add("csv", "", people(20, 3))
	f.Add("csv", "", "name;domain;account.plan\nAcme;acme.example;'=paid\n")
	f.Add("jsonl", "", `{"email":"a@example.com","contact.tags":["x"],"sends_since_engagement":3}`)
	f.Add("jsonl", "contacts", "{\"email\":\"a@example.com\"}\nnull\n[]\n{\"email\":{}}\n{\"user_id\":12}")
	f.Add("csv", "", manyAccounts)
	f.Add("csv", "", pyramid)
	f.Add("csv", "", doings)
	f.Add("csv", "lists", "list\temail\nbeta\ta@example.com\n")
	f.Add("jsonl", "", `{"email":"a@example.com","event":"Order","time":"2026-05-01","properties":{"total":1,"a":{"b":[]}}}`)
	f.Add("jsonl", "accounts", "{\"domain\":\"acme.example\"}\n{\"name\":\"=1+1\"}")
	schema := testOptions(f, nil).Schema
	f.Fuzz(func(t *testing.T, format, kind, text string) {
		o := ImportOptions{Reader: strings.NewReader(text), Name: "x", Format: format, Kind: kind}
		rows, _, err := openRows(schema, &o)
		if err != nil {
			return
		}
		fields := newFields(&o, rows.columns())
		for range len(text) + 2 {
			err := rows.next()
			var bad *fault
			if err != nil && !errors.As(err, &bad) {
				return
			}
			if bad != nil {
				continue
			}
			r, bad := fields.parse(rows, t0())
			switch {
			case bad != nil:
			case o.Kind == KindAccounts && r.account == "" && r.domain == "" && r.group == "",
				o.Kind == KindLists && len(r.lists) == 0,
				o.Kind == KindEvents && (r.call.Event == "" || r.call.Time.IsZero() || r.call.UserID == "" && r.call.Anonymous == "" && r.call.Email == ""),
				(o.Kind == KindContacts || o.Kind == KindLists) && (r.key == "" || r.address.IsZero() || r.key != strings.ToLower(r.key)):
				t.Fatalf("%s: row %+v", o.Kind, r)
			}
		}
		t.Fatal("the rows do not end")
	})
}

// FuzzProtect holds that no cell of an export is a formula, and that every text
// comes back as it was.
func FuzzProtect(f *testing.F) {
	for _, s := range []string{"", "=1+1", "'=1+1", "''", "'", "a=b", "\tx", "-5", "+49 30", "@x", "\r\n", "''@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cell := protect(text)
		if cell != "" && strings.ContainsAny(cell[:1], formula) {
			t.Errorf("%q is written as %q", text, cell)
		}
		if back := unprotect(cell); back != text {
			t.Errorf("%q comes back as %q", text, back)
		}
	})
}

// FuzzPropertyCell holds that a cell of a property is a value that rules know, and
// that a text in quotation marks stays a text.
func FuzzPropertyCell(f *testing.F) {
	for _, s := range []string{"7", "007", `"7"`, "true", "null", "-1e5", "[1]", `{"a":1}`, "2026-01-02", `"`, " 5 ", "NaN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		switch propertyCell(text).(type) {
		case string, bool, float64:
		default:
			t.Errorf("%q became %v", text, propertyCell(text))
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := propertyCell(string(quoted)).(string); !ok || v != strings.ToValidUTF8(text, "\uFFFD") && utf8.ValidString(text) {
			t.Errorf("%s became %v", quoted, v)
		}
	})
}
