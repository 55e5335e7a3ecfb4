// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seguemta/segue/mta/api"
)

// problem reads the document of a refusal.
func (r reply) problem(t *testing.T) api.Error {
	t.Helper()
	var e api.Error
	if r.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("answer is %q, not a problem document: %s", r.header.Get("Content-Type"), r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &e); err != nil || e.Status != r.status {
		t.Fatalf("bad problem document %q: %v", r.body, err)
	}
	return e
}

func TestTokenIsNeeded(t *testing.T) {
	t.Parallel()
	f := &fake{}
	base := serve(t, Options{Methods: f, Token: token})
	for _, e := range table(Options{}) {
		if e.open {
			continue
		}
		for header, challenge := range map[string]string{
			"":                          `Bearer realm="segue"`,
			"Bearer":                    `Bearer realm="segue", error="invalid_token"`,
			"Bearer wrong":              `Bearer realm="segue", error="invalid_token"`,
			"Bearer " + token + "x":     `Bearer realm="segue", error="invalid_token"`,
			"Basic " + token:            `Bearer realm="segue", error="invalid_token"`,
			token:                       `Bearer realm="segue", error="invalid_token"`,
			"Bearer " + token + " more": `Bearer realm="segue", error="invalid_token"`,
		} {
			r := request{method: e.method, url: base + e.path, header: map[string]string{}}
			if header != "" {
				r.header["Authorization"] = header
			}
			got := ask(t, r)
			if got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") != challenge {
				t.Errorf("%s with %q: %d, %q", e.route(), header, got.status, got.header.Get("WWW-Authenticate"))
				continue
			}
			got.problem(t)
		}
	}
	if f.got != nil {
		t.Errorf("the engine was asked: %v", f.got)
	}
	if got := ask(t, request{url: base + "/nothing/here"}); got.status != http.StatusUnauthorized {
		t.Errorf("a path that is not there: %d, want 401", got.status)
	}
	for _, header := range []string{"Bearer " + token, "bearer " + token, "Bearer  " + token} {
		if got := ask(t, request{url: base + "/api/v1/pools", header: map[string]string{"Authorization": header}}); got.status != http.StatusOK {
			t.Errorf("%q: %d, want 200", header, got.status)
		}
	}
}

// TestOtherHosts: a name that somebody points at 127.0.0.1 reaches nothing.
func TestOtherHosts(t *testing.T) {
	t.Parallel()
	free := serve(t, Options{Methods: &fake{}})
	locked := serve(t, Options{Methods: &fake{}, Token: token})
	for host, want := range map[string]int{
		"": http.StatusOK, "localhost": http.StatusOK, "LOCALHOST:8025": http.StatusOK, "127.0.0.1": http.StatusOK, "127.8.8.8:1": http.StatusOK, "[::1]:8025": http.StatusOK, "[::1]": http.StatusOK,
		"evil.test": http.StatusMisdirectedRequest, "localhost.evil.test:8025": http.StatusMisdirectedRequest, "192.0.2.1": http.StatusMisdirectedRequest,
		"127.0.0.1.evil.test": http.StatusMisdirectedRequest, "0.0.0.0:8025": http.StatusMisdirectedRequest,
	} {
		for _, path := range []string{"/api/v1/pools", "/metrics"} {
			if got := ask(t, request{url: free + path, host: host}); got.status != want {
				t.Errorf("%s at host %q: %d, want %d", path, host, got.status, want)
			}
		}
	}
	if got := ask(t, request{url: locked + "/api/v1/pools", host: "engine.example", header: map[string]string{"Authorization": "Bearer " + token}}); got.status != http.StatusOK {
		t.Errorf("with a token any host is good: %d", got.status)
	}
}

func TestBrowsersOfOtherSites(t *testing.T) {
	t.Parallel()
	f := &fake{}
	base := serve(t, Options{Methods: f})
	for _, header := range []map[string]string{
		{"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"},
		{"Sec-Fetch-Site": "same-site", "Content-Type": "application/json"},
		{"Origin": "https://evil.test", "Content-Type": "application/json"},
	} {
		got := ask(t, request{method: http.MethodPost, url: base + "/api/v1/queue/act", body: `{"action":"drop","all":true}`, header: header})
		if got.status != http.StatusForbidden || f.got != nil {
			t.Errorf("%v: %d, the engine heard %v", header, got.status, f.got)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	base := serve(t, Options{Methods: &fake{}})
	isJSON := map[string]string{"Content-Type": "application/json"}
	for name, c := range map[string]struct {
		request
		status int
		say    string
	}{
		"no endpoint":            {request{url: "/api/v1/nothing"}, 404, "openapi.json lists them"},
		"slash at the end":       {request{url: "/api/v1/queue/"}, 404, "no such endpoint"},
		"order by GET":           {request{url: "/api/v1/sources/a1/pause"}, 405, "takes POST"},
		"unknown method":         {request{method: "PUT", url: "/api/v1/suppressions"}, 405, "takes GET and POST and DELETE"},
		"unknown parameter":      {request{url: "/api/v1/queue?sement=a"}, 400, `\"sement\" is not one of: stream, segment`},
		"parameter twice":        {request{url: "/api/v1/queue?pool=a&pool=b"}, 400, "given twice"},
		"broken escape":          {request{url: "/api/v1/queue?pool=%zz"}, 400, "bad query"},
		"semicolon":              {request{url: "/api/v1/queue?pool=a;tier=b"}, 400, "bad query"},
		"none at all":            {request{url: "/api/v1/pools?x=1"}, 400, "has none"},
		"bad state":              {request{url: "/api/v1/queue?state=gone"}, 400, "waiting, held, in_flight"},
		"bad limit":              {request{url: "/api/v1/queue?limit=0"}, 400, "from 1 to 10000"},
		"limit too large":        {request{url: "/api/v1/events?limit=10001"}, 400, "from 1 to 10000"},
		"bad after":              {request{url: "/api/v1/events?after=-1"}, 400, "bad after"},
		"bad id":                 {request{url: "/api/v1/queue/a@x.test"}, 400, "bad id"},
		"bad id of the page":     {request{url: "/api/v1/queue?after=%2e%2e%2f"}, 400, "bad id"},
		"text":                   {request{method: "POST", url: "/api/v1/queue/act", body: `{}`, header: map[string]string{"Content-Type": "text/plain"}}, 415, "Content-Type: application/json"},
		"no type":                {request{method: "POST", url: "/api/v1/queue/act", body: `{}`}, 415, "Content-Type: application/json"},
		"no JSON":                {request{method: "POST", url: "/api/v1/queue/act", body: `{`, header: isJSON}, 400, "the JSON ends in the middle"},
		"no body":                {request{method: "POST", url: "/api/v1/queue/act", header: isJSON}, 400, "there is none: send a JSON object"},
		"a list":                 {request{method: "POST", url: "/api/v1/evidence", body: `[{}]`, header: isJSON}, 400, "it is of type array: send a JSON object"},
		"another type":           {request{method: "POST", url: "/api/v1/queue/act", body: `{"reason":7}`, header: isJSON}, 400, "reason is of type number, which it cannot be"},
		"two values":             {request{method: "POST", url: "/api/v1/queue/act", body: `{"action":"drop","id":"1"} {}`, header: isJSON}, 400, "something follows"},
		"not UTF-8":              {request{method: "POST", url: "/api/v1/messages", body: "{\"to\":[\"a@x.test\"],\"raw\":\"caf\xe9\"}", header: isJSON}, 400, "octet 29 is not UTF-8"},
		"unknown field":          {request{method: "POST", url: "/api/v1/queue/act", body: `{"action":"drop","al":true}`, header: isJSON}, 400, "unknown field"},
		"unknown filter":         {request{method: "POST", url: "/api/v1/queue/act", body: `{"action":"drop","query":{"sement":"a"}}`, header: isJSON}, 400, "unknown field"},
		"unknown action":         {request{method: "POST", url: "/api/v1/queue/act", body: `{"action":"eat","all":true}`, header: isJSON}, 400, "hold, release, drop, move, retry"},
		"nothing chosen":         {request{method: "POST", url: "/api/v1/queue/act", body: `{"action":"drop"}`, header: isJSON}, 400, "names no recipients"},
		"empty query":            {request{method: "POST", url: "/api/v1/queue/act", body: `{"action":"drop","query":{}}`, header: isJSON}, 400, "names no recipients"},
		"chosen twice":           {request{method: "POST", url: "/api/v1/queue/act", body: `{"action":"drop","id":"1","all":true}`, header: isJSON}, 400, "in two ways"},
		"a page of an order":     {request{method: "POST", url: "/api/v1/queue/act", body: `{"action":"drop","query":{"limit":5}}`, header: isJSON}, 400, "leave out after and limit"},
		"move to nowhere":        {request{method: "POST", url: "/api/v1/queue/act", body: `{"action":"move","all":true}`, header: isJSON}, 400, "give a pool"},
		"hold to a pool":         {request{method: "POST", url: "/api/v1/queue/act", body: `{"action":"hold","all":true,"pool":"p"}`, header: isJSON}, 400, "only move"},
		"another source":         {request{method: "POST", url: "/api/v1/sources/a1/pause", body: `{"source":"b1"}`, header: isJSON}, 400, "not the one of the path"},
		"suppress nobody":        {request{method: "POST", url: "/api/v1/suppressions", body: `{}`, header: isJSON}, 400, "address is missing"},
		"lift nobody":            {request{method: "DELETE", url: "/api/v1/suppressions"}, 400, "missing parameter"},
		"rows as a form":         {request{method: "POST", url: "/api/v1/contacts/import?name=a", body: "email", header: map[string]string{"Content-Type": "text/plain"}}, 415, "text/csv"},
		"rows without name":      {request{method: "POST", url: "/api/v1/contacts/import", body: "email", header: map[string]string{"Content-Type": "text/csv"}}, 400, "missing parameter"},
		"rows of another kind":   {request{method: "POST", url: "/api/v1/contacts/import?name=a&format=xml", body: "email", header: map[string]string{"Content-Type": "text/csv"}}, 400, "csv or jsonl"},
		"rows of no kind":        {request{method: "POST", url: "/api/v1/contacts/import?name=a&kind=people", body: "email", header: map[string]string{"Content-Type": "text/csv"}}, 400, "contacts, accounts, events or lists"},
		"export of no kind":      {request{url: "/api/v1/contacts/export?kind=people"}, 400, "contacts, accounts, events or lists"},
		"export as xml":          {request{url: "/api/v1/contacts/export?format=xml"}, 400, "csv or jsonl"},
		"maybe zipped":           {request{url: "/api/v1/contacts/export?gzip=1"}, 400, "true or false"},
		"export of a misspelt":   {request{url: "/api/v1/contacts/export?segmnet=x"}, 400, "unknown parameter"},
		"maybe a dry run":        {request{method: "POST", url: "/api/v1/contacts/import?name=a&dry_run=1", body: "email", header: map[string]string{"Content-Type": "text/csv"}}, 400, "true or false"},
		"message to nobody":      {request{method: "POST", url: "/api/v1/messages", body: `{"raw":"x"}`, header: isJSON}, 400, "names no recipient"},
		"no message":             {request{method: "POST", url: "/api/v1/messages", body: `{"to":["a@x.test"]}`, header: isJSON}, 400, "no message"},
		"two messages":           {request{method: "POST", url: "/api/v1/messages", body: `{"to":["a@x.test"],"raw":"x","text":"y"}`, header: isJSON}, 400, "leave out"},
		"profile of no length":   {request{url: "/debug/pprof/profile"}, 400, "how long to sample"},
		"profile without end":    {request{url: "/debug/pprof/profile?seconds=301"}, 400, "from 1 to 300"},
		"profile of nothing":     {request{url: "/debug/pprof/secrets"}, 400, "heap, allocs"},
		"profile in words":       {request{url: "/debug/pprof/heap?debug=yes"}, 400, "0, 1 or 2"},
		"order too large":        {request{method: "POST", url: "/api/v1/queue/act", body: strings.Repeat(" ", maxBody+1), header: isJSON}, 413, "1048576 octets"},
		"message much too large": {request{method: "POST", url: "/api/v1/messages", body: strings.Repeat(" ", maxMessage+1), header: isJSON}, 413, "26214400 octets"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.url = base + c.url
			got := ask(t, c.request)
			if got.status != c.status || !strings.Contains(got.body, c.say) {
				t.Errorf("%d %s, want %d with %q", got.status, got.body, c.status, c.say)
			}
			got.problem(t)
		})
	}
}

// TestBodyMayBeLeftOut where an order needs none.
func TestBodyMayBeLeftOut(t *testing.T) {
	t.Parallel()
	f := &fake{}
	base := serve(t, Options{Methods: f})
	for path, want := range map[string]api.Pause{
		"/api/v1/sources/a1/pause":  {Source: "a1", Until: api.UntilResumed()},
		"/api/v1/sources/a1/resume": {Source: "a1"},
	} {
		got := ask(t, request{method: http.MethodPost, url: base + path})
		if got.status != http.StatusNoContent || len(f.got) != 1 || f.got[0] != want {
			t.Errorf("%s: %d, the engine heard %v", path, got.status, f.got)
		}
	}
}

// wild panics, and reads only the first row of an import.
type wild struct {
	fake
	panics any
}

func (w *wild) Pools(context.Context) ([]api.Pool, error) { panic(w.panics) }

func (w *wild) ImportContacts(_ context.Context, _ api.Import, rows io.Reader) (api.Imported, error) {
	line, err := bufio.NewReader(rows).ReadString('\n')
	if err != nil {
		return api.Imported{}, err
	}
	return api.Imported{}, api.Problem(http.StatusUnprocessableEntity, "unknown column", strings.TrimSpace(line))
}

func TestPanicsAreAnswered(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	base := serve(t, Options{Methods: &wild{panics: "boom"}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	got := ask(t, request{url: base + "/api/v1/pools"})
	if e := got.problem(t); e.Status != http.StatusInternalServerError || strings.Contains(e.Error(), "boom") {
		t.Errorf("got %v", e)
	}
	for _, want := range []string{"serving a request panicked", "panic=boom", `route="GET /api/v1/pools"`, "guard_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log.String())
		}
	}
	if got := ask(t, request{url: base + "/healthz"}); got.status != http.StatusOK {
		t.Errorf("after the panic: %d", got.status)
	}
}

func TestAbortStaysAbort(t *testing.T) {
	t.Parallel()
	base := serve(t, Options{Methods: &wild{panics: http.ErrAbortHandler}})
	_, err := client(t, base, "").Pools(t.Context())
	if !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("got %v, want a cut connection", err)
	}
}

// endless gives rows until told to stop, and counts them.
type endless struct {
	given atomic.Int64
	limit int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, strings.Repeat("someone@example.test\n", len(p)/21+1))
	if e.given.Add(int64(n)) > e.limit {
		return 0, io.EOF
	}
	return n, nil
}

// TestImportStreams: 64 MiB pass, more than any limit of a body.
func TestImportStreams(t *testing.T) {
	t.Parallel()
	rows := &endless{limit: 64 << 20}
	c := client(t, serve(t, Options{Methods: &counting{}}), "")
	got, err := c.ImportContacts(t.Context(), api.Import{Name: "a.csv"}, rows)
	if err != nil || got.Rows < 60<<20 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// counting counts octets without keeping them.
type counting struct{ fake }

func (*counting) ImportContacts(_ context.Context, _ api.Import, rows io.Reader) (api.Imported, error) {
	n, err := io.Copy(io.Discard, rows)
	return api.Imported{Rows: n}, err
}

// TestImportRefusedEarly: the reason arrives although the rows are still being
// sent.
func TestImportRefusedEarly(t *testing.T) {
	t.Parallel()
	c := client(t, serve(t, Options{Methods: &wild{}}), "")
	for range 20 {
		_, err := c.ImportContacts(t.Context(), api.Import{Name: "a.csv"}, &endless{limit: 1 << 40})
		var e *api.Error
		if !errors.As(err, &e) || e.Status != http.StatusUnprocessableEntity || !strings.Contains(e.Detail, "someone") {
			t.Fatalf("got %v", err)
		}
	}
}

// TestHalfABody: a client that goes away leaves an error, not a short import.
func TestHalfABody(t *testing.T) {
	t.Parallel()
	f := &fake{}
	base := serve(t, Options{Methods: f})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/v1/contacts/import?name=a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 100\r\n\r\nemail\n")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 408") {
		t.Errorf("answered %q, %v", text, err)
	}
	if f.got != nil {
		t.Errorf("half the rows were imported: %v", f.got)
	}
}
