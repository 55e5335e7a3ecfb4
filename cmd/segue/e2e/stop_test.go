// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/event"
)

// flying waits until n recipients are being sent.
func (w *world) flying(n int) {
	w.t.Helper()
	wait(w.t, "mail in flight", func() bool { return w.summary().InFlight >= n })
}

// cut is the number that the last stop cut, from the log.
func (w *world) cut() int {
	w.t.Helper()
	m := regexp.MustCompile(`msg="engine stopped" cut=(\d+)`).FindStringSubmatch(w.log.String())
	if m == nil {
		w.t.Fatalf("the log does not say what was cut:\n%s", w.log.String())
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// SIGTERM: no new connections, what is in flight ends well, exit 0.
func TestAStopLetsWhatIsInFlightFinish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"}, "dot : delay 700ms")
	w.head = `shutdown_deadline = "30s"`
	w.start()
	w.submitEach("dest.example", 12) // five connections: three rounds of 700 ms
	w.flying(5)
	began := time.Now()
	w.terminate()
	wait(t, "the submission port to close", func() bool {
		c, err := net.Dial("tcp", w.ip(1)+":"+submissionPort)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	if !w.alive() {
		t.Error("the engine ended before its mail did")
	}
	before := mx.Connections()
	w.ends()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if n := w.cut(); n != 0 {
		t.Errorf("%d were cut", n)
	}
	if n := mx.Connections(); n != before {
		t.Errorf("%d connections were made after the stop", n-before)
	}
	arrived := len(mx.Messages())
	if arrived < 5 || arrived == 12 {
		t.Errorf("%d arrived: the five in flight should, the rest should wait", arrived)
	}
	w.verify()

	w.start()
	w.empty()
	once(t, "the exchanger", received(mx.Messages()), 12)
	if kinds := w.balance(); kinds[event.Deferred] != 0 {
		t.Errorf("a stop is no attempt that failed: %v", kinds)
	}
	w.stop()
}

// An exchanger that never answers is cut at the deadline, which is counted; the
// next start delivers.
func TestAStopCutsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hanging := w.exchanger(50, []string{"dest.example"}, "dot : hang")
	w.head = `shutdown_deadline = "1s"`
	w.start()
	w.submitEach("dest.example", 8)
	w.flying(5)
	wait(t, "five messages before their answer", func() bool {
		n := 0
		for _, c := range hanging.Commands() {
			if c == "DATA" {
				n++
			}
		}
		return n >= 5
	})
	began := time.Now()
	w.stop()
	if took := time.Since(began); took < 900*time.Millisecond || took > 10*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if n := w.cut(); n != 5 {
		t.Errorf("%d were cut, not 5", n)
	}
	w.verify()
	mx := w.exchanger(51, []string{"dest.example"})
	w.start()
	w.empty()
	once(t, "the exchanger", received(mx.Messages()), 8)
	w.balance()
	w.stop()
	w.verify()
}

// Who only holds a connection open does not hold up a stop; who is handing over a
// message may finish, and what was answered with 250 is there after the start.
func TestAStopLetsAMessageBeingHandedOverFinish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	w.head = `shutdown_deadline = "20s"`
	w.start()
	var idle []*client
	for _, port := range []string{submissionPort, feedbackPort} {
		c, err := dial(w.ip(1) + ":" + port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	busy, err := dial(w.ip(1) + ":" + submissionPort)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, step := range []struct {
		want int
		line string
	}{{250, "MAIL FROM:<news@example.com>"}, {250, "RCPT TO:<ann@dest.example>"}, {354, "DATA"}} {
		if err := busy.cmd(step.want, "%s", step.line); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	w.terminate()
	for _, c := range idle {
		if _, text, err := c.ReadResponse(421); err != nil {
			t.Errorf("an idle client was told %q: %v", text, err)
		}
	}
	d := busy.DotWriter()
	if _, err := d.Write([]byte(letter(""))); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, text, err := busy.ReadResponse(250); err != nil {
		t.Fatalf("the message being handed over was answered %q: %v", text, err)
	}
	w.ends()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %s although nothing was left to do", took)
	}
	w.start()
	wait(t, "the message", func() bool { return len(mx.Messages()) == 1 })
	w.empty()
	w.balance()
	w.stop()
	w.verify()
}
