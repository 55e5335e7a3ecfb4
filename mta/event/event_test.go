// SPDX-License-Identifier: Apache-2.0

package event_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/codec"
	"github.com/seguemta/segue/mta/event"
)

// set gives a field a value of its own, made from n. A type that it does not
// know fails the test: whoever adds one says here what its values look like.
func set(t testing.TB, f reflect.Value, n int) {
	t.Helper()
	switch f.Interface().(type) {
	case time.Time:
		f.Set(reflect.ValueOf(time.Date(2000+n, 2, 3, 4, 5, 6, 7000, time.UTC)))
		return
	case []string:
		f.Set(reflect.ValueOf([]string{strings.Repeat("s", n), "", "z"}))
		return
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(strings.Repeat("x", n) + "\x00é")
	case reflect.Uint64:
		f.SetUint(math.MaxUint64 - uint64(n))
	case reflect.Uint32:
		f.SetUint(math.MaxUint32 - uint64(n))
	case reflect.Int, reflect.Int64:
		f.SetInt(math.MinInt64 + int64(n))
	default:
		t.Fatalf("no value for a field of type %s", f.Type())
	}
}

func full(t testing.TB) event.Event {
	t.Helper()
	var e event.Event
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		set(t, v.Field(i), i+1)
	}
	return e
}

func roundTrip(t testing.TB, e *event.Event) event.Event {
	t.Helper()
	got, err := event.Decode(e.Sequence, e.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestEveryFieldIsStored sets all fields at once, so that two which change places
// are seen, and each alone, so that one which is forgotten is named.
func TestEveryFieldIsStored(t *testing.T) {
	e := full(t)
	if got := roundTrip(t, &e); !reflect.DeepEqual(got, e) {
		t.Errorf("stored %+v\nread %+v", e, got)
	}
	for i := range reflect.TypeFor[event.Event]().NumField() {
		var e event.Event
		set(t, reflect.ValueOf(&e).Elem().Field(i), i+1)
		if got := roundTrip(t, &e); !reflect.DeepEqual(got, e) {
			t.Errorf("field %s is not stored", reflect.TypeFor[event.Event]().Field(i).Name)
		}
	}
	var zero event.Event
	if got := roundTrip(t, &zero); !reflect.DeepEqual(got, zero) {
		t.Errorf("the zero event reads as %+v", got)
	}
}

// storedAs holds that an event with sequence 9 is stored as want, and read back from it.
func storedAs(t *testing.T, e *event.Event, want string) {
	t.Helper()
	if got := hex.EncodeToString(e.Append(nil)); got != want {
		t.Fatalf("stored as %s", got)
	}
	raw, err := hex.DecodeString(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := event.Decode(9, raw); err != nil || !reflect.DeepEqual(got, *e) {
		t.Fatalf("%+v, %v", got, err)
	}
}

// TestStoredForm holds the bytes of version 1: logs on disk are read for weeks
// after an update. Another form needs another version and a reader for this one.
func TestStoredForm(t *testing.T) {
	e := event.Event{
		Sequence: 9, Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Kind: event.Deferred, Message: 1, Recipient: 2, Contact: 3,
		SegmentVersion: 4, Attempt: 5, Code: 451, Size: 6, Next: time.Date(2026, 1, 2, 3, 9, 5, 0, time.UTC),
		Address: "a", Sender: "b", Stream: "c", Segment: "d", Tier: "e", Pool: "f", Campaign: "g", Credential: "h", Metadata: "i",
		Source: "j", Provider: "k", Site: "l", Host: "m", Enhanced: "n", Reply: "o", Class: "p", Verdict: "q", Reason: "r",
		Domain: "s", Plan: "t", Token: "u", Batch: "v", Segments: []string{"w", "x"},
	}
	const want = "018ccde7e4ded7a306086465666572726564010203040a86070c80d9f482e1d7a306016101620163016401650166016701680169016a016b016c016d016e016f01700171017201730174017501760201770178"
	storedAs(t, &e, want)
}

// TestStoredFormOfRareTexts holds the bytes of version 2, which an event with any of the
// rare texts has: all of them, behind what version 1 has.
func TestStoredFormOfRareTexts(t *testing.T) {
	e := event.Event{Sequence: 9, Kind: event.Held, Subject: "a", SendingDomain: "b", Scope: "c", Hash: "d"}
	const want = "02ffffffffffffffffff010468656c6400000000000000ffffffffffffffffff0100000000000000000000000000000000000000000000000161016201630164"
	storedAs(t, &e, want)
}

// TestStoredFormOfActs holds the bytes of version 3, which an act or a recipient of a
// sample has: what version 2 has, and behind it the act's texts and the cohorts.
func TestStoredFormOfActs(t *testing.T) {
	e := event.Event{Sequence: 9, Kind: event.Held, Act: "a", Evidence: "b", Undo: "c", Sample: []string{"d", "e"}}
	const want = "03ffffffffffffffffff010468656c6400000000000000ffffffffffffffffff010000000000000000000000000000000000000000000000000000000161016201630201640165"
	storedAs(t, &e, want)
}

// TestTornValue: every prefix of a stored event is an error, none is a wrong event.
func TestTornValue(t *testing.T) {
	e := full(t)
	raw := e.Append(nil)
	for n := range raw {
		got, err := event.Decode(1, raw[:n])
		if err == nil || !reflect.DeepEqual(got, event.Event{}) {
			t.Fatalf("%d of %d bytes read as %+v", n, len(raw), got)
		}
		if n > 0 && !errors.Is(err, codec.ErrCorrupt) {
			t.Fatalf("%d of %d bytes: %v", n, len(raw), err)
		}
	}
	if _, err := event.Decode(1, append(raw, "of a newer writer"...)); err != nil {
		t.Fatalf("what a newer version appends is not left alone: %v", err)
	}
	raw[0]++
	if _, err := event.Decode(7, raw); err == nil || !strings.Contains(err.Error(), "event 7") {
		t.Fatalf("an unknown version: %v", err)
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	e := full(t)
	if got := e.Append([]byte("front")); !bytes.Equal(got, append([]byte("front"), e.Append(nil)...)) {
		t.Fatal("Append overwrites")
	}
}

// TestJSON: webhooks and the JSON log name every field, each by a name of its own.
func TestJSON(t *testing.T) {
	e := full(t)
	for i := range reflect.TypeFor[event.Event]().NumField() {
		f := reflect.TypeFor[event.Event]().Field(i)
		if v := reflect.ValueOf(&e).Elem().Field(i); v.Kind() == reflect.String {
			v.SetString(f.Name)
		}
	}
	raw, err := json.Marshal(&e)
	if err != nil {
		t.Fatal(err)
	}
	var got event.Event
	if err := json.Unmarshal(raw, &got); err != nil || !reflect.DeepEqual(got, e) {
		t.Fatalf("%s reads as %+v (%v)", raw, got, err)
	}
	if raw, err = json.Marshal(&event.Event{Kind: event.Held}); err != nil || string(raw) != `{"sequence":0,"time":"0001-01-01T00:00:00Z","kind":"held"}` {
		t.Fatalf("an event without facts: %s (%v)", raw, err)
	}
}

// TestFinal goes over the kinds as they stand in the source, so that a new one
// has to be put on one of the two sides.
func TestFinal(t *testing.T) {
	final := map[event.Kind]bool{
		event.Accepted: false, event.Delivered: true, event.Deferred: false, event.Bounced: true, event.Expired: true, event.Suppressed: true,
		event.Dropped: true, event.Held: false, event.Released: false, event.Delayed: false, event.Relaned: false, event.DSN: false, event.Complained: false,
		event.Unsubscribed: false, event.NotSpam: false, event.CaseOpened: false, event.CaseOverdue: false, event.CaseClosed: false, event.SuppressAdded: false, event.SuppressLift: false, event.Engaged: false, event.Overdraft: false,
		event.StageAdvanced: false, event.StageBack: false, event.StageHeld: false, event.StageReleased: false, event.SegmentIgnored: false,
		event.OutageBegan: false, event.OutageEnded: false, event.SuppressUndone: false,
		event.Throttled: false, event.Breaker: false, event.Sampled: false, event.ClockFrozen: false, event.ClockSettled: false,
	}
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	known := map[event.Kind]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && len(spec.Values) == 1 {
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				known[event.Kind(strings.Trim(lit.Value, `"`))] = true
			}
		}
		return true
	})
	for k := range known {
		want, listed := final[k]
		if !listed || k.Final() != want {
			t.Errorf("%s: final is %t, listed %t", k, k.Final(), listed)
		}
	}
	if len(known) != len(final) {
		t.Errorf("%d kinds in the source, %d here", len(known), len(final))
	}
	if event.Kind("of a newer version").Final() {
		t.Error("an unknown kind ends a recipient")
	}
}

// FuzzDecode: a disk can lie. What decodes is an event that is stored again as
// itself.
func FuzzDecode(f *testing.F) {
	e := full(f)
	f.Add(e.Append(nil))
	f.Add((&event.Event{Kind: event.Held}).Append(nil))
	f.Add([]byte{})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := event.Decode(1, raw)
		if err != nil {
			return
		}
		if again := roundTrip(t, &e); !reflect.DeepEqual(again, e) {
			t.Fatalf("%x reads as %+v, which reads as %+v", raw, e, again)
		}
	})
}

// Each constant of the vocabulary is in Kinds, which an operator's spelling is held against.
func TestKindsAreAll(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var declared []event.Kind
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if kind, ok := v.Type.(*ast.Ident); ok && kind.Name == "Kind" {
			name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, event.Kind(name))
		}
		return true
	})
	if len(declared) == 0 || !slices.Equal(declared, event.Kinds()) {
		t.Errorf("declared are %v, told are %v", declared, event.Kinds())
	}
}
