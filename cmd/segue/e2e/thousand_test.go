// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest/peer"
)

// The thread through everything: Postfix's load generator submits, Postfix's sink
// receives through a route, an exchanger receives through MX records.
func TestAThousandMessagesArriveExactlyOnce(t *testing.T) {
	t.Parallel()
	source, sink := peer.Command(t, "smtp-source", "postfix"), peer.Command(t, "smtp-sink", "postfix")
	w := newWorld(t)
	mx := w.exchanger(50, []string{"mx.example"})
	dumps := startSink(w, sink, 51)
	w.more = fmt.Sprintf("[[route]]\ndomain = \"routed.example\"\nvia = \"%s:%s\"\n", w.ip(51), mailPort)
	w.start()

	const each = 500
	for _, domain := range []string{"mx.example", "routed.example"} {
		// -N puts a number in front of each recipient: 1r@..., 2r@...
		out, err := exec.Command(source, "-c", "-N", "-s", "10", "-m", fmt.Sprint(each), "-l", "3000", "-M", "app.example.com",
			"-f", "news@example.com", "-t", "r@"+domain, "-S", "a thousand", "inet:"+w.ip(1)+":"+submissionPort).CombinedOutput()
		if err != nil {
			t.Fatalf("smtp-source: %v\n%s", err, out)
		}
	}
	w.empty()
	if got := w.must("queue", "ls", "--json"); strings.Contains(got, "@") {
		t.Errorf("the queue is not empty: %s", got)
	}
	kinds := w.balance()
	if kinds[event.Accepted] != 2*each || kinds[event.Delivered] != 2*each || kinds[event.Deferred] != 0 {
		t.Errorf("events: %v", kinds)
	}
	once(t, "the exchanger", received(mx.Messages()), each)
	once(t, "smtp-sink", dumps(), each)
	w.stop()
	w.verify()
}

// once checks that n recipients got one message each.
func once(t testing.TB, who string, got map[string]int, n int) {
	t.Helper()
	if len(got) != n {
		t.Errorf("%s: %d recipients got mail, not %d", who, len(got), n)
	}
	for to, times := range got {
		if times != 1 {
			t.Errorf("%s: %s got %d", who, to, times)
		}
	}
}

// startSink runs smtp-sink at the nth address; the result counts, by recipient,
// the messages that it wrote to files.
func startSink(w *world, path string, n int) func() map[string]int {
	w.t.Helper()
	dir := filepath.Join(w.dir, "sink")
	if err := os.Mkdir(dir, 0o777); err != nil {
		w.t.Fatal(err)
	}
	sink := run(w.t, path, "-u", "root", "-d", dir+"/%Y-%H-%M-%S.", "-h", "sink.test", w.ip(n)+":"+mailPort, "100")
	wait(w.t, "smtp-sink", func() bool {
		if !sink.alive() {
			w.t.Fatalf("smtp-sink ended: %v\n%s", sink.err, sink.log.String())
		}
		c, err := dial(w.ip(n) + ":" + mailPort)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	rcpt := regexp.MustCompile(`(?m)^X-Rcpt-Args: <(.*?)>`)
	return func() map[string]int {
		w.t.Helper()
		files, err := filepath.Glob(dir + "/*")
		if err != nil {
			w.t.Fatal(err)
		}
		m := map[string]int{}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, to := range rcpt.FindAllStringSubmatch(string(text), -1) {
				m[to[1]]++
			}
		}
		return m
	}
}
