// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// entry is the n-th of a history with one event an hour.
func entry(n int, account uint64) Entry {
	return Entry{Time: at().Add(time.Duration(n) * time.Hour).UnixMicro(), Hash: uint32(n), Account: account, Value: float64(n)}
}

// In whatever order entries come, and however often, the series is the same, and
// survives its bytes.
func TestSeriesIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfN(rapid.IntRange(0, 30), 0, 60).Draw(t, "entries")
		var s, sorted Series
		for _, n := range numbers {
			there := slices.ContainsFunc(s.Entries, func(e Entry) bool { return e.Hash == uint32(n) })
			if s.Add(entry(n, uint64(n%3))) == there {
				t.Fatalf("adding %d again: %v", n, there)
			}
		}
		slices.Sort(numbers)
		for _, n := range slices.Compact(numbers) {
			sorted.Add(entry(n, uint64(n%3)))
		}
		if !slices.Equal(s.Entries, sorted.Entries) || s.scoped != sorted.scoped {
			t.Fatalf("%v is not %v", s, sorted)
		}
		var back Series
		rest, err := back.Decode(append(s.Append(nil), "rest"...))
		if err != nil || string(rest) != "rest" || !slices.Equal(back.Entries, s.Entries) || back.scoped != s.scoped {
			t.Fatalf("%v is read as %v, %q, %v", s, back, rest, err)
		}
	})
}

// Beyond the limit the oldest become aggregates by account, which count for ever
// and in no window.
func TestSeriesDropsTheOldest(t *testing.T) {
	set := testSchema(t).CompileSet([]Definition{
		{Name: "all", Where: `events("A").count() == 2500`},
		{Name: "pair", Where: `events("A").count() == 1667 && role != "x"`}, // of no account, and of account 1
		{Name: "window", Where: `events("A").within(days(1000)).count() >= 2000 && events("A").within(days(1000)).count() < 2000`},
		{Name: "sum", Where: `events("A").sum("n") == 3123750 && events("A").avg("n") == 1249.5 && events("A").min("n") == 0 && events("A").max("n") == 2499`},
		{Name: "ends", Where: `events("A").first() == timestamp("2026-06-15T12:00:00Z") && events("A").last() == timestamp("2026-09-27T15:00:00Z")`},
		{Name: "pair ends", Where: `events("A").first() == timestamp("2026-06-15T12:00:00Z") && events("A").last() == timestamp("2026-09-27T15:00:00Z") && role != "x"`},
		{Name: "days", Where: `events("A").distinct_days() == 84`},
	})
	v := set.NewValues()
	v.Now, v.Account = at().Add(3000*time.Hour), 1
	for i := range 2500 {
		e := Event{Name: "A", Time: entry(i, 0).Time, Message: fmt.Sprint(i), Account: uint64(i % 3), Properties: map[string]Value{"n": NumberValue(float64(i))}}
		for k := range set.Series() {
			if x, ok := set.Series()[k].Entry(&e); !ok || !v.Series[k].Add(x) {
				t.Fatalf("event %d does not belong to series %d", i, k)
			}
		}
	}
	for i := range set.Len() {
		if set.Err(i) != nil || set.Rule(i).Match(v) != (i != 2) {
			for _, c := range set.Rule(i).Explain(v) {
				t.Log(c)
			}
			t.Errorf("rule %d is %v, %v", i, set.Rule(i).Match(v), set.Err(i))
		}
	}
	s := &v.Series[0]
	if len(s.Entries) != MaxEntries || len(s.Dropped) != 3 || s.Dropped[1].Account != 1 || s.Dropped[1].Count != 167 {
		t.Errorf("%d entries, dropped %+v", len(s.Entries), s.Dropped)
	}
	if !s.Add(entry(-5, 2)) || s.Dropped[2].First != entry(-5, 0).Time || s.Add(s.Entries[1000]) {
		t.Error("a late entry goes to the aggregates, one that is there nowhere")
	}
	var back Series
	if _, err := back.Decode(s.Append(nil)); err != nil || !reflect.DeepEqual(back, *s) {
		t.Errorf("a full series is read as %v", err)
	}
	for account := range uint64(100) {
		s.Add(entry(-10, 100+account))
	}
	if len(s.Dropped) != MaxAccounts {
		t.Errorf("aggregates of %d accounts are kept", len(s.Dropped))
	}
	if s.Reset(); len(s.Entries)+len(s.Dropped)+s.scoped != 0 || s.Add(Entry{Value: math.NaN()}) || s.Add(Entry{Value: math.Inf(1)}) {
		t.Error("an empty series must be empty, and take no value that is no number")
	}
}

func TestSumsStayFinite(t *testing.T) {
	set := testSchema(t).CompileSet([]Definition{{Where: `events("A").sum("n") > 1e308 && events("A").avg("n") > 1`}})
	v := set.NewValues()
	v.Now = at()
	for i := range MaxEntries + 3 {
		v.Series[0].Add(Entry{Time: int64(i), Value: 1.7e308})
	}
	if !set.Rule(0).Match(v) {
		t.Errorf("a sum beyond every number: %v", set.Rule(0).Explain(v))
	}
	var back Series
	if _, err := back.Decode(v.Series[0].Append(nil)); err != nil {
		t.Error(err)
	}
}

// FuzzSeries: whatever the bytes, they are refused, or are what the series that
// was read is written as.
func FuzzSeries(f *testing.F) {
	var s Series
	f.Add(s.Append(nil))
	for i := range 5 {
		s.Add(entry(i*i, uint64(i%2)))
		f.Add(s.Append(nil))
	}
	for i := range MaxEntries {
		s.Add(entry(100+i, 7))
	}
	f.Add(s.Append(nil))
	f.Add([]byte{seriesVersion, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{seriesVersion, 0x80, 0x00, 0x00}) // 0, not in its shortest form
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, data []byte) {
		var s Series
		rest, err := s.Decode(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) || len(s.Entries)+len(s.Dropped) != 0 {
				t.Fatalf("%v, and %v was read", err, s)
			}
			return
		}
		if again := append(s.Append(nil), rest...); !bytes.Equal(again, data) {
			t.Fatalf("%x is written as %x", data, again)
		}
		if !slices.IsSortedFunc(s.Entries, func(a, b Entry) int {
			if a.before(&b) {
				return -1
			}
			return 1
		}) || len(s.Entries) > MaxEntries {
			t.Fatal("entries out of order, or too many")
		}
		s.Add(entry(1, 1))
	})
}
