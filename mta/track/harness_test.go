// SPDX-License-Identifier: Apache-2.0

package track

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

const testKey = "correcthorsebattery"

func noon() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) }

// memory is an Ingester without a disk: it knows the calls that it has seen by their
// messageId, as the contacts do.
type memory struct {
	mu    sync.Mutex
	seen  map[string]bool
	calls []Call // each once
	err   error  // of the next ones
	fault map[string]error
}

// Ingest implements Ingester.
func (m *memory) Ingest(_ context.Context, calls []Call) ([]error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	errs := make([]error, len(calls))
	for i, c := range calls {
		switch {
		case m.fault[c.UserID] != nil:
			errs[i] = m.fault[c.UserID]
		case !m.seen[c.MessageID]:
			m.seen[c.MessageID] = true
			m.calls = append(m.calls, c)
		}
	}
	return errs, nil
}

func (m *memory) take() []Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.calls
	m.calls = nil
	return list
}

func newMemory() *memory { return &memory{seen: map[string]bool{}, fault: map[string]error{}} }

// handler makes the handler with one key, and applies changes to its options.
func handler(t testing.TB, i Ingester, change ...func(*Options)) *server {
	t.Helper()
	o := Options{Ingester: i, Keys: []Key{{Name: "shop", Hash: HashKey(testKey)}}, Now: noon}
	for _, f := range change {
		f(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h.(*server)
}

func newRequest(t testing.TB, path string, body []byte) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://track.example"+path, bytes.NewReader(body))
}

// post sends a body with the key.
func post(t testing.TB, h http.Handler, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := newRequest(t, path, []byte(body))
	r.SetBasicAuth(testKey, "")
	return do(h, r)
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func packed(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// answered is the body of a 200.
func answered(t testing.TB, w *httptest.ResponseRecorder) []rejection {
	t.Helper()
	var out struct {
		Success  bool
		Rejected []rejection
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusOK || !out.Success {
		t.Fatalf("the answer is %d %s: %v", w.Code, w.Body, err)
	}
	return out.Rejected
}

// TestConversations sends what testdata/conversations says. A request is
//
//	METHOD PATH [key=KEY] [type=MEDIA_TYPE] [gzip]
//
// and its body, in which <ff> and <bom> are octets that no editor shows. The answer is
// followed by the calls that arrived at the Ingester.
func TestConversations(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/conversations", func(t *testing.T, path string) {
		t.Helper()
		store := newMemory()
		store.fault["refused"] = &EventError{"unknown_user", "nobody knows this user"}
		store.fault["broken"] = fmt.Errorf("merging: %w", http.ErrNotSupported)
		h := handler(t, store)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			return converse(t, h, store, d)
		})
	})
}

func converse(t *testing.T, h http.Handler, store *memory, d *datadriven.TestData) string {
	t.Helper()
	body := []byte(strings.NewReplacer(`<ff>`, "\xff", `<bom>`, "\xef\xbb\xbf").Replace(d.Input))
	var key, mediaType string
	d.MaybeScanArgs(t, "key", &key)
	d.MaybeScanArgs(t, "type", &mediaType)
	if d.HasArg("gzip") {
		body = packed(t, body)
	}
	r := newRequest(t, d.CmdArgs[0].Key, body)
	r.Method = d.Cmd
	if key != "" {
		r.SetBasicAuth(key, "")
	}
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	if d.HasArg("gzip") {
		r.Header.Set("Content-Encoding", "gzip")
	}
	w := do(h, r)
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", w.Code, strings.TrimSpace(w.Body.String()))
	for _, name := range []string{"Allow", "WWW-Authenticate", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers"} {
		if v := w.Header().Get(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	for _, c := range store.take() {
		b.WriteString(describe(t, c) + "\n")
	}
	return regexp.MustCompile(`segue-[A-Z2-7]{26}`).ReplaceAllString(b.String(), "segue-RANDOM")
}

// describe writes what a call says, in its order.
func describe(t testing.TB, c Call) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s by %s", c.Kind, c.MessageID, c.Key)
	for _, f := range []struct {
		name string
		v    any
	}{
		{"user", c.UserID},
		{"anonymous", c.AnonymousID},
		{"group", c.GroupID},
		{"previous", c.PreviousID},
		{"event", c.Event},
		{"name", c.Name},
		{"category", c.Category},
		{"properties", c.Properties},
		{"traits", c.Traits},
		{"context.group", c.Context.GroupID},
		{"context.traits", c.Context.Traits},
		{"ip", c.Context.IP},
		{"agent", c.Context.UserAgent},
		{"locale", c.Context.Locale},
		{"zone", c.Context.TimeZone},
		{"source", c.Context.Source},
	} {
		if f.v == "" {
			continue
		}
		text, err := json.Marshal(f.v)
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != "null" {
			fmt.Fprintf(&b, " %s=%s", f.name, text)
		}
	}
	if !c.Time.Equal(c.Received) {
		fmt.Fprintf(&b, " at=%s", c.Time.Format(time.RFC3339Nano))
	}
	return b.String()
}
