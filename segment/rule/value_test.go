// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseValue(t *testing.T) {
	instant := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	tests := []struct {
		typ  Type
		text string
		want Value
		err  string
	}{
		{Text, " as it is ", TextValue(" as it is "), ""},
		{Text, "  ", Value{}, ""},
		{Text, "\xff", Value{}, "text is not UTF-8"},
		{Text, strings.Repeat("x", MaxText+1), Value{}, "text of 4097 bytes is longer than 4096"},
		{Number, " 12 ", NumberValue(12), ""},
		{Number, "-0.5", NumberValue(-0.5), ""},
		{Number, "1e6", NumberValue(1e6), ""},
		{Number, "-0", NumberValue(0), ""},
		{Number, "", Value{}, ""},
		{Number, "1e400", Value{}, `"1e400" is not a number (write 12, -0.5 or 1e6)`},
		{Number, "NaN", Value{}, `"NaN" is not a number (write 12, -0.5 or 1e6)`},
		{Number, "0x10", Value{}, `"0x10" is not a number (write 12, -0.5 or 1e6)`},
		{Number, "1_000", Value{}, `"1_000" is not a number (write 12, -0.5 or 1e6)`},
		{Number, "1,5", Value{}, `"1,5" is not a number (write 12, -0.5 or 1e6)`},
		{Number, "50 people", Value{}, `"50 people" is not a number (write 12, -0.5 or 1e6)`},
		{Boolean, "TRUE", BooleanValue(true), ""},
		{Boolean, "yes", BooleanValue(true), ""},
		{Boolean, "0", BooleanValue(false), ""},
		{Boolean, "maybe", Value{}, `"maybe" is not a boolean (write true or false)`},
		{Time, "2026-01-02", TimeValue(instant.Truncate(day)), ""},
		{Time, "2026-01-02 15:04:05", TimeValue(instant), ""},
		{Time, "2026-01-02T15:04:05Z", TimeValue(instant), ""},
		{Time, "2026-01-02T17:04:05.0000009+02:00", TimeValue(instant), ""},
		{Time, "02.01.2026", Value{}, `"02.01.2026" is not a time (write 2026-01-02 or 2026-01-02T15:04:05Z)`},
		{Time, "2026-02-30", Value{}, `"2026-02-30" is not a time (write 2026-01-02 or 2026-01-02T15:04:05Z)`},
		{Time, "0001-01-01", Value{}, `time "0001-01-01" is outside the years 1 to 9999`},
		{List, "b| a |b||", ListValue("a", "b"), ""},
		{List, "|", ListValue(), ""},
		{List, strings.Repeat("a|", MaxItems), Value{}, "list of 1025 items is longer than 1024"},
		{List, "a|" + strings.Repeat("x", MaxText+1), Value{}, "item 2: text of 4097 bytes is longer than 4096"},
		{Topics, "crm=0.5|erp = 2|", TopicsValue(map[string]float64{"crm": 0.5, "erp": 2}), ""},
		{Topics, "a=b=1", TopicsValue(map[string]float64{"a=b": 1}), ""},
		{Topics, "crm", Value{}, `"crm" is not a topic and its score (write crm=0.5)`},
		{Topics, "crm=high", Value{}, `topic "crm": "high" is not a number (write 12, -0.5 or 1e6)`},
		{Topics, "=1", Value{}, "a topic has no name"},
		{Topics, "a=1|a=2", Value{}, `topic "a" stands there twice`},
		{Missing, "x", Value{}, "no value can be of type missing"},
	}
	for _, tt := range tests {
		got, err := ParseValue(tt.typ, tt.text)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if !got.Equal(tt.want) || message != tt.err {
			t.Errorf("%s %q: got %v (%s), error %q, want %v, error %q", tt.typ, shorten(tt.text), got, got.Type(), message, tt.want, tt.err)
		}
	}
}

func TestParseJSON(t *testing.T) {
	tests := []struct {
		typ        Type
		data, want string // what the value prints; an error where it starts with !
	}{
		{Text, `"x"`, "x"},
		{Text, `5`, "!JSON 5 is not a text"},
		{Number, `5.50`, "5.5"},
		{Number, `"5"`, "5"},
		{Number, `true`, `!"true" is not a number (write 12, -0.5 or 1e6)`},
		{Number, `[1]`, "!JSON [1] is not a number"},
		{Boolean, ` true `, "true"},
		{Boolean, `"no"`, "false"},
		{Boolean, `1`, "!JSON 1 is not a boolean"},
		{Time, `"2026-01-02"`, "2026-01-02T00:00:00Z"},
		{Time, `1767312000`, "!JSON 1767312000 is not a time"},
		{List, `["b","a"]`, "a|b"},
		{List, `"a|b"`, "a|b"},
		{List, `[1]`, "!reading a list: json: cannot unmarshal number into Go value of type string"},
		{Topics, `{"x":1,"a":0.5}`, "a=0.5|x=1"},
		{Topics, `{"":1}`, "!a topic has no name"},
		{Topics, `[]`, "!JSON [] is not a topics"},
		{List, `null`, ""},
		{Text, ``, "!reading a text: no JSON"},
		{Text, `"`, "!reading a text: unexpected end of JSON input"},
	}
	for _, tt := range tests {
		v, err := ParseJSON(tt.typ, []byte(tt.data))
		got := v.String()
		if err != nil {
			got = "!" + err.Error()
		}
		if got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.typ, tt.data, got, tt.want)
		}
	}
}

func TestValue(t *testing.T) {
	for _, v := range []Value{NumberValue(math.NaN()), NumberValue(math.Inf(1)), TimeValue(time.Time{}), TimeValue(time.Time{}.Add(1)), TimeValue(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))} {
		if v.Type() != Missing {
			t.Errorf("%v is not missing", v)
		}
	}
	if got := TextValue("a\xffb").Text(); got != "a\ufffdb" {
		t.Errorf("text %q", got)
	}
	if got := TopicsValue(map[string]float64{"": 1, "a": math.Inf(1), "b": 2}); got.String() != "b=2" {
		t.Errorf("topics %s", got)
	}
	var none Value
	if none.Number() != 0 || none.Boolean() || !none.Time().IsZero() || none.List() != nil || none.Topics() != nil || none.String() != "" || none.Text() != "" {
		t.Error("a missing value is not empty")
	}
	if NumberValue(1).Boolean() || BooleanValue(true).Number() != 0 {
		t.Error("a value reads as another type")
	}
}

// A value survives its JSON, its text and its bytes.
func TestValueRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := generator{t: t}
		typ := Type(rapid.IntRange(int(Text), int(Topics)).Draw(t, "type"))
		v := g.value(typ, 50)
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseJSON(typ, data)
		if typ != Text && (err != nil || !back.Equal(v)) || typ == Text && strings.TrimSpace(v.Text()) != "" && !back.Equal(v) {
			t.Fatalf("%s is read from JSON as %v, %v", data, back, err)
		}
		if back, err = ParseValue(typ, v.String()); err != nil || v.String() != "" && !back.Equal(v) {
			t.Fatalf("%q is read as %v, %v", v, back, err)
		}
		back, rest, err := Decode(append(v.Append(nil), "rest"...))
		if err != nil || !back.Equal(v) || string(rest) != "rest" {
			t.Fatalf("decoded %v, %q, %v", back, rest, err)
		}
	})
}

func TestRecord(t *testing.T) {
	s := testSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		v := generator{t: t}.values(s, 30)
		contact, account := s.Encode(nil, Contact, v.Slots), s.Encode(nil, Account, v.Slots)
		back := s.NewValues()
		for _, record := range [][]byte{contact, account} {
			if err := s.Decode(record, back.Slots); err != nil {
				t.Fatal(err)
			}
		}
		for slot := range s.Len() {
			want := v.Slots[slot]
			if slot < firstAttribute {
				want = Value{} // state, not attributes
			}
			if !back.Slots[slot].Equal(want) {
				t.Fatalf("%s is %v, was %v", s.Name(slot), back.Slots[slot], want)
			}
		}
	})
}

// A record outlives the schema it was written with.
func TestRecordOfAnotherSchema(t *testing.T) {
	s := testSchema(t)
	v := s.NewValues()
	s.Set(v, "contact.status", TextValue("trial"))
	s.Set(v, "contact.visits", NumberValue(3))
	s.Set(v, "account.employees", NumberValue(50))
	record := s.Encode(nil, Contact, v.Slots)

	other, err := NewSchema([]Attribute{{"contact.visits", Text}, {"contact.new", Text}, {"contact.status", Text}})
	if err != nil {
		t.Fatal(err)
	}
	got := other.NewValues()
	if err := other.Decode(record, got.Slots); err != nil {
		t.Fatal(err)
	}
	slot, _, _ := other.Slot("contact.status")
	for i, x := range got.Slots {
		if i == slot && x.Text() != "trial" || i != slot && x.Type() != Missing {
			t.Errorf("%s is %v", other.Name(i), x)
		}
	}
	var names []string
	if err := Records(record, func(name string, _ Value) { names = append(names, name) }); err != nil || !slices.Equal(names, []string{"contact.status", "contact.visits"}) {
		t.Errorf("the record holds %v, %v", names, err)
	}
	for _, bad := range [][]byte{{9}, record[:len(record)-1], append(bytes.Clone(record), 1)} {
		if err := s.Decode(bad, v.Slots); !errors.Is(err, ErrCorrupt) {
			t.Errorf("decoding %x: %v", bad, err)
		}
	}
	if err := s.Decode(nil, v.Slots); err != nil {
		t.Errorf("an empty record: %v", err)
	}
	if s.Set(v, "contact.status", NumberValue(1)) || s.Set(v, "contact.nobody", Value{}) || !s.Set(v, "contact.status", Value{}) {
		t.Error("Set must refuse undeclared names and other types, and take missing values")
	}
	if v.Clear(); v.Slots[slot].Type() != Missing {
		t.Error("Clear left a value")
	}
}

func FuzzParseValue(f *testing.F) {
	for _, text := range []string{"", "1e6", "2026-01-02", "2026-01-02T15:04:05.123456789+02:00", "yes", "a|b| c", "crm=0.5|erp=2", "a=b=1", "|", "="} {
		for typ := Text; typ <= Topics; typ++ {
			f.Add(byte(typ), text)
		}
	}
	f.Fuzz(func(t *testing.T, typ byte, text string) {
		v, err := ParseValue(Type(typ), text)
		if err != nil {
			if v.Type() != Missing {
				t.Fatal("an error and a value")
			}
			return
		}
		if v.Type() != Missing && v.Type() != Type(typ) {
			t.Fatalf("asked for %s, got %s", Type(typ), v.Type())
		}
		again, err := ParseValue(Type(typ), v.String())
		if err != nil || !again.Equal(v) && v.String() != "" {
			t.Fatalf("%q prints as %q, which is %v, %v", text, v, again, err)
		}
		back, rest, err := Decode(v.Append(nil))
		if err != nil || len(rest) != 0 || !back.Equal(v) {
			t.Fatalf("%q decodes to %v, %v", text, back, err)
		}
		if _, err := json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDecoder holds that a decoder sets what [Schema.Decode] sets, of the wanted
// slots, record after record.
func TestDecoder(t *testing.T) {
	s := testSchema(t)
	other, err := NewSchema(append(testAttributes()[3:], Attribute{"contact.other", List}, Attribute{"contact.status", Number}))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		g := generator{t: t}
		want := rapid.SliceOfDistinct(rapid.IntRange(0, s.Len()-1), rapid.ID[int]).Draw(t, "want")
		d, got, all := s.NewDecoder(want), s.NewValues(), s.NewValues()
		for range 4 {
			from := s
			if g.chance(25) {
				from = other
			}
			record := from.Encode(nil, Contact, g.values(from, 40).Slots)
			record = append(record, from.Encode(nil, Account, g.values(from, 40).Slots)[1:]...)
			record = AppendNamed(record, "tags", ListValue("a")) // is state, not an attribute
			if g.chance(20) {                                    // most often it is no record any more
				record[rapid.IntRange(0, len(record)-1).Draw(t, "at")] ^= byte(1 + rapid.IntRange(0, 254).Draw(t, "by"))
			}
			all.Clear()
			got.ClearSlots(want)
			err, werr := d.Decode(record, got.Slots), s.Decode(record, all.Slots)
			if werr == nil && err != nil {
				t.Fatalf("%x: %v", record, err)
			}
			for slot := range all.Slots {
				if wanted := slices.Contains(want, slot); werr == nil && (wanted && !got.Slots[slot].Equal(all.Slots[slot]) || !wanted && got.Slots[slot].Type() != Missing) {
					t.Fatalf("%s of %x is %v, not %v", s.Name(slot), record, got.Slots[slot], all.Slots[slot])
				}
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, v := range []Value{{}, TextValue("ä"), NumberValue(-1.5), BooleanValue(true), TimeValue(at()), ListValue("a", "b"), TopicsValue(map[string]float64{"a": 1, "b": 2})} {
		f.Add(v.Append(nil))
	}
	f.Add([]byte{byte(List), 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{byte(Time), 0x80, 0x00})
	s := testSchema(f)
	decoder, slots := s.NewDecoder(slices.Collect(maps.Values(s.slots))), s.NewValues().Slots
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = decoder.Decode(data, slots)
		v, rest, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again := append(v.Append(nil), rest...); !bytes.Equal(again, data) {
			t.Fatalf("%x is written as %x", data, again)
		}
		_ = fmt.Sprint(v)
		_ = Records(data, func(string, Value) {})
	})
}
