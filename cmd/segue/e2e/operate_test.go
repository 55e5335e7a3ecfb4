// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest/peer"
)

// firstMetrics are the metrics that the design promises, with their labels.
const firstMetrics = `
segue_recipients_total          result stream provider
segue_segment_recipients_total  result segment tier
segue_queue_recipients          state tier provider
segue_warmup_allowed            source provider
segue_warmup_used               source provider
segue_stage                     source provider
segue_suppressions_total        reason
segue_accept_seconds_bucket     result le
segue_delivery_seconds_bucket   provider le
segue_sign_seconds_bucket       backend le
`

// eventful is a world in which everything has happened once.
func eventful(t *testing.T) (*world, []string) {
	t.Helper()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"}, "rcpt gone@ : 550 5.1.1 no such user", "rcpt busy@ : 451 4.7.1 try again later")
	w.head = fmt.Sprintf("budget_zone = %q\n", noon())
	w.more = fmt.Sprintf(busy, w.net)
	w.start()
	who := []string{"ann@dest.example", "gone@dest.example", "busy@dest.example", "complainer@dest.example", "cold@dest.example", "later@dest.example"}
	file := w.write("people.csv", "email,contact.status,last_engaged_at\ncold@dest.example,trial,"+yesterday()+"\n")
	w.must("contact", "import", file)
	for _, to := range who[:5] {
		w.submit("", to)
	}
	w.submit(later(), who[5])
	wait(t, "all to have been tried", func() bool {
		return w.has(event.Bounced, who[1]) && w.has(event.Deferred, who[2]) && len(mx.Messages()) == 3
	})
	for _, m := range mx.Messages() {
		if m.To[0] == who[3] {
			if code, said := w.reports("fbl@dest.example", "fbl@bounce.example.com", complaint(&m, string(m.Data))); code != 0 {
				t.Fatalf("swaks: exit %d\n%s", code, said)
			}
			if code, _ := w.reports("", flip(m.From, 20), bounceMail(m.From, who[3])); code == 0 {
				t.Error("a forged return path was taken")
			}
		}
	}
	wait(t, "the complaint", func() bool { return w.suppressions(who[3]) != "" })
	// And one that nobody may send.
	if c, err := dial(w.ip(1) + ":" + submissionPort); err == nil {
		if _, err := c.send("news@other.example", letter(""), "eve@dest.example"); err == nil {
			t.Error("a domain that is not ours was taken")
		}
		_ = c.Close()
	}
	return w, append(who, "eve@dest.example", "news@example.com", "news@other.example")
}

func TestMetricsAndHealthOfAnEventfulDay(t *testing.T) {
	t.Parallel()
	promtool := peer.Command(t, "promtool", "prometheus")
	w, who := eventful(t)

	code, text := w.get("/metrics")
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d", code)
	}
	for line := range strings.Lines(firstMetrics) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		m := regexp.MustCompile(`(?m)^` + words[0] + `\{(.*)\} `).FindStringSubmatch(text)
		if m == nil {
			t.Errorf("/metrics has no %s", words[0])
			continue
		}
		var labels []string
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[1], -1) {
			labels = append(labels, l[1])
		}
		for _, l := range words[1:] {
			if !strings.Contains(" "+strings.Join(labels, " ")+" ", " "+l+" ") {
				t.Errorf("%s lacks the label %s: %v", words[0], l, labels)
			}
		}
		if len(labels) != len(words)-1 {
			t.Errorf("%s has labels %v", words[0], labels)
		}
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	for _, address := range who {
		if strings.Contains(text, address) {
			t.Errorf("/metrics names %s", address)
		}
	}
	if strings.Contains(text, "dest.example") {
		t.Error("/metrics names a recipient's domain")
	}

	if code, text := w.get("/healthz"); code != http.StatusOK || text != "ok\n" {
		t.Errorf("/healthz: %d %s", code, text)
	}
	var h api.Health
	if code, text := w.get("/readyz"); code != http.StatusOK || json.Unmarshal([]byte(text), &h) != nil || !h.Ready {
		t.Errorf("/readyz: %d %s", code, text)
	}
	for _, path := range []string{"/api/v1/queue", "/api/v1/contacts/ann@dest.example", "/api/v1/events", "/api/v1/openapi.json"} {
		if code, text := w.get(path); code != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d %s", path, code, text)
		}
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+w.ip(1)+":"+httpPort+"/api/v1/queue/act", strings.NewReader(`{"action":"drop","all":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token+"x")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || w.summary().Waiting == 0 {
		t.Errorf("an order with a wrong token: %s", resp.Status)
	}
}

func TestLogsNameNoAddressAndNoBody(t *testing.T) {
	t.Parallel()
	w, who := eventful(t)
	log := w.log
	w.kill() // the recovery at the next start speaks as well
	w.start()
	w.must("suppression", "add", "ann@dest.example")
	w.must("queue", "drop", "--all")
	w.stop()
	text := log.String() + w.log.String()
	for _, secret := range append(who, "secret-of-the-body", token, "@dest.example", "@bounce.example.com") {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q:\n%s", secret, text)
		}
	}
	if !strings.Contains(text, "engine started") {
		t.Error("the log says nothing at all")
	}
}

// With too little space the engine says that it is not ready, takes nothing, and
// answers for now; what it has is still delivered.
func TestAFullDiskIsNotReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	w.start()
	w.submit(later(), "ann@dest.example")
	w.stop()
	w.minFree = "1000000GB"
	w.start()
	wait(t, "503", func() bool {
		code, text := w.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(text, "queue.min_free")
	})
	if code, _ := w.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	c, err := dial(w.ip(1) + ":" + submissionPort)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.send("news@example.com", letter(""), "bob@dest.example"); err == nil || !strings.HasPrefix(err.Error(), "452 ") {
		t.Errorf("a message without room was answered %v", err)
	}
	w.must("queue", "retry", "--all")
	wait(t, "what was queued", func() bool { return len(mx.Messages()) == 1 })
	w.empty()
	w.stop()
}
