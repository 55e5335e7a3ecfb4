// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seguemta/segue/mta/api"
)

const token = "s3cret"

// serve starts the handler on a loopback socket and returns its URL.
func serve(t *testing.T, o Options) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewServer(New(o), nil)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

func client(t *testing.T, addr, token string) *api.Client {
	t.Helper()
	c, err := api.NewClient(addr, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// round is one method, called through the client and again on the fake.
type round struct {
	method string
	call   func(m api.Methods) (any, error)
}

func call1[T any](out T, err error) (any, error) { return out, err }

// export gives what an export said and what it wrote.
func export(ctx context.Context, m api.Methods, out api.Export) (any, error) {
	var text strings.Builder
	done, err := m.ExportContacts(ctx, out, &text)
	return []any{done, text.String()}, err
}

func rounds(ctx context.Context) []round {
	q := api.QueueQuery{Stream: "a b", Segment: "s&t", Tier: "new", Pool: "p", Domain: "x.test", State: "held", Address: "a+b@x.test", After: "1A.0", Limit: 5}
	filter := api.QueueQuery{Domain: "x.test"}
	odd := `"a/b? #%"@x.test`
	return []round{
		{"Health", func(m api.Methods) (any, error) { return call1(m.Health(ctx)) }},
		{"HealthReport", func(m api.Methods) (any, error) {
			return call1(m.HealthReport(ctx, api.HealthQuery{Name: "s&t", Source: "a1", Provider: "google", Segment: "a b"}))
		}},
		{"Acts", func(m api.Methods) (any, error) { return call1(m.Acts(ctx, api.ActQuery{})) }},
		{"Acts", func(m api.Methods) (any, error) {
			return call1(m.Acts(ctx, api.ActQuery{HealthQuery: api.HealthQuery{Segment: "s&t"}, Before: 1<<63 + 1, Limit: 7}))
		}},
		{"Clock", func(m api.Methods) (any, error) { return call1(m.Clock(ctx)) }},
		{"ConfirmClock", func(m api.Methods) (any, error) { return nil, m.ConfirmClock(ctx) }},
		{"Queue", func(m api.Methods) (any, error) { return call1(m.Queue(ctx, q)) }},
		{"Queue", func(m api.Methods) (any, error) { return call1(m.Queue(ctx, api.QueueQuery{})) }},
		{"QueueSummary", func(m api.Methods) (any, error) { return call1(m.QueueSummary(ctx)) }},
		{"QueueShow", func(m api.Methods) (any, error) { return call1(m.QueueShow(ctx, "1A.0")) }},
		{"QueueWhy", func(m api.Methods) (any, error) { return call1(m.QueueWhy(ctx, "1A.0")) }},
		{"QueueAct", func(m api.Methods) (any, error) {
			return call1(m.QueueAct(ctx, api.QueueAct{Action: "hold", Query: filter, Name: "n", Reason: "r"}))
		}},
		{"QueueAct", func(m api.Methods) (any, error) {
			return call1(m.QueueAct(ctx, api.QueueAct{Action: "move", ID: "1A.0", Pool: "p"}))
		}},
		{"QueueAct", func(m api.Methods) (any, error) {
			return call1(m.QueueAct(ctx, api.QueueAct{Action: "drop", All: true}))
		}},
		{"Segments", func(m api.Methods) (any, error) { return call1(m.Segments(ctx)) }},
		{"Segment", func(m api.Methods) (any, error) { return call1(m.Segment(ctx, "high/value trial")) }},
		{"TestSegment", func(m api.Methods) (any, error) {
			return call1(m.TestSegment(ctx, api.SegmentTest{Where: `contact.a == "b"`, Include: []string{"l & m"}, Exclude: []string{"x"}}))
		}},
		{"ExplainSegment", func(m api.Methods) (any, error) { return call1(m.ExplainSegment(ctx, "high/value trial", odd)) }},
		{"SteerBreaker", func(m api.Methods) (any, error) {
			return call1(m.SteerBreaker(ctx, api.BreakerAct{Action: "hold", Kind: "campaign", Name: "a/b", Until: day, By: "ann", Reason: "r"}))
		}},
		{"RebuildSegment", func(m api.Methods) (any, error) { return nil, m.RebuildSegment(ctx, "high/value trial") }},
		{"Contact", func(m api.Methods) (any, error) { return call1(m.Contact(ctx, odd)) }},
		{"ImportContacts", func(m api.Methods) (any, error) {
			return call1(m.ImportContacts(ctx, api.Import{Name: "c d.csv", Format: "csv", Batch: "b&c", DryRun: true}, strings.NewReader("email\na@x.test\n")))
		}},
		{"ImportContacts", func(m api.Methods) (any, error) {
			return call1(m.ImportContacts(ctx, api.Import{Name: "a", Kind: "lists", List: "b & c", Delimiter: "tab", Raw: true}, strings.NewReader("a@x.test\n")))
		}},
		{"ExportContacts", func(m api.Methods) (any, error) { return export(ctx, m, api.Export{}) }},
		{"ExportContacts", func(m api.Methods) (any, error) {
			return export(ctx, m, api.Export{Kind: "events", Segment: "s&t", Format: "jsonl", Gzip: true, Raw: true})
		}},
		{"EraseContact", func(m api.Methods) (any, error) {
			return call1(m.EraseContact(ctx, api.Erase{Contact: odd}))
		}},
		{"Pools", func(m api.Methods) (any, error) { return call1(m.Pools(ctx)) }},
		{"Sources", func(m api.Methods) (any, error) { return call1(m.Sources(ctx)) }},
		{"Source", func(m api.Methods) (any, error) { return call1(m.Source(ctx, "a1")) }},
		{"PauseSource", func(m api.Methods) (any, error) {
			return nil, m.PauseSource(ctx, api.Pause{Source: "a1", Provider: "google", Until: day})
		}},
		{"PauseSource", func(m api.Methods) (any, error) {
			return nil, m.PauseSource(ctx, api.Pause{Source: "a1", Provider: "google"})
		}},
		{"Providers", func(m api.Methods) (any, error) { return call1(m.Providers(ctx)) }},
		{"Provider", func(m api.Methods) (any, error) { return call1(m.Provider(ctx, "a/b")) }},
		{"CancelLimits", func(m api.Methods) (any, error) {
			return call1(m.CancelLimits(ctx, api.LimitCancel{Provider: "google", Source: "a1", Segment: "s&t", By: "ann"}))
		}},
		{"CancelLimits", func(m api.Methods) (any, error) {
			return call1(m.CancelLimits(ctx, api.LimitCancel{Provider: "google", Lane: "marketing//active/p"}))
		}},
		{"PinLimits", func(m api.Methods) (any, error) {
			return call1(m.PinLimits(ctx, api.LimitPin{Provider: "google", Source: "a1", Rate: 0.5, Connections: 2, PerConnection: 3, Suspend: true, Off: true, By: "ann", Reason: odd}))
		}},
		{"ReloadThrottleRules", func(m api.Methods) (any, error) { return call1(m.ReloadThrottleRules(ctx)) }},
		{"Warmup", func(m api.Methods) (any, error) { return call1(m.Warmup(ctx)) }},
		{"SteerWarmup", func(m api.Methods) (any, error) {
			return nil, m.SteerWarmup(ctx, api.WarmupAct{Action: "step-back", Source: "a1", Provider: "google", By: "ann", Reason: "r"})
		}},
		{"AddEvidence", func(m api.Methods) (any, error) {
			return call1(m.AddEvidence(ctx, api.Evidence{Rows: []api.EvidenceRow{
				{Kind: "postmaster", Key: "example.com", Day: "2026-11-23", SpamRate: 0.001}, {Kind: "snds", Key: "192.0.2.1", Day: "2026-11-23", Filter: "green", ComplaintRate: 0.002},
			}}))
		}},
		{"Suppressions", func(m api.Methods) (any, error) {
			return call1(m.Suppressions(ctx, api.SuppressionQuery{Address: odd, Limit: 3}))
		}},
		{"TokenKeys", func(m api.Methods) (any, error) { return call1(m.TokenKeys(ctx)) }},
		{"RotateTokens", func(m api.Methods) (any, error) { return call1(m.RotateTokens(ctx)) }},
		{"Feedback", func(m api.Methods) (any, error) {
			return call1(m.Feedback(ctx, api.Feedback{ID: "x 1", Kind: "complaint", Type: "fraud", Address: odd, Time: day}))
		}},
		{"Feedback", func(m api.Methods) (any, error) {
			return call1(m.Feedback(ctx, api.Feedback{ID: "x", Kind: "bounce", ReturnPath: "b@x.test", Reply: "550 no"}))
		}},
		{"Complaints", func(m api.Methods) (any, error) {
			return call1(m.Complaints(ctx, api.ComplaintQuery{Status: "overdue", Segment: "s&t", Before: 1 << 63, Limit: 3}))
		}},
		{"Complaint", func(m api.Methods) (any, error) { return call1(m.Complaint(ctx, 1<<63)) }},
		{"CloseComplaint", func(m api.Methods) (any, error) {
			return call1(m.CloseComplaint(ctx, api.ComplaintClose{ID: 7, Note: "called them"}))
		}},
		{"ComplaintReport", func(m api.Methods) (any, error) { return call1(m.ComplaintReport(ctx, 30)) }},
		{"Suppress", func(m api.Methods) (any, error) {
			return nil, m.Suppress(ctx, api.Suppression{Address: odd, Reason: "manual", Scope: "stream:marketing", Evidence: "asked", Expires: day})
		}},
		{"Lift", func(m api.Methods) (any, error) {
			return nil, m.Lift(ctx, api.Suppression{Address: odd, Scope: "all", Source: "ann", Evidence: "it asked"})
		}},
		{"ImportSuppressions", func(m api.Methods) (any, error) {
			return call1(m.ImportSuppressions(ctx, api.SuppressionImport{Name: "x.csv", Format: "ses", Reason: "manual", Scope: "all", Expires: day.Truncate(time.Second), DryRun: true}, strings.NewReader("a@x.test\n")))
		}},
		{"ExportSuppressions", func(m api.Methods) (any, error) {
			var text strings.Builder
			done, err := m.ExportSuppressions(ctx, api.SuppressionExport{Format: "jsonl", Reason: "manual", Scope: "all", Raw: true}, &text)
			return []any{text.String(), done}, err
		}},
		{"UndoSuppressions", func(m api.Methods) (any, error) {
			return call1(m.UndoSuppressions(ctx, api.Undo{Provider: "google", Since: day, Until: day, Reason: odd, DryRun: true}))
		}},
		{"ReloadBounceRules", func(m api.Methods) (any, error) { return call1(m.ReloadBounceRules(ctx)) }},
		{"ClassifyReply", func(m api.Methods) (any, error) {
			return call1(m.ClassifyReply(ctx, api.Reply{Provider: "google", Text: odd}))
		}},
		{"Events", func(m api.Methods) (any, error) { return call1(m.Events(ctx, 1<<63, 7)) }},
		{"Submit", func(m api.Methods) (any, error) {
			return call1(m.Submit(ctx, api.Message{From: "s@x.test", To: []string{"a@x.test"}, Raw: "Subject: x\r\n\r\n\x00ü", Campaign: "c"}))
		}},
	}
}

// TestRoundTrips: asked over HTTP, an engine hears and says what it would at
// hand.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	far := &fake{health: api.Health{Ready: true, Version: "1", Started: day, Problems: []string{}, Warnings: []string{}}}
	c := client(t, serve(t, Options{Methods: far, Token: token}), token)
	near := &fake{health: far.health}
	met := make(map[string]bool)
	for _, r := range rounds(t.Context()) {
		met[r.method] = true
		want, wantErr := r.call(near)
		got, gotErr := r.call(c)
		if wantErr != nil || gotErr != nil {
			t.Errorf("%s: %v, %v", r.method, wantErr, gotErr)
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", r.method, got, want)
		}
		if !reflect.DeepEqual(far.got, near.got) {
			t.Errorf("%s: the engine heard %+v, want %+v", r.method, far.got, near.got)
		}
	}
	for m := range reflect.TypeFor[api.Methods]().Methods() {
		if !met[m.Name] {
			t.Errorf("method %s has no round trip: add it to rounds", m.Name)
		}
	}
}

// TestProblemsTravel: an Error of the engine arrives as the same Error, any
// other as a 500 that says nothing of the inside.
func TestProblemsTravel(t *testing.T) {
	t.Parallel()
	far := &fake{}
	var log strings.Builder
	c := client(t, serve(t, Options{Methods: far, Logger: slog.New(slog.NewTextHandler(&log, nil))}), "")
	for _, r := range rounds(t.Context()) {
		far.err = api.Problem(http.StatusConflict, "no such thing", "say another")
		_, err := r.call(c)
		var e *api.Error
		if !errors.As(err, &e) || !reflect.DeepEqual(e, far.err) {
			t.Errorf("%s: got %v (%T), want %v", r.method, err, err, far.err)
		}
		far.err = errors.New("disk of secret is full")
		_, err = r.call(c)
		if !errors.As(err, &e) || e.Status != http.StatusInternalServerError || strings.Contains(e.Error(), "secret") {
			t.Errorf("%s: got %v, want a 500 without the inside", r.method, err)
		}
	}
	if !strings.Contains(log.String(), "disk of secret is full") {
		t.Error("the log does not say what failed")
	}
}

func TestListsAreNeverNull(t *testing.T) {
	t.Parallel()
	base := serve(t, Options{Methods: &fake{bare: true, health: api.Health{Ready: true}}})
	for _, path := range []string{
		"/readyz", "/api/v1/queue", "/api/v1/queue/summary", "/api/v1/queue/1A.0", "/api/v1/segments", "/api/v1/segments/s", "/api/v1/segments/s/explain?address=a@x.test", "/api/v1/contacts/a@x.test",
		"/api/v1/pools", "/api/v1/sources", "/api/v1/sources/a", "/api/v1/warmup", "/api/v1/providers", "/api/v1/providers/a", "/api/v1/suppressions", "/api/v1/events",
	} {
		if got := ask(t, request{url: base + path}); got.status != http.StatusOK || strings.Contains(got.body, "null") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

// request is a request as a stranger writes it.
type request struct {
	method, url, body string
	header            map[string]string
	host              string
}

type reply struct {
	status int
	header http.Header
	body   string
}

func ask(t *testing.T, r request) reply {
	t.Helper()
	if r.method == "" {
		r.method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	if r.host != "" {
		req.Host = r.host
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

func TestOpenWithoutToken(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "segue_test_total", Help: "A test."})
	reg.MustRegister(c)
	f := &fake{health: api.Health{Problems: []string{"the disk is full"}}}
	base := serve(t, Options{Methods: f, Token: token, Metrics: reg})
	if got := ask(t, request{url: base + "/healthz"}); got.status != http.StatusOK || got.body != "ok\n" {
		t.Errorf("healthz: %+v", got)
	}
	if got := ask(t, request{url: base + "/readyz"}); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "the disk is full") {
		t.Errorf("readyz of an engine that is not: %+v", got)
	}
	if h, err := client(t, base, "").Health(t.Context()); err != nil || h.Ready || len(h.Problems) != 1 {
		t.Errorf("the client reads %+v, %v", h, err)
	}
	f.health.Ready = true
	if got := ask(t, request{url: base + "/readyz"}); got.status != http.StatusOK {
		t.Errorf("readyz of an engine that is: %+v", got)
	}
	if got := ask(t, request{url: base + "/metrics"}); got.status != http.StatusOK || !strings.Contains(got.body, "segue_test_total 0") {
		t.Errorf("metrics: %+v", got)
	}
}
