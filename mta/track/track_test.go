// SPDX-License-Identifier: Apache-2.0

package track

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// event is a track call whose text has a number of octets.
func event(size int, more string) string {
	head, tail := `{"type":"track","userId":"u","event":"x",`+more+`"properties":{"s":"`, `"}}`
	return head + strings.Repeat("a", size-len(head)-len(tail)) + tail
}

func batchText(events ...string) string { return `{"batch":[` + strings.Join(events, ",") + `]}` }

// TestLimits: an event that is too large is named, a request that is too large is 400,
// and both are taken at their limit.
func TestLimits(t *testing.T) {
	t.Parallel()
	many := func(n int) string {
		const one = `{"type":"track","userId":"u","event":"x"}`
		return batchText(one + strings.Repeat(","+one, n-1))
	}
	full := batchText(event(maxEvent, ""), event(maxEvent, "")) // padded to the octet below
	pad := func(n int) string { return full + strings.Repeat(" ", n-len(full)) }
	for _, c := range []struct {
		name, path, body string
		status           int
		applied          int
		code             string
	}{
		{"event at its limit", "/v1/track", event(maxEvent, ""), 200, 1, ""},
		{"event over it", "/v1/track", event(maxEvent+1, ""), 200, 0, "too_large"},
		{"one of a batch over it", "/v1/batch", batchText(event(maxEvent+1, ""), event(200, "")), 200, 1, "too_large"},
		{"events at their limit", "/v1/batch", many(maxBatch), 200, maxBatch, ""},
		{"one more", "/v1/batch", many(maxBatch + 1), 400, 0, ""},
		{"body at its limit", "/v1/batch", pad(maxBody), 200, 2, ""},
		{"body over it", "/v1/batch", pad(maxBody + 1), 400, 0, ""},
		{"depth at its limit", "/v1/track", nested(maxDepth - 1), 200, 1, ""},
		{"deeper", "/v1/track", nested(maxDepth), 200, 0, "too_deep"},
		{"values at their limit", "/v1/track", wide(maxValues - 4), 200, 1, ""},
		{"one more value", "/v1/track", wide(maxValues - 3), 200, 0, "too_many_values"},
		{"messageId at its limit", "/v1/track", event(400, `"messageId":"`+strings.Repeat("ü", maxMessageID)+`",`), 200, 1, ""},
		{"one character more", "/v1/track", event(400, `"messageId":"`+strings.Repeat("ü", maxMessageID+1)+`",`), 200, 0, "bad_message_id"},
		{"name too long", "/v1/track", `{"userId":"u","event":"` + strings.Repeat("x", maxText+1) + `"}`, 200, 0, "too_long"},
	} {
		for _, how := range []string{"plain", "gzip", "without length"} {
			t.Run(c.name+", "+how, func(t *testing.T) {
				t.Parallel()
				store := newMemory()
				h := handler(t, store)
				w := do(h, sent(t, c.path, c.body, how))
				if w.Code != c.status {
					t.Fatalf("%d, not %d: %s", w.Code, c.status, w.Body)
				}
				if n := len(store.take()); n != c.applied {
					t.Errorf("%d events are applied, not %d", n, c.applied)
				}
				if c.status == 200 {
					list := answered(t, w)
					if c.code == "" != (len(list) == 0) || len(list) > 0 && list[0].Code != c.code {
						t.Errorf("named are %+v, wanted %q", list, c.code)
					}
				}
				if used := h.memory.used.Load(); used != 0 {
					t.Errorf("%d octets are not given back", used)
				}
			})
		}
	}
}

// nested is an event whose properties nest; wide one with that many values in a list.
func nested(n int) string {
	return `{"userId":"u","event":"x","properties":{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}}`
}

func wide(n int) string {
	return `{"userId":"u","event":"x","properties":{"a":[` + strings.TrimSuffix(strings.Repeat("1,", n), ",") + `]}}`
}

func sent(t *testing.T, path, body, how string) *http.Request {
	t.Helper()
	text := []byte(body)
	if how == "gzip" {
		text = packed(t, text)
	}
	r := newRequest(t, path, text)
	r.SetBasicAuth(testKey, "")
	switch how {
	case "gzip":
		r.Header.Set("Content-Encoding", "gzip")
	case "without length":
		r.ContentLength = -1
	}
	return r
}

// TestGzip: what counts is what comes out, and what is damaged is no body.
func TestGzip(t *testing.T) {
	t.Parallel()
	store := newMemory()
	h := handler(t, store)
	bomb := packed(t, []byte(strings.Repeat(" ", 8<<20)))
	good := packed(t, []byte(event(5000, "")))
	for name, text := range map[string][]byte{"bomb": bomb, "cut": good[:len(good)-9], "plain text": []byte(event(500, "")), "empty": nil} {
		r := newRequest(t, "/v1/track", text)
		r.SetBasicAuth(testKey, "")
		r.Header.Set("Content-Encoding", "gzip")
		if w := do(h, r); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	r := newRequest(t, "/v1/track", good)
	r.SetBasicAuth(testKey, "")
	r.Header.Set("Content-Encoding", "br")
	if w := do(h, r); w.Code != http.StatusBadRequest {
		t.Errorf("br: %d %s", w.Code, w.Body)
	}
	if n := len(store.take()); n != 0 {
		t.Errorf("%d events are applied", n)
	}
	if peak := h.memory.used.Load(); peak != 0 {
		t.Errorf("%d octets are not given back", peak)
	}
}

// TestMemoryIsBounded: where others hold all the memory a client is asked to come
// again, and nothing of its body is read.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	store := newMemory()
	h := handler(t, store)
	h.memory.used.Store(bodyMemory - 100)
	w := post(t, h, "/v1/track", event(500, ""))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || h.memory.used.Load() != bodyMemory-100 {
		t.Errorf("%d %v, %d octets are taken", w.Code, w.Header(), h.memory.used.Load())
	}
	h.memory.used.Store(0)
	if w := post(t, h, "/v1/track", event(500, "")); w.Code != http.StatusOK {
		t.Errorf("with memory again: %d %s", w.Code, w.Body)
	}
}

// TestDurable: 200 is written when the Ingester has returned, not before.
func TestDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := handler(t, slow(func() ([]error, error) { <-release; return nil, nil }))
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			r := newRequest(t, "/v1/track", []byte(event(200, "")))
			r.SetBasicAuth(testKey, "")
			h.ServeHTTP(w, r)
			close(done)
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Errorf("answered %d before the event was durable", w.Code)
		default:
		}
		close(release)
		<-done
		if w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

type slow func() ([]error, error)

func (f slow) Ingest(context.Context, []Call) ([]error, error) { return f() }

// TestTurns: bodies are parsed some at a time, and who waits too long comes again.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := handler(t, slow(func() ([]error, error) { <-release; return nil, nil }))
		codes := make(chan int, smallAtOnce+1)
		for range smallAtOnce + 1 {
			go func() {
				r := newRequest(t, "/v1/track", []byte(event(200, "")))
				r.SetBasicAuth(testKey, "")
				codes <- do(h, r).Code
			}()
		}
		if code := <-codes; code != http.StatusServiceUnavailable {
			t.Errorf("the one too many is answered %d", code)
		}
		close(release)
		for range smallAtOnce {
			if code := <-codes; code != http.StatusOK {
				t.Errorf("another is answered %d", code)
			}
		}
	})
}

// TestCannotStore: a store that fails and a disk without room are 503, and the
// client comes again.
func TestCannotStore(t *testing.T) {
	t.Parallel()
	store := newMemory()
	var full error
	reg := prometheus.NewPedanticRegistry()
	var log strings.Builder
	h := handler(t, store, func(o *Options) {
		o.Room = func() error { return full }
		o.Registerer = reg
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	again := func(what string) {
		t.Helper()
		w := post(t, h, "/v1/batch", batchText(event(200, `"messageId":"m",`), `{"type":"track"}`))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %v %s", what, w.Code, w.Header(), w.Body)
		}
	}
	store.err = errors.New("disk on fire")
	again("a store that fails")
	again("and fails")
	if n := strings.Count(log.String(), "disk on fire"); n != 1 {
		t.Errorf("the log says it %d times: %s", n, log.String())
	}
	store.err, full = nil, errors.New("no room")
	again("no room")
	full = nil
	if list := answered(t, post(t, h, "/v1/batch", batchText(event(200, `"messageId":"m",`), `{"type":"track"}`))); len(list) != 1 || len(store.take()) != 1 {
		t.Errorf("with room again: %+v", list)
	}
	want := `
# HELP segue_tracking_events_total Events of the tracking API, each time that they came. Rejected ones are lost, the client was told why; limited and failed ones come again.
# TYPE segue_tracking_events_total counter
segue_tracking_events_total{kind="track",result="accepted"} 1
segue_tracking_events_total{kind="track",result="failed"} 4
segue_tracking_events_total{kind="track",result="rejected"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "segue_tracking_events_total"); err != nil {
		t.Error(err)
	}
}

// TestRate: a key has its share per second, a batch is taken whole and paid for
// afterwards, and one key does not take from another.
func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		h := handler(t, store, func(o *Options) {
			o.Keys = []Key{{"slow", HashKey(testKey), 10}, {"other", HashKey("another horse battery"), 10}}
		})
		batch := batchText(event(100, "") + strings.Repeat(","+event(100, ""), 24))
		ask := func(key string) *httptest.ResponseRecorder {
			r := newRequest(t, "/v1/batch", []byte(batch))
			r.SetBasicAuth(key, "")
			return do(h, r)
		}
		answered(t, ask(testKey))
		w := ask(testKey)
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "2" || w.Header().Get("X-RateLimit-Reset") != "2" {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		answered(t, ask("another horse battery"))
		time.Sleep(1500 * time.Millisecond)
		if w := ask(testKey); w.Code != http.StatusTooManyRequests {
			t.Errorf("before the debt is paid: %d", w.Code)
		}
		time.Sleep(500 * time.Millisecond)
		answered(t, ask(testKey))
	})
}

// TestHalfABody: a body that breaks off is never 200.
func TestHalfABody(t *testing.T) {
	t.Parallel()
	store := newMemory()
	h := handler(t, store)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://track.example/v1/track",
		io.MultiReader(strings.NewReader(event(300, "")), iotest.ErrReader(io.ErrUnexpectedEOF)))
	r.SetBasicAuth(testKey, "")
	if w := do(h, r); w.Code != http.StatusBadRequest || len(store.take()) != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	key := NewKey()
	if len(key) < MinKey || key == NewKey() {
		t.Errorf("a key is %q", key)
	}
	// printf %s correcthorsebattery | sha256sum
	if got := HashKey(testKey); got != "sha256:10ef1b051eb9faeb589d9c44463334db3ae84035b431b6fca397c35506b18fc4" {
		t.Errorf("a hash is %q", got)
	}
	for name, keys := range map[string][]Key{
		"none":      nil,
		"no hash":   {{Name: "a", Hash: testKey}},
		"too short": {{Name: "a", Hash: hashPrefix + "00"}},
		"the same":  {{Name: "a", Hash: HashKey(testKey)}, {Name: "b", Hash: HashKey(testKey)}},
	} {
		if _, err := New(Options{Ingester: newMemory(), Keys: keys}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	store := newMemory()
	h := handler(t, store, func(o *Options) { o.Keys = append(o.Keys, Key{Name: "new", Hash: HashKey(key)}) })
	r := newRequest(t, "/v1/track", []byte(event(200, "")))
	r.SetBasicAuth(key, "")
	answered(t, do(h, r))
	if c := store.take(); len(c) != 1 || c[0].Key != "new" {
		t.Errorf("by %+v", c)
	}
}

// BenchmarkBatch is a batch of 100 events of Segment's client, without the store.
func BenchmarkBatch(b *testing.B) {
	h := handler(b, slow(func() ([]error, error) { return nil, nil }))
	const one = `{"timestamp":"2026-11-26T11:42:26.243Z","integrations":{},"event":"Report Opened","type":"track","properties":{"n":3,"title":"Übersicht","plan":"pro"},"context":{"groupId":"account-3","library":{"name":"@segment/analytics-node","version":"2.3.0"}},"userId":"user-3","messageId":"node-next-1795704146243-b08d22b3-ba16-44c1-96b9-8e7bfd97a92d","_metadata":{"nodeVersion":"v20.20.2","jsRuntime":"node"}}`
	body := batchText(one + strings.Repeat(","+one, 99))
	b.ReportAllocs()
	for b.Loop() {
		if w := post(b, h, "/v1/batch", body); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/event")
}
