// SPDX-License-Identifier: Apache-2.0

package public

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// office knows the tokens "good" and "broken", and counts who unsubscribed.
type office struct {
	mu   sync.Mutex
	gone []string
	now  time.Time
}

func (o *office) Check(token string) error {
	if token != "good" && token != "broken" {
		return fmt.Errorf("%w: the key is secret", ErrUnknown)
	}
	return nil
}

func (o *office) Unsubscribe(_ context.Context, token string) error {
	if err := o.Check(token); err != nil {
		return err
	}
	if token == "broken" {
		return errors.New("the disk of secret is full")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone = append(o.gone, token)
	return nil
}

// asked is a request and what has to come of it.
type asked struct {
	method, path, kind, body string
	status                   int
	holds                    string
	unsubscribes             bool
}

const (
	urlencoded = "application/x-www-form-urlencoded"
	oneClickIs = "List-Unsubscribe=One-Click"
)

func serve(h http.Handler, a asked, head http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(a.method, a.path, strings.NewReader(a.body))
	maps.Copy(r.Header, head)
	if a.kind != "" {
		r.Header.Set("Content-Type", a.kind)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestRequests(t *testing.T) {
	var form bytes.Buffer
	mw := multipart.NewWriter(&form)
	if err := errors.Join(mw.WriteField("List-Unsubscribe", "One-Click"), mw.Close()); err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]asked{
		"one click":                  {"POST", "/u/good", urlencoded, oneClickIs, 200, "unsubscribed", true},
		"one click, multipart":       {"POST", "/u/good", mw.FormDataContentType(), form.String(), 200, "unsubscribed", true},
		"one click with a charset":   {"POST", "/u/good", urlencoded + "; charset=utf-8", oneClickIs, 200, "unsubscribed", true},
		"the button of the page":     {"POST", "/u/good", urlencoded, oneClickIs, 200, "unsubscribed", true},
		"a look":                     {"GET", "/u/good", "", "", 200, `<form method="post">`, false},
		"a look at the head":         {"HEAD", "/u/good", "", "", 200, "", false},
		"a look with the form":       {"GET", "/u/good?" + oneClickIs, "", "", 200, "<form", false},
		"a look with a body":         {"GET", "/u/good", urlencoded, oneClickIs, 200, "<form", false},
		"forged":                     {"POST", "/u/evil", urlencoded, oneClickIs, 404, "leads nowhere", false},
		"forged look":                {"GET", "/u/evil", "", "", 404, "leads nowhere", false},
		"forged, whatever it brings": {"POST", "/u/evil", "", strings.Repeat("x", 100_000), 404, "leads nowhere", false},
		"no token":                   {"POST", "/u/", urlencoded, oneClickIs, 404, "", false},
		"more than a token":          {"POST", "/u/good/more", urlencoded, oneClickIs, 404, "", false},
		"a long token":               {"POST", "/u/" + strings.Repeat("a", 5000), urlencoded, oneClickIs, 404, "", false},
		"another path":               {"GET", "/metrics", "", "", 404, "leads nowhere", false},
		"the root":                   {"GET", "/", "", "", 404, "leads nowhere", false},
		"form in the query":          {"POST", "/u/good?" + oneClickIs, urlencoded, "", 400, "", false},
		"another form":               {"POST", "/u/good", urlencoded, "List-Unsubscribe=Maybe", 400, "", false},
		"no form":                    {"POST", "/u/good", "", "", 400, "", false},
		"json":                       {"POST", "/u/good", "application/json", `{"List-Unsubscribe":"One-Click"}`, 400, "", false},
		"a large form":               {"POST", "/u/good", urlencoded, oneClickIs + "&x=" + strings.Repeat("y", maxBody), 400, "", false},
		"a form of another boundary": {"POST", "/u/good", "multipart/form-data; boundary=zz", form.String(), 400, "", false},
		"another method":             {"DELETE", "/u/good", "", "", 405, "", false},
		"a disk that is full":        {"POST", "/u/broken", urlencoded, oneClickIs, 503, "try again", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := &office{}
			resp := serve(New(Options{Tokens: o}), a, nil)
			text := resp.Body.String()
			if resp.Code != a.status || !strings.Contains(text, a.holds) && a.method != "HEAD" {
				t.Errorf("%d %s", resp.Code, text)
			}
			if (len(o.gone) > 0) != a.unsubscribes {
				t.Errorf("unsubscribed: %v", o.gone)
			}
			for _, secret := range []string{"secret", "good", "evil", "u/"} {
				if strings.Contains(text, secret) {
					t.Errorf("the page tells %q:\n%s", secret, text)
				}
			}
			for k, v := range resp.Header() {
				switch k {
				case "Set-Cookie", "Location", "Www-Authenticate", "Server", "Refresh":
					t.Errorf("%s: %v", k, v)
				}
			}
			if resp.Header().Get("Cache-Control") != "no-store" || resp.Header().Get("Referrer-Policy") != "no-referrer" || !strings.Contains(resp.Header().Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("not protected: %v", resp.Header())
			}
		})
	}
}

// Twice is as good as once, and every request is counted.
func TestRequestsAreCounted(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	o := &office{}
	h := New(Options{Tokens: o, Registerer: reg})
	for _, a := range []asked{
		{method: "POST", path: "/u/good", kind: urlencoded, body: oneClickIs},
		{method: "POST", path: "/u/good", kind: urlencoded, body: oneClickIs},
		{method: "GET", path: "/u/good"},
		{method: "GET", path: "/u/evil"},
		{method: "POST", path: "/u/good"},
		{method: "POST", path: "/u/broken", kind: urlencoded, body: oneClickIs},
	} {
		serve(h, a, nil)
	}
	want := `
# HELP segue_public_requests_total Requests from outside by what came of them: unsubscribed, page, forged (a token that is not ours, or no path of ours), bad (no one-click form), limited, failed.
# TYPE segue_public_requests_total counter
segue_public_requests_total{result="bad"} 1
segue_public_requests_total{result="failed"} 1
segue_public_requests_total{result="forged"} 1
segue_public_requests_total{result="limited"} 0
segue_public_requests_total{result="page"} 1
segue_public_requests_total{result="unsubscribed"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "segue_public_requests_total"); err != nil {
		t.Error(err)
	}
}

func TestAnAddressMayAskOnlySoOften(t *testing.T) {
	o := &office{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	h := New(Options{Tokens: o, Rate: 2, Now: func() time.Time { return o.now }, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}})
	ask := func(want int, forwarded ...string) {
		t.Helper()
		// httptest asks from 192.0.2.1.
		if resp := serve(h, asked{method: "GET", path: "/u/good"}, http.Header{"X-Forwarded-For": forwarded}); resp.Code != want {
			t.Errorf("%v: %d, not %d", forwarded, resp.Code, want)
		} else if want == http.StatusTooManyRequests && resp.Header().Get("Retry-After") == "" {
			t.Error("nothing says when to come again")
		}
	}
	ask(200)
	ask(200)
	ask(429)
	ask(200, "198.51.100.7")
	ask(200, "198.51.100.9, 198.51.100.7")
	ask(429, "203.0.113.1, 198.51.100.7") // what the client made up stands in front
	ask(429, "198.51.100.9", "198.51.100.7")
	ask(200, "2001:db8:1:2::1")
	ask(200, "2001:db8:1:2::2")
	ask(429, "2001:db8:1:2:ffff::3")
	ask(200, "2001:db8:1:3::1")
	ask(429, "rubbish") // the proxy's own address counts
	o.now = o.now.Add(time.Minute)
	ask(200)
	ask(200)
	ask(429)
	o.now = o.now.Add(-time.Hour) // a clock that is set back locks nobody out
	ask(200)
}

func TestOnlyNamedProxiesAreBelieved(t *testing.T) {
	h := New(Options{Tokens: &office{}, Rate: 1})
	for i, want := range []int{200, 429} {
		resp := serve(h, asked{method: "GET", path: "/u/good"}, http.Header{"X-Forwarded-For": {fmt.Sprintf("198.51.100.%d", i)}})
		if resp.Code != want {
			t.Errorf("request %d: %d", i, resp.Code)
		}
	}
}

// Behind two proxies of ours the inner one names the outer, who names the client: the rate
// is not that of everybody who comes by the outer one.
func TestAProxyMayStandBehindAnother(t *testing.T) {
	h := New(Options{Tokens: &office{}, Rate: 1, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	for _, x := range []struct {
		forwarded []string
		want      int
	}{
		{[]string{"198.51.100.1, 192.0.2.80"}, 200},
		{[]string{"198.51.100.2, 192.0.2.80"}, 200},
		{[]string{"198.51.100.3", "192.0.2.80"}, 200},
		{[]string{"203.0.113.9, 198.51.100.3, 192.0.2.81, 192.0.2.80"}, 429}, // what the client made up stands in front
		{[]string{"192.0.2.7"}, 200},                                         // asks itself
		{[]string{"rubbish, 192.0.2.7"}, 429},
	} {
		if resp := serve(h, asked{method: "GET", path: "/u/good"}, http.Header{"X-Forwarded-For": x.forwarded}); resp.Code != x.want {
			t.Errorf("%q: %d, not %d", x.forwarded, resp.Code, x.want)
		}
	}
}

// A flood from ever new addresses does not grow memory.
func TestTheLimiterIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	l := newLimiter(1, time.Minute, func() time.Time { return now })
	for i := range maxSeen + 10 {
		if !l.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})) {
			t.Fatalf("address %d is limited", i)
		}
	}
	if n := len(l.seen); n > maxSeen {
		t.Errorf("%d addresses are remembered", n)
	}
}

// The server cuts off whoever sends nothing, and bounds connections and headers.
func TestServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(New(Options{Tokens: &office{}}), slog.New(slog.DiscardHandler))
	if srv.ReadHeaderTimeout == 0 || srv.ReadTimeout == 0 || srv.WriteTimeout == 0 || srv.IdleTimeout == 0 {
		t.Error("a timeout is missing")
	}
	done := make(chan error, 1)
	limit := Limit(ln, 1).(*bounded)
	go func() { done <- srv.Serve(limit) }()
	base := "http://" + ln.Addr().String()
	one := &http.Client{Transport: &http.Transport{}}
	resp, err := one.Get(base + "/u/good")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close() // the connection stays open, and holds the only place
	if taken, all := len(limit.places), cap(limit.places); taken != 1 || all != 1 {
		t.Errorf("%d of %d places are taken by one connection", taken, all)
	}
	one.CloseIdleConnections() // another waits for its place
	resp, err = (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(base + "/u/good")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	req, err := http.NewRequest(http.MethodGet, base+"/u/good", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	resp, err = (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Fatalf("a header of 64 kB: %v, %v", resp, err)
	}
	resp.Body.Close()
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// FuzzRequest: whatever comes, only the form of RFC 8058 with a token of ours unsubscribes.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/u/good", urlencoded, oneClickIs)
	f.Add("POST", "/u/good", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n")
	f.Add("GET", "/u/good", urlencoded, oneClickIs)
	f.Fuzz(func(t *testing.T, method, path, kind, body string) {
		r, err := http.NewRequest(method, "http://u.example.com/", strings.NewReader(body))
		if err != nil {
			return
		}
		r.URL.Path = path
		r.Header.Set("Content-Type", kind)
		r.RemoteAddr = "192.0.2.9:1"
		o := &office{}
		w := httptest.NewRecorder()
		New(Options{Tokens: o}).ServeHTTP(w, r)
		if (w.Code == http.StatusOK && r.Method == http.MethodPost) != (len(o.gone) == 1) {
			t.Errorf("%d, unsubscribed %v", w.Code, o.gone)
		}
		if len(o.gone) > 0 && (r.Method != http.MethodPost || path != "/u/good" || !strings.Contains(body, "One-Click") && !strings.Contains(body, "%")) {
			t.Errorf("%s %s %q unsubscribed", method, path, body)
		}
	})
}
