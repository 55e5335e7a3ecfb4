// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/mtatest/peer"
)

// outside asks the public listener, as a stranger does.
func (w *world) outside(method, path, kind, body string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequest(method, "http://"+w.ip(1)+":8080"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultTransport.RoundTrip(r) // no redirect is followed, no cookie kept
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(resp.Header["Set-Cookie"]) > 0 || resp.Header.Get("Location") != "" {
		w.t.Errorf("%s %s: %v", method, path, resp.Header)
	}
	return resp.StatusCode, string(text)
}

const oneClick = "application/x-www-form-urlencoded"

// unsubscribeLink is the path that a message says.
func unsubscribeLink(t testing.TB, m *mtatest.Message) string {
	t.Helper()
	found := regexp.MustCompile(`\nList-Unsubscribe: <https://u\.example\.com(/u/[a-z2-7]+)>`).FindAllSubmatch(m.Data, -1)
	if len(found) != 1 || bytes.Count(m.Data, []byte("\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n")) != 1 {
		t.Fatalf("%d links in\n%s", len(found), m.Data)
	}
	return string(found[0][1])
}

// verifiedBy has dkimpy verify messages, in which at least one field is signed.
func (w *world) verifiedBy(messages ...mtatest.Message) {
	w.t.Helper()
	python := peer.Python(w.t, "dkim", "python3-dkim")
	table, err := json.Marshal(map[string]string{"s1._domainkey.example.com": public(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	want := map[string]bool{}
	for i, m := range messages {
		name := string(rune('a'+i)) + ".eml"
		w.write("signed/"+name, string(m.Data))
		want[name] = true
	}
	out, err := exec.Command(python, "testdata/outside/dkimpy.py", w.write("records.json", string(table)), filepath.Join(w.dir, "signed")).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	passed := 0
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) >= 3 && f[1] == "rsa" && f[2] == "pass" && want[f[0]] {
			passed++
		}
	}
	if passed != len(messages) {
		w.t.Errorf("dkimpy verifies %d of %d:\n%s", passed, len(messages), out)
	}
}

// A delivered message's link is posted: marketing mail to the contact stops at once, also
// what is queued, transactional mail goes on, and kill -9 changes nothing of it.
func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	w.start()
	w.submit("X-Segue-Campaign: spring: 1\n", "ann@dest.example")
	w.submit("List-Unsubscribe: <https://app.example.com/out>\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\nFeedback-ID: a:b:c:shop12\n", "cyd@dest.example")
	w.submit("List-Unsubscribe: <mailto:out@example.com>\n", "dan@dest.example")
	w.empty()
	w.submit(later(), "ann@dest.example")
	w.verifiedBy(mx.Messages()...)
	var path string
	for _, m := range mx.Messages() {
		switch m.To[0] {
		case "ann@dest.example":
			path = unsubscribeLink(t, &m)
			if !bytes.Contains(m.Data, []byte("\nFeedback-ID: spring-1:-:marketing:examplecom\r\n")) {
				t.Errorf("no Feedback-ID in\n%s", m.Data)
			}
		case "dan@dest.example":
			unsubscribeLink(t, &m)
		default:
			if bytes.Count(m.Data, []byte("\nList-Unsubscribe: ")) != 1 || bytes.Contains(m.Data, []byte("u.example.com")) || bytes.Count(m.Data, []byte("\nFeedback-ID: ")) != 1 {
				t.Errorf("the application's own fields became\n%s", m.Data)
			}
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if status, page := w.outside(method, path, "", ""); status != 200 || method == http.MethodGet && !strings.Contains(page, "<form") {
			t.Errorf("%s: %d %s", method, status, page)
		}
	}
	if status, _ := w.outside(http.MethodPost, path[:len(path)-9]+"aaaaaaaaa", oneClick, "List-Unsubscribe=One-Click"); status != 404 {
		t.Errorf("a forged link: %d", status)
	}
	if got := w.suppressions(""); got != "" {
		t.Fatalf("suppressed: %s", got)
	}
	for range 2 {
		if status, page := w.outside(http.MethodPost, path, oneClick, "List-Unsubscribe=One-Click"); status != 200 || !strings.Contains(page, "unsubscribed") {
			t.Fatalf("%d %s", status, page)
		}
	}
	w.kill() // 200 means that it is durable
	w.start()
	if got := w.suppressions(""); got != "ann@dest.example unsubscribe stream:marketing" {
		t.Errorf("suppressed: %s", got)
	}
	wait(t, "ann's queued mail to end", func() bool { return w.has(event.Suppressed, "ann@dest.example") })
	w.submit("", "ann@dest.example", "bob@dest.example")
	w.submit("X-Segue-Stream: transactional\n", "ann@dest.example")
	w.empty()
	if kinds := w.balance(); kinds[event.Delivered] != 5 || kinds[event.Suppressed] != 2 || kinds[event.Unsubscribed] != 1 {
		t.Errorf("events: %v", kinds)
	}
	if n := w.metric("segue_public_requests_total"); n != 0 {
		t.Errorf("%v requests since the restart", n)
	}
	w.stop()
	w.verify()
}

// A credential without a way out for its recipients is an error, and says what to do.
func TestUnsubscribeIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config, err := os.ReadFile(w.config())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(config), "[public]\naddress = \""+w.ip(1)+":8080\"\nurl = \"https://u.example.com\"\n", "", 1)
	file := w.write("nowhere.toml", text)
	out, err := exec.Command(program(t), "check", "--config", file).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "credential[local].streams: may send marketing mail, and there is no [public]") || !strings.Contains(string(out), "own_unsubscribe") {
		t.Errorf("%v\n%s", err, out)
	}
	file = w.write("own.toml", strings.Replace(text, "name = \"local\"\n", "name = \"local\"\nown_unsubscribe = true\n", 1))
	if out, err := exec.Command(program(t), "check", "--config", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
