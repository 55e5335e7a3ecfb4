// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// Lengths of a processor profile.
const (
	maxProfile = 5 * time.Minute
	profiled   = "application/octet-stream" // a gzipped protocol buffer, as go tool pprof reads it
)

// profileEndpoints are what net/http/pprof serves, at the paths that operators of
// Go programs know, but not open to everyone: that package registers itself
// where every handler of the process could find it.
func profileEndpoints() []endpoint {
	return []endpoint{
		{
			method: http.MethodGet, path: "/debug/pprof/profile", name: "profileCPU", text: profiled, status: http.StatusOK,
			summary: "Where processor time goes, sampled while the request lasts, for go tool pprof.",
			query:   []param{{name: "seconds", about: "how long to sample, from 1 to 300.", kind: "integer", required: true}},
			serve:   profileCPU,
		},
		{
			method: http.MethodGet, path: "/debug/pprof/{name}", name: "profile", text: profiled, status: http.StatusOK,
			summary: "A profile of the Go runtime: heap, allocs, goroutine, threadcreate, block or mutex, for go tool pprof.",
			query:   []param{{name: "debug", about: "1 or 2 for text instead.", kind: "integer"}},
			serve:   profile,
		},
	}
}

// profileCPU samples for some seconds, or until nobody waits any more or the
// engine stops, which would wait for it.
func profileCPU(s *server, w http.ResponseWriter, r *http.Request) {
	seconds, err := profileSeconds(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var text bytes.Buffer
	if err := pprof.StartCPUProfile(&text); err != nil {
		s.fail(w, r, api.Problem(http.StatusConflict, "already profiling", "one processor profile at a time: wait for the other one"))
		return
	}
	timer := time.NewTimer(seconds)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	case <-stopping(r):
	}
	pprof.StopCPUProfile()
	s.send(w, http.StatusOK, profiled, text.Bytes())
}

func profileSeconds(r *http.Request) (time.Duration, error) {
	e := profileEndpoints()[0]
	if err := e.checkQuery(r); err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(r.URL.Query().Get("seconds"), 10, 16)
	d := time.Duration(n) * time.Second
	if err != nil || d == 0 || d > maxProfile {
		return 0, bad("bad seconds", fmt.Sprintf("it is a number from 1 to %d", maxProfile/time.Second))
	}
	return d, nil
}

// profile serves what the runtime keeps all the time.
func profile(s *server, w http.ResponseWriter, r *http.Request) {
	e := profileEndpoints()[1]
	if err := e.checkQuery(r); err != nil {
		s.fail(w, r, err)
		return
	}
	names := []string{"heap", "allocs", "goroutine", "threadcreate", "block", "mutex"}
	p := pprof.Lookup(r.PathValue("name"))
	if p == nil || !slices.Contains(names, p.Name()) {
		s.fail(w, r, bad("no such profile", "it is one of: profile, "+strings.Join(names, ", ")))
		return
	}
	level, mediaType := 0, profiled
	switch debug := r.URL.Query().Get("debug"); debug {
	case "", "0":
	case "1", "2":
		level, mediaType = int(debug[0]-'0'), "text/plain; charset=utf-8"
	default:
		s.fail(w, r, bad("bad debug", "it is 0, 1 or 2"))
		return
	}
	var text bytes.Buffer
	if err := p.WriteTo(&text, level); err != nil {
		s.fail(w, r, fmt.Errorf("writing the profile: %w", err))
		return
	}
	s.send(w, http.StatusOK, mediaType, text.Bytes())
}
