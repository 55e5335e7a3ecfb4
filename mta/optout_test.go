// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/verp"
)

// request asks the public listener.
func (w *town) request(method, path string) int {
	w.t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return w.net.Dial(ctx, netip.Addr{}, netip.MustParseAddrPort("127.0.0.1:8080"))
	}}}
	body := "List-Unsubscribe=One-Click"
	if method != http.MethodPost {
		body = ""
	}
	r, err := http.NewRequest(method, "http://u.example.com"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// link is the path of the unsubscribe link of a message.
func link(t testing.TB, m mtatest.Message) string {
	t.Helper()
	found := regexp.MustCompile(`List-Unsubscribe: <https://u\.example\.com(/u/u[a-z2-7]{63})>,\r\n\t<mailto:(u[a-z2-7]{63})@bounce\.example\.com\?subject=unsubscribe>`).FindSubmatch(m.Data)
	if found == nil || string(found[1]) != "/u/"+string(found[2]) {
		t.Fatalf("no link in\n%s", m.Data)
	}
	return string(found[1])
}

// later keeps mail in the queue.
func inAnHour() string {
	return "X-Segue-Not-Before: " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + "\r\n"
}

func TestUnsubscribeByALink(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	path := link(t, w.arrived(1))
	w.submit(inAnHour(), "ann@dest.example")
	w.settle("the second message", func() bool { return w.queue.Total().Waiting == 1 })
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if got := w.request(method, path); got != 200 {
			t.Errorf("%s: %d", method, got)
		}
	}
	if got := w.suppressions("ann@dest.example"); got != "" {
		t.Fatalf("a look suppressed: %s", got)
	}
	for range 3 {
		if got := w.request(http.MethodPost, path); got != 200 {
			t.Fatalf("%d", got)
		}
		if got := w.suppressions("ann@dest.example"); got != "unsubscribe stream:marketing" {
			t.Fatalf("suppressed: %s", got) // at once, not a moment later
		}
	}
	w.settle("the queued mail", func() bool { return w.has("suppressed", "ann@dest.example") })
	if n := w.count("unsubscribed"); n != 1 {
		t.Errorf("%d events", n)
	}
	events, err := w.mail.Events(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Kind == "unsubscribed" && (e.Scope != "stream:marketing" || e.Stream != "marketing" || e.Message == 0 || e.Source != "a1" || e.Address != "ann@dest.example") {
			t.Errorf("%+v", e)
		}
	}
	w.submit("", "ann@dest.example", "bob@dest.example")
	w.submit("X-Segue-Stream: transactional\r\n", "ann@dest.example")
	w.settle("bob's mail and ann's receipt", func() bool { return w.count("delivered") == 3 && w.count("suppressed") == 2 })
	if n := metric(t, w, "segue_feedback_repeated_total"); n != 2 {
		t.Errorf("%v repetitions are counted", n)
	}
}

func TestUnsubscribeFromAListLeavesTheStream(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("X-Segue-List: weekly\r\n", "ann@dest.example")
	if got := w.request(http.MethodPost, link(t, w.arrived(1))); got != 200 {
		t.Fatal(got)
	}
	if got := w.suppressions("ann@dest.example"); got != "unsubscribe list:weekly" {
		t.Fatalf("suppressed: %s", got)
	}
	w.submit("X-Segue-List: weekly\r\n", "ann@dest.example")
	w.submit("X-Segue-List: monthly\r\n", "ann@dest.example")
	w.submit("", "ann@dest.example")
	w.settle("the others", func() bool { return w.count("delivered") == 3 && w.count("suppressed") == 1 })
}

func TestUnsubscribeForgedChangesNothing(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	path := link(t, w.arrived(1))
	last := byte('a')
	if path[10] == last {
		last = 'b'
	}
	for _, bad := range []string{path[:10] + string(last) + path[11:], path[:len(path)-1], path + "a", "/u/x", "/", "/metrics", "/api/v1/queue"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if got := w.request(method, bad); got != 404 {
				t.Errorf("%s %s: %d", method, bad, got)
			}
		}
	}
	if got := w.suppressions("ann@dest.example"); got != "" || w.count("unsubscribed") != 0 {
		t.Errorf("suppressed: %s", got)
	}
	if n := metric(t, w, "segue_feedback_unresolved_total"); n < 4 {
		t.Errorf("%v are counted", n)
	}
}

// A token outlives everything that is known of its mail: it says itself who is meant.
func TestUnsubscribeByATokenOfLongAgo(t *testing.T) {
	w := newTown(t)
	w.run()
	ann := address(t, "ann@dest.example")
	for scope, want := range map[string]int{"stream:marketing": 200, "stream:nobody": 404} {
		token := w.plan.secrets.tokens.EncodeUnsubscribe(&verp.Subscription{Address: w.Engine.people.Head(ann), Scope: verp.Tag(scope), Message: 1 << 40})
		for range 2 {
			if got := w.request(http.MethodPost, "/u/"+strings.ToUpper(token[:1])+token[1:]); got != want {
				t.Errorf("%s: %d, not %d", scope, got, want)
			}
		}
	}
	w.submit("", "ann@dest.example", "bob@dest.example")
	w.settle("both", func() bool { return w.has("suppressed", "ann@dest.example") && w.has("delivered", "bob@dest.example") })
	if n := w.count("unsubscribed"); n != 1 {
		t.Errorf("%d events", n)
	}
}

// Who consented anew and unsubscribes by an old link is unsubscribed again.
func TestUnsubscribeAfterConsent(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	path := link(t, w.arrived(1))
	w.request(http.MethodPost, path)
	// Consent counts by the second: that of the unsubscribe must have passed.
	at := time.Now().Add(2 * time.Second)
	w.settle("a later second", func() bool { return time.Now().After(at) })
	w.people("email,consent_at,consent_source\nann@dest.example," + time.Now().UTC().Format(time.RFC3339) + ",form /welcome\n")
	if got := w.suppressions("ann@dest.example"); got != "" {
		t.Fatalf("consent left %s", got)
	}
	w.settle("the event of it", func() bool { return w.count("suppress_lifted") == 1 })
	if got := w.request(http.MethodPost, path); got != 200 || w.suppressions("ann@dest.example") != "unsubscribe stream:marketing" {
		t.Errorf("%d, %s", got, w.suppressions("ann@dest.example"))
	}
}

// A list is remembered across a restart: its links never expire.
func TestUnsubscribeListsAreRemembered(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("X-Segue-List: weekly\r\n", "ann@dest.example")
	path := link(t, w.arrived(1))
	w.stop()
	w.run()
	if got := w.request(http.MethodPost, path); got != 200 || w.suppressions("ann@dest.example") != "unsubscribe list:weekly" {
		t.Errorf("%d, %s", got, w.suppressions("ann@dest.example"))
	}
	w.optout.scopes.lists = maxLists
	if r := w.submit("X-Segue-List: campaign-4711\r\n", "bob@dest.example"); r.Code != 550 {
		t.Errorf("one list too many: %s", r)
	}
	if r := w.submit("X-Segue-List: weekly\r\n", "bob@dest.example"); r.Code != 250 {
		t.Errorf("a list that is known: %s", r)
	}
}

// Without [public], marketing mail must bring its own way out.
func TestUnsubscribeWithoutPublic(t *testing.T) {
	w := newTown(t)
	w.change = strings.NewReplacer("[public]\naddress = \"127.0.0.1:8080\"\nurl = \"https://u.example.com\"\n", "", "domains = [\"example.com\"]\n", "domains = [\"example.com\"]\nown_unsubscribe = true\n")
	w.run()
	const own = "List-Unsubscribe: <https://app.example.com/out>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
	if r := w.submit("", "ann@dest.example"); r.Code != 550 || !strings.Contains(r.Text, "List-Unsubscribe") {
		t.Errorf("%s", r)
	}
	if r := w.submit(own, "ann@dest.example"); r.Code != 250 {
		t.Errorf("%s", r)
	}
	if r := w.submit("X-Segue-Stream: transactional\r\n", "ann@dest.example"); r.Code != 250 {
		t.Errorf("%s", r)
	}
	w.settle("both", func() bool { return w.count("delivered") == 2 })
}

// A rule that suppresses tells so, with what it rests on.
func TestSoftBouncesAreTold(t *testing.T) {
	w := newTown(t)
	w.change = strings.NewReplacer("[http]\n", "[suppression]\nsoft_bounces = 1\nover = \"0s\"\n[http]\n")
	w.mx.Rules = mtatest.Script("rcpt ann@ : 552 5.2.2 mailbox full")
	w.run()
	w.submit("", "ann@dest.example")
	w.settle("the suppression", func() bool { return w.count("suppress_added") == 1 })
	if got := w.suppressions("ann@dest.example"); got != "soft_bounce stream:marketing" {
		t.Errorf("suppressed: %s", got)
	}
	events, err := w.mail.Events(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Kind == "suppress_added" && (!strings.Contains(e.Reason, "mailbox full") || e.Scope != "stream:marketing" || e.Address != "ann@dest.example") {
			t.Errorf("%+v", e)
		}
	}
	w.stop()
	w.run()
	if n := w.count("suppress_added"); n != 1 {
		t.Errorf("a restart told it %d times", n)
	}
}
