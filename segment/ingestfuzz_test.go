// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/segment/rule"
)

// corpus is every call of the conversations.
func corpus(f *testing.F) []string {
	f.Helper()
	files, _ := filepath.Glob("testdata/*")
	var lines []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a directory of the fuzzer's
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if strings.HasPrefix(line, `{"type"`) {
				lines = append(lines, line)
			}
		}
	}
	if len(lines) == 0 {
		f.Fatal("no calls in testdata")
	}
	return lines
}

// FuzzIngest holds that no call makes ingest fail: it is applied or rejected, and
// sent again it changes nothing; what is applied can be read back.
func FuzzIngest(f *testing.F) {
	f.Add(`{"type":"identify","userId":"u1","traits":{"email":"ann@example.com"}}`)
	for _, line := range corpus(f) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var w wire
		if json.Unmarshal([]byte(line), &w) != nil {
			return
		}
		k := newTalk(t)
		calls := []Call{w.call()}
		first := ingest(t, k.d, calls)
		before := dump(t, k.d)
		again := ingest(t, k.d, calls)
		if (first[0] == nil) != (again[0] == nil) {
			t.Fatalf("first %v, then %v", first[0], again[0])
		}
		same(t, "sent again", dump(t, k.d), before)
		_ = everyone(t, k.d)
	})
}

// FuzzProperties holds that properties come back from the store as they were
// read, and that no name or value is too much for it.
func FuzzProperties(f *testing.F) {
	f.Add(`{"a":{"b":{"c":1}},"d":"2026-06-01T10:00:00Z","e":[1],"f":null,"g":true}`)
	f.Add(`{"":"","a.b":1,"a":{"b":2}}`)
	f.Add(`{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var of map[string]any
		if json.Unmarshal([]byte(text), &of) != nil {
			return
		}
		e := rule.Event{Name: "X", Time: 1, Message: "m", Contact: 1, Properties: map[string]rule.Value{}}
		flatten(e.Properties, "", of, 0)
		if len(e.Properties) > maxProperties {
			t.Fatalf("%d properties", len(e.Properties))
		}
		k := newTalk(t)
		b := k.d.store.Batch()
		b.Event(1, k.d.storedEvent(&e))
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		list, err := k.d.Events(1, time.Time{}, 10)
		if err != nil || len(list) != 1 || len(list[0].Properties) != len(e.Properties) {
			t.Fatalf("%+v, %v, want %+v", list, err, e)
		}
		for name, v := range e.Properties {
			if !list[0].Properties[name].Equal(v) {
				t.Fatalf("%q is %v, was %v", name, list[0].Properties[name], v)
			}
		}
	})
}
