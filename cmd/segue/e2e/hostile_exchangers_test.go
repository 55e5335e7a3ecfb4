// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest"
)

// hostile is an exchanger that misbehaves, and what has to become of its mail.
type hostile struct {
	name string
	mx   *mtatest.Exchanger
	end  event.Kind // of every recipient; "" = it holds the connection
	why  string     // class and verdict, for what is deferred or bounced
}

const (
	cutOff      = "BadConnection infrastructure"
	unreachable = "NoAnswerFromHost infrastructure"
)

func play(name, script string, end event.Kind, why string) hostile {
	return hostile{name, &mtatest.Exchanger{Rules: mtatest.Script(script)}, end, why}
}

// silentOnes hold what they get. Nothing is known about their mail while the test
// looks; the deadlines that free the connections are minutes away.
func silentOnes() []hostile {
	return []hostile{
		play("banner-hangs", "banner : hang", "", ""),
		play("ehlo-hangs", "ehlo : hang", "", ""),
		play("banner-drips", "banner : drip 30s 220 mx.test", "", ""),
		play("mail-drips", "mail : drip 30s 250 ok", "", ""),
		play("rcpt-hangs", "rcpt : hang", "", ""),
		play("dot-hangs", "dot : hang", "", ""),
		play("reads-slowly", "body : sip 1 5s", "", ""),
		{"chunk-hangs", &mtatest.Exchanger{Extensions: []string{"PIPELINING", "CHUNKING"}, Rules: mtatest.Script("bdat : hang")}, "", ""},
	}
}

// loudOnes say what nobody asked for, too much of it, or close.
func loudOnes() []hostile {
	const forever = 1 << 40
	return []hostile{
		play("banner-floods", fmt.Sprintf("banner : flood %d 220-and another line", forever), event.Deferred, unreachable),
		play("line-floods", "banner : flood 1 220 "+strings.Repeat("x", 1<<20), event.Deferred, unreachable),
		play("ehlo-floods", "ehlo : flood 10000 250-X-EXTENSION", event.Deferred, unreachable),
		play("mail-floods", fmt.Sprintf("mail : flood %d 250-and another line", forever), event.Deferred, cutOff),
		play("rcpt-floods", "rcpt : flood 10000 550-5.1.1 no such user", event.Deferred, cutOff),
		play("dot-floods", fmt.Sprintf("dot : flood %d 250-and another line", forever), event.Deferred, cutOff),
		play("no-smtp", "banner : SSH-2.0-OpenSSH_9.2", event.Deferred, unreachable),
		play("mail-999", "mail : 999 ok", event.Deferred, cutOff),
		play("rcpt-354", "rcpt : 354 go ahead", event.Deferred, cutOff),
		play("data-250", "data : 250 ok", event.Deferred, cutOff),
		play("early-yes", `data : 354 go ahead\r\n250 2.0.0 queued`, event.Deferred, cutOff),
		play("banner-closes", "banner : close", event.Deferred, unreachable),
		play("mail-closes", "mail : close", event.Deferred, cutOff),
		play("rcpt-resets", "rcpt : reset", event.Deferred, cutOff),
		play("body-closes", "body : read 100 then close", event.Deferred, cutOff),
		play("dot-resets", "dot : reset", event.Deferred, cutOff),
		play("banner-421", "banner : 421 4.7.0 too many connections then close", event.Deferred, "PolicyRelated reputation"),
		play("data-421", "data : 421 4.3.0 shutting down then close", event.Deferred, "TransientFailure infrastructure"),
		play("mail-unknown", "mail : 550 5.1.1 no such user", event.Bounced, "InvalidRecipient infrastructure"),
		play("rcpt-unknown", "rcpt : 550 5.1.1 no such user", event.Bounced, "InvalidRecipient suppress"),
		play("early-no", "body : read 100 then 552 5.3.4 message too big", event.Bounced, "ContentRelated ignore"),
	}
}

// oddOnes are broken in a way that mail survives.
func oddOnes(t *testing.T) []hostile {
	t.Helper()
	cert, _, err := mtatest.Certificate("mx.test")
	if err != nil {
		t.Fatal(err)
	}
	good := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	cert.Certificate = [][]byte{[]byte("nonsense")}
	nonsense := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	secure := func(name, script string, c *tls.Config) hostile {
		return hostile{name, &mtatest.Exchanger{TLS: c, Rules: mtatest.Script(script)}, event.Delivered, ""}
	}
	offers := func(name, script string, ext ...string) hostile {
		return hostile{name, &mtatest.Exchanger{Extensions: ext, Rules: mtatest.Script(script)}, event.Delivered, ""}
	}
	return []hostile{
		secure("tls-nonsense", "", nonsense),
		secure("tls-closes", "handshake : close", good),
		secure("tls-floods", "handshake : read 1 then flood 10000 junk", good),
		secure("starttls-454", "starttls : 454 4.7.0 not now", good),
		secure("starttls-closes", "starttls : close", good),
		offers("size-1", "", "PIPELINING", "SIZE 1"),
		offers("size-overflows", "", "PIPELINING", "SIZE 99999999999999999999"),
		offers("no-bdat", "bdat : 502 5.5.1 what", "PIPELINING", "CHUNKING"),
		offers("no-ehlo", "ehlo : 502 5.5.1 what\nhelo : drip 5ms 250 hello"),
	}
}

// letterOfSize is a message of about n octets.
func letterOfSize(n int) string {
	return letter("") + strings.Repeat(strings.Repeat("x", 70)+"\n", n/71)
}

// TestHostileExchangers: all of them at once, and mail to those that behave does
// not wait for any of them.
func TestHostileExchangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.head = `shutdown_deadline = "2s"`
	good := &mtatest.Exchanger{Extensions: []string{"PIPELINING", "CHUNKING", "8BITMIME", "SIZE"}}
	zone := w.listenFor(good, 30, "good.example")
	silent := silentOnes()
	all := append(append(silent, loudOnes()...), oddOnes(t)...)
	for i := range all {
		zone += w.listenFor(all[i].mx, 40+i, all[i].name+".example")
	}
	w.zones.Replace(zone)
	w.start()
	const each, letters = 5, 300
	w.submitHostile(all, each)
	w.flying(each * len(silent)) // they have taken all the connections that they can
	before := w.memory()
	w.submitEach("good.example", letters)
	wait(t, "the good mail", func() bool { return len(good.Messages()) == letters })
	once(t, "the good exchanger", received(good.Messages()), letters)
	if v := good.Violations(); len(v) > 0 {
		t.Errorf("the good exchanger saw %q", v)
	}
	verdicts := w.verdicts()
	for i := range all {
		wait(t, "verdicts on the mail to "+all[i].name, func() bool {
			verdicts = w.verdicts()
			return !all[i].pending(each, verdicts)
		})
	}
	for i := range all {
		w.judge(&all[i], each, verdicts)
	}
	if n := w.summary().InFlight; n < each*len(silent) {
		t.Errorf("%d recipients are in flight, %d connections are held", n, each*len(silent))
	}
	after := w.memory()
	t.Logf("memory: %d MB with the hostile ones, %d MB at the end, at most %d MB", before.rss>>20, after.rss>>20, after.peak>>20)
	if after.peak > 256<<20 {
		t.Errorf("the engine took %d MB", after.peak>>20)
	}
	began := time.Now()
	w.stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if n := w.cut(); n < each*len(silent) {
		t.Errorf("%d were cut, %d were held", n, each*len(silent))
	}
	w.verify()
}

// listenFor starts an exchanger at the nth address, and returns the records that
// make it that of the domain.
func (w *world) listenFor(e *mtatest.Exchanger, n int, domain string) string {
	w.t.Helper()
	w.listen(e, n)
	return fmt.Sprintf("%[1]s. 300 IN MX 10 mx.%[1]s.\nmx.%[1]s. 300 IN A %[2]s\n", domain, w.ip(n))
}

func (h *hostile) address(n int) string { return fmt.Sprintf("r%d@%s.example", n, h.name) }

// pending reports that there is more to learn. A site that failed is left alone for
// a minute, which leaves the rest of its mail without a verdict.
func (h *hostile) pending(each int, verdicts map[string]map[string]bool) bool {
	known := 0
	for n := range each {
		if len(verdicts[h.address(n)]) > 0 {
			known++
		}
	}
	return h.end != "" && (known == 0 || h.end != event.Deferred && known < each)
}

// submitHostile sends messages to each, large ones where only such are in the way
// of what it does.
func (w *world) submitHostile(list []hostile, each int) {
	w.t.Helper()
	c, err := dial(w.ip(1) + ":" + submissionPort)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	large, small := letterOfSize(1<<20), letterOfSize(2<<10)
	for i := range list {
		text := small
		switch list[i].name {
		case "reads-slowly", "chunk-hangs", "early-no":
			text = large
		}
		for n := range each {
			if _, err := c.send("news@example.com", text, list[i].address(n)); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// verdicts are, for each address, what the events say of its attempts.
func (w *world) verdicts() map[string]map[string]bool {
	w.t.Helper()
	all := map[string]map[string]bool{}
	for _, e := range w.events() {
		if e.Kind != event.Deferred && !e.Kind.Final() {
			continue
		}
		if all[e.Address] == nil {
			all[e.Address] = map[string]bool{}
		}
		all[e.Address][strings.TrimSpace(string(e.Kind)+" "+e.Class+" "+e.Verdict)] = true
	}
	return all
}

// judge holds what became of an exchanger's mail against what should have.
func (w *world) judge(h *hostile, each int, verdicts map[string]map[string]bool) {
	w.t.Helper()
	for n := range each {
		to := h.address(n)
		want := strings.TrimSpace(string(h.end) + " " + h.why)
		for got := range verdicts[to] {
			if got != want {
				w.t.Errorf("%s: %q, want %q", to, got, want)
			}
		}
		if h.name == "rcpt-unknown" {
			wait(w.t, "the suppression of "+to, func() bool { return w.suppressions(to) != "" })
		} else if s := w.suppressions(to); s != "" {
			w.t.Errorf("%s is suppressed: %s", to, s)
		}
	}
}

// memory is what the kernel says of the engine, in octets.
type memory struct{ rss, peak int }

func (w *world) memory() memory {
	w.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	field := func(name string) int {
		m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(text)
		if m == nil {
			w.t.Fatalf("%s is not in\n%s", name, text)
		}
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			w.t.Fatal(err)
		}
		return n << 10
	}
	return memory{field("VmRSS"), field("VmHWM")}
}
