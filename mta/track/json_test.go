// SPDX-License-Identifier: Apache-2.0

package track

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// bodies are seeds: requests as the clients send them, and what is hard to read.
func bodies(t testing.TB) []string {
	list := []string{
		`{"userId":"u","event":"x","properties":{"a":[1,-0.5e-3,true,false,null,{"b":{}}]},"timestamp":"2026-11-26T11:00:00Z","sentAt":"2026-11-26T11:00:01Z"}`,
		`{"batch":[{"type":"track","userId":"u","event":"x"},{"type":"identify"},7,[],"x",null],"context":{"groupId":"g"},"writeKey":"correcthorsebattery"}`,
		"\xef\xbb\xbf{\"a\":\"\xff\xc3\x28\",\"b\":\"\\ud83d\\ude00\\ud83d\\u0041\\/\"}",
		`{"a":1e400,"b":-0,"c":0.1,"d":1E+2,"writeKey":"k"}`, `{"a":01}`, `{"a":1.}`, `{"a":+1}`, `{"":"","":1}`, "{\"a\":\"\x01\"}", `{"a":"\u12`, `[[[[`,
		`{"a":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`, `{"a":` + strings.Repeat(`{"a":`, 30) + "1" + strings.Repeat("}", 31),
		`{"a":[` + strings.Repeat("0,", maxValues) + `0]}`, "", " ", "null", "{}",
	}
	files, err := filepath.Glob("testdata/bodies/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d recorded bodies: %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(text))
	}
	return list
}

// FuzzBody: whatever body arrives, the answer is 200, 400 or 401 and JSON, each event
// that was sent is applied or named once, and no call breaks its promises.
func FuzzBody(f *testing.F) {
	for _, s := range bodies(f) {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, batch bool) {
		store := &strict{t: t}
		h := handler(t, store)
		path, sent := "/v1/track", 1
		if batch {
			path = "/v1/batch"
			if r, err := decode(body, true); err == nil {
				sent = len(r.items)
			}
		}
		w := post(t, h, path, string(body))
		switch w.Code {
		case http.StatusBadRequest, http.StatusUnauthorized:
			if store.n > 0 || !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%d after %d calls were applied: %s", w.Code, store.n, w.Body)
			}
		default:
			if named := len(answered(t, w)); named+store.n != sent {
				t.Fatalf("of %d events %d were applied and %d named", sent, store.n, named)
			}
		}
	})
}

// FuzzJSON: the parser agrees with encoding/json about what is JSON, but for its
// bounds, and about its value.
func FuzzJSON(f *testing.F) {
	for _, s := range bodies(f) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p := &parser{text: text}
		got, err := p.value(1)
		if err == nil {
			err = p.end()
		}
		if err != nil {
			if json.Valid(text) && !strings.Contains(err.Error(), "too deep") {
				t.Fatalf("%q is JSON: %v", text, err)
			}
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%q is no JSON", text)
		}
		var want any
		if p.fault != nil || json.NewDecoder(bytes.NewReader(text)).Decode(&want) != nil || twice(text) {
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q is %#v, not %#v", text, got, want)
		}
	})
}

// twice reports whether an object may have a key twice: encoding/json merges objects
// under it.
func twice(text []byte) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	seen := map[string]bool{}
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		s, ok := token.(string)
		if ok && seen[s] {
			return true
		}
		seen[s] = true
	}
}

// FuzzTime: what is read as a time is one, and can be written.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"2026-11-26T11:00:00Z", "2026-11-26 11:00:00.123456789+01:00", "2026-11-26T11:00:00-0530", "2026-11-26T11:00Z", "0000-00-00", "now", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, ok := parseTime(s)
		if !ok {
			return
		}
		if again, ok := parseTime(at.Format(time.RFC3339Nano)); at.Year() >= 0 && at.Year() <= 9999 && (!ok || !again.Equal(at)) {
			t.Fatalf("%q is %v and then %v", s, at, again)
		}
	})
}

// strict counts calls, and fails where one is not what Call says.
type strict struct {
	t testing.TB
	n int
}

func (s *strict) Ingest(_ context.Context, calls []Call) ([]error, error) {
	s.n += len(calls)
	for _, c := range calls {
		bad := ""
		switch {
		case c.MessageID == "", utf8.RuneCountInString(c.MessageID) > maxMessageID:
			bad = "messageId"
		case c.UserID == "" && c.AnonymousID == "":
			bad = "ids"
		case c.Kind == Track && c.Event == "", c.Kind == Group && c.GroupID == "", c.Kind == Alias && c.PreviousID == "", c.Kind == "":
			bad = "kind"
		case c.Time.After(c.Received), c.Received.Sub(c.Time) > maxAge:
			bad = "time"
		}
		for _, text := range []string{c.MessageID, c.UserID, c.AnonymousID, c.GroupID, c.PreviousID, c.Event, c.Name, c.Category, c.Context.GroupID, c.Context.TimeZone} {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				bad = "text"
			}
		}
		if bad != "" {
			s.t.Fatalf("%s: %+v", bad, c)
		}
	}
	return nil, nil
}
