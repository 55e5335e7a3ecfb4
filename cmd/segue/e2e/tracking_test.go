// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/mtatest/peer"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment"
)

// writeKey makes a key with `segue check --write-key` and adds it to the configuration.
func (w *world) writeKey(name string) string {
	w.t.Helper()
	out := w.must("check", "--write-key")
	m := regexp.MustCompile(`^write key: (\S+)\nkey_hash = "(sha256:[0-9a-f]+)"\n$`).FindStringSubmatch(out)
	if m == nil {
		w.t.Fatalf("segue check --write-key printed %q", out)
	}
	w.more += fmt.Sprintf("[[write_key]]\nname = %q\nkey_hash = %q\n", name, m[2])
	return m[1]
}

// contacts opens the contacts' store, after the engine has ended.
func (w *world) contacts() *segment.DB {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, "secrets", "suppression.key"))
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		w.t.Fatal(err)
	}
	db, err := segment.Open(segment.Options{Dir: filepath.Join(w.dir, "data", "contacts"), SuppressionKey: key})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestTrackingClientsOfOthers runs the libraries of Segment and RudderStack against the
// engine, through a proxy that answers 503 and 429 and loses requests and answers, and
// kills the engine on the way: whatever was acknowledged is there, and each event once.
func TestTrackingClientsOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.writeKey("app")
	w.start()
	const events = 500
	prefixes := map[string]string{"@segment/analytics-node": "segment", "@rudderstack/rudder-sdk-node": "rudder"}
	seed := uint64(0)
	var proxies []*mtatest.Flaky
	var clients []*process
	for library, prefix := range prefixes {
		node, modules := peer.Node(t, library)
		seed++
		proxy := &mtatest.Flaky{Target: &http.Transport{DisableKeepAlives: true}, Host: w.ip(1) + ":" + httpPort, Seed: seed}
		at, stop, err := proxy.Start(w.ip(90+int(seed)) + ":0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		proxies = append(proxies, proxy)
		clients = append(clients, run(t, "env", "NODE_PATH="+modules, "LIBRARY="+library, "PREFIX="+prefix, "HOST=http://"+at, "KEY="+key,
			fmt.Sprintf("EVENTS=%d", events), node, top+"/mta/track/testdata/clients.js"))
	}
	wait(t, "some answers", func() bool { return proxies[0].Count().Passed > 5 && proxies[1].Count().Passed > 5 })
	w.kill()
	w.start()
	for _, c := range clients {
		c.ends()
	}
	for _, p := range proxies {
		if c := p.Count(); c.Unavailable == 0 || c.TooMany == 0 || c.Lost == 0 || c.Unheard == 0 {
			t.Errorf("nothing was put to the test: %+v", c)
		}
		t.Logf("%+v", p.Count())
	}
	w.stop()
	db := w.contacts()
	for _, prefix := range prefixes {
		appliedOnce(t, db, prefix, events)
	}
}

// appliedOnce looks for each event that clients.js sent: identify and group leave
// none, the others tell their number.
func appliedOnce(t *testing.T, db *segment.DB, prefix string, events int) {
	t.Helper()
	times := map[string]int{}
	for user := range 50 {
		address, err := rfc5321.ParseAddress(fmt.Sprintf("%s-%d@example.com", prefix, user))
		if err != nil {
			t.Fatal(err)
		}
		id, err := db.ContactID(address)
		if err != nil || id == 0 {
			t.Errorf("%s was not identified: %v", address, err)
			continue
		}
		list, err := db.Events(id, time.Time{}, 10*events)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			times[fmt.Sprintf("%s %v", e.Name, e.Properties["n"])]++
		}
	}
	for n := range events {
		name, want := "Report Opened", 1
		switch n % 10 {
		case 0, 1:
			want = 0
		case 2:
			name = "Page Viewed"
		}
		if got := times[fmt.Sprintf("%s %v", name, n)]; got != want {
			t.Errorf("%s %d of %s was applied %d times, not %d", name, n, prefix, got, want)
		}
	}
	if t.Failed() {
		t.Logf("%v", times)
	}
}

// TestTrackingByHand runs the example of the manual.
func TestTrackingByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.writeKey("app")
	w.start()
	page, err := os.ReadFile(top + "/deploy/manual/tracking.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?ms)^    (curl http://127\.0\.0\.1:8025/v1/track .*?\}')$`).FindStringSubmatch(string(page))
	if m == nil {
		t.Fatal("the manual has no example any more")
	}
	peer.Command(t, "curl", "curl")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(m[1], "127.0.0.1", w.ip(1)))
	cmd.Env = append(os.Environ(), "KEY="+key)
	out, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(out)) != `{"success":true,"rejected":[]}` {
		t.Fatalf("%v: %s", err, out)
	}
	if shown := w.must("contact", "show", "ann@example.com"); !strings.Contains(shown, "u-1") {
		t.Errorf("the contact is\n%s", shown)
	}
}

// TestTrackingWithoutRoom: where the disk has less than min_free an application hears
// 503, and comes again.
func TestTrackingWithoutRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.writeKey("app")
	w.minFree = "1000TB"
	w.start()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.ip(1)+":"+httpPort+"/v1/track", strings.NewReader(`{"userId":"u","event":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(key, "")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("%s, %v", answer.Status, answer.Header)
	}
}
