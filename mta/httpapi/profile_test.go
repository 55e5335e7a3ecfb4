// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// TestProfiles: what is served is what go tool pprof reads, and two do not sample
// the processor at one time.
func TestProfiles(t *testing.T) {
	t.Parallel()
	base := serve(t, Options{Methods: &fake{}, Token: token})
	get := func(path string) reply {
		return ask(t, request{url: base + path, header: map[string]string{"Authorization": "Bearer " + token}})
	}
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Fatal(err)
	}
	got := get("/debug/pprof/profile?seconds=1")
	pprof.StopCPUProfile()
	if got.status != http.StatusConflict || !strings.Contains(got.body, "one processor profile at a time") {
		t.Errorf("a second profile: %d %s", got.status, got.body)
	}
	if got := get("/debug/pprof/goroutine?debug=2"); got.status != http.StatusOK || !strings.Contains(got.body, "TestProfiles") {
		t.Errorf("goroutines: %d %s", got.status, got.body)
	}
	for path, unit := range map[string]string{"profile?seconds=1": "nanoseconds", "heap": "inuse_space"} {
		got := get("/debug/pprof/" + path)
		z, err := gzip.NewReader(strings.NewReader(got.body))
		if err != nil {
			t.Errorf("%s: %d %.40q: %v", path, got.status, got.body, err)
			continue
		}
		if text, err := io.ReadAll(z); err != nil || !bytes.Contains(text, []byte(unit)) {
			t.Errorf("%s: no profile in %d octets, %v", path, len(text), err)
		}
	}
	stopWhileProfiling(t)
}

// stopWhileProfiling: an engine that is told to stop takes no mail, so it does not
// wait for five minutes of profile. What was sampled until then is answered.
func stopWhileProfiling(t *testing.T) {
	t.Helper()
	active := make(chan struct{}, 1)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewServer(New(Options{Methods: &fake{}}), nil)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateActive {
			active <- struct{}{}
		}
	}
	srv.Start()
	defer srv.Close()
	ended := make(chan error, 1)
	go func() {
		<-active
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := srv.Config.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, srv.Config.Close())
		}
		ended <- err
	}()
	got := ask(t, request{url: srv.URL + "/debug/pprof/profile?seconds=300"})
	if err := <-ended; err != nil || got.status != http.StatusOK {
		t.Errorf("a stop while profiling: %v, %d %.40q", err, got.status, got.body)
	}
}
