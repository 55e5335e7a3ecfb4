// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzQueueQuery: what is read is written the same, and never selects more.
func FuzzQueueQuery(f *testing.F) {
	f.Add("stream=marketing&state=held&limit=5&after=1A.0")
	f.Add("address=%22a%26b%22%40x.test&domain=x.test")
	f.Add("limit=0")
	f.Add("after=../../x")
	f.Fuzz(func(t *testing.T, raw string) {
		v, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		q, err := ParseQueueQuery(v)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Status != http.StatusBadRequest {
				t.Fatalf("%v is no problem of status 400", err)
			}
			return
		}
		again, err := ParseQueueQuery(q.Values())
		if err != nil || again != q {
			t.Fatalf("%+v came back as %+v, %v", q, again, err)
		}
		for _, name := range []string{"stream", "segment", "tier", "pool", "domain", "state", "address"} {
			if v.Get(name) != q.Values().Get(name) {
				t.Fatalf("filter %s was %q, is %q", name, v.Get(name), q.Values().Get(name))
			}
		}
		if q.After != "" && strings.ContainsAny(q.After, "/?#%") {
			t.Fatalf("id %q would leave the path", q.After)
		}
	})
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1:8025":             "http://127.0.0.1:8025",
		"[::1]:8025":                 "http://[::1]:8025",
		"localhost:1":                "http://localhost:1",
		"https://mta.example":        "https://mta.example",
		"https://mta.example/segue/": "https://mta.example/segue",
		"":                           "",
		"127.0.0.1":                  "",
		":8025":                      "",
		"ftp://x:1":                  "",
		"http://":                    "",
		"http://u:p@x:1":             "",
		"http://x:1/?a=b":            "",
		"a b:1":                      "",
	} {
		c, err := NewClient(addr, "")
		switch {
		case want == "" && err == nil:
			t.Errorf("%q was taken as %q", addr, c.base)
		case want != "" && (err != nil || c.base != want):
			t.Errorf("%q: got %+v, %v, want %q", addr, c, err, want)
		}
	}
}

func TestStrangeServers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    error
		say     string
	}{
		"a page":  {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>hello")) }, ErrNoEngine, "text/html"},
		"a proxy": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad gateway", http.StatusBadGateway) }, ErrNoEngine, "502 Bad Gateway"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.test/", http.StatusFound)
		}, ErrNoEngine, "302 Found"},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`[{"name":`))
		}, nil, "reading the answer"},
		"half a problem": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			w.Write([]byte(`{"ti`))
		}, ErrNoEngine, "409 Conflict"},
		"nothing": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ErrUnreachable, "not reachable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(c.handler)
			defer srv.Close()
			client, err := NewClient(srv.URL, "secret")
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err = client.Pools(t.Context()); err == nil || (c.want != nil && !errors.Is(err, c.want)) || !strings.Contains(err.Error(), c.say) {
				t.Errorf("got %v", err)
			}
			if err = client.Suppress(t.Context(), Suppression{Address: "a@x.test"}); err == nil {
				t.Error("an order to a strange server went well")
			}
		})
	}
}

// TestErrorsNameNoAddress: what a client says of a failure can be logged.
func TestErrorsNameNoAddress(t *testing.T) {
	t.Parallel()
	c, err := NewClient("127.0.0.1:1", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Contact(t.Context(), "someone@x.test")
	if !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "someone") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.Pools(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestNamesStayInTheirPath(t *testing.T) {
	t.Parallel()
	c, err := NewClient("127.0.0.1:1", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", ".."} {
		_, err := c.Segment(t.Context(), name)
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%q: got %v", name, err)
		}
	}
	if _, err := c.QueueShow(t.Context(), "../segments"); err == nil || errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}
