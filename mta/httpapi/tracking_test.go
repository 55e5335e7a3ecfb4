// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// TestTrackingIsForStrangers: below /v1/ nobody needs the token, whatever the host
// and the origin; above it nothing has changed.
func TestTrackingIsForStrangers(t *testing.T) {
	t.Parallel()
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+" ")
		_, _ = io.Copy(w, r.Body)
	})
	for _, token := range []string{token, ""} {
		base := serve(t, Options{Methods: &fake{}, Token: token, Tracking: echo})
		for _, header := range []map[string]string{nil, {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}} {
			got := ask(t, request{method: http.MethodPost, url: base + "/v1/track", host: "track.example", header: header, body: "x"})
			if got.status != http.StatusOK || got.body != "POST /v1/track x" {
				t.Errorf("token %q, %v: %d %s", token, header, got.status, got.body)
			}
		}
		if got := ask(t, request{url: base + "/api/v1/pools", host: "track.example"}); got.status == http.StatusOK {
			t.Errorf("token %q: the engine answers strangers: %s", token, got.body)
		}
		if got := ask(t, request{url: base + "/v1/../api/v1/pools", host: "track.example"}); got.status == http.StatusOK {
			t.Errorf("token %q: the engine answers strangers by a detour: %s", token, got.body)
		}
	}
	closed := serve(t, Options{Methods: &fake{}, Token: token})
	if got := ask(t, request{method: http.MethodPost, url: closed + "/v1/track"}); got.status != http.StatusUnauthorized {
		t.Errorf("where there is no tracking API: %d", got.status)
	}
}

func TestTrackingPanicsAreAnswered(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	base := serve(t, Options{
		Methods: &fake{}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Tracking: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }),
	})
	got := ask(t, request{method: http.MethodPost, url: base + "/v1/track", body: "x"})
	if e := got.problem(t); e.Status != http.StatusInternalServerError || !strings.Contains(log.String(), "boom") {
		t.Errorf("%v, the log says %s", e, log.String())
	}
}
