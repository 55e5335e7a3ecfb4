// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/api"
)

// FuzzRequests: whatever path, query and body arrive, the answer is JSON with a
// status that fits, and no GET reaches an order.
func FuzzRequests(f *testing.F) {
	f.Add("GET", "/api/v1/queue", "after=1A.0&limit=5&address=a%40x.test", "")
	f.Add("GET", "/api/v1/queue/1A.0/why", "", "")
	f.Add("GET", "/api/v1/events", "after=18446744073709551615&limit=10000", "")
	f.Add("POST", "/api/v1/queue/act", "", `{"action":"move","query":{"tier":"new"},"pool":"p"}`)
	f.Add("POST", "/api/v1/contacts/import", "name=a.csv&dry_run=true", "email\n")
	f.Add("POST", "/api/v1/sources/a%2f1/pause", "", `{"until":"2026-11-23T00:00:00Z"}`)
	f.Add("DELETE", "/api/v1/suppressions", "address=a@x.test&scope=all", "")
	f.Add("PATCH", "/%zz//..", "%", "\x00")
	engine := &fake{}
	h := New(Options{Methods: engine})
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		u, err := url.Parse("http://localhost" + path)
		if err != nil || u.Host != "localhost" {
			return
		}
		u.RawQuery = query
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil)
		r.Method, r.URL = method, u
		r.Body = http.NoBody
		if body != "" {
			r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/", strings.NewReader(body))
			r.Method, r.URL = method, u
			r.Header.Set("Content-Type", "application/json")
		}
		engine.got = nil
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError && w.Code != http.StatusServiceUnavailable {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
		if w.Code >= http.StatusBadRequest && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Fatalf("%d is %q, not a problem document", w.Code, w.Header().Get("Content-Type"))
		}
		if len(engine.got) > 0 && (method == http.MethodGet || method == http.MethodHead) {
			switch engine.got[0].(type) {
			case api.QueueAct, api.Pause, api.Suppression, api.Import, api.Message:
				t.Fatalf("a %s gave the order %+v", method, engine.got[0])
			}
		}
		if w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("not JSON: %s", w.Body)
		}
	})
}
