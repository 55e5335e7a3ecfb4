// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/kv"
	"github.com/seguemta/segue/mta/mtatest/peer"
)

// errnos are the errors that a disk gives, with their text.
func errnos() map[string]string {
	return map[string]string{"EIO": "input/output error", "ENOSPC": "no space left on device"}
}

// What a failed call means depends on the file. The log, the manifest and the
// directory are what the engine knows about its disk: it ends. Tables are written
// again: it goes on, says that it is not ready, and recovers.
func TestDiskFaults(t *testing.T) {
	t.Parallel()
	for errno, text := range errnos() {
		t.Run("sync/"+errno, func(t *testing.T) {
			t.Parallel()
			fatal(t, text, func(w *world) strike { return strike{calls: "fsync,fdatasync", how: "error=" + errno} })
		})
		for _, store := range []string{"queue", "contacts"} {
			t.Run("write to the log of "+store+"/"+errno, func(t *testing.T) {
				t.Parallel()
				fatal(t, text, func(w *world) strike {
					return strike{calls: "write,writev,pwrite64", how: "error=" + errno, files: w.files(store, ".log")}
				})
			})
		}
		t.Run("rename/"+errno, func(t *testing.T) {
			t.Parallel()
			fatal(t, text, func(w *world) strike { return strike{calls: "/^rename", how: "error=" + errno} })
		})
		t.Run("new log/"+errno, func(t *testing.T) {
			t.Parallel()
			fatal(t, text, func(w *world) strike {
				return strike{calls: "openat", how: "error=" + errno, files: w.files("queue", ".log")}
			})
		})
		for name, calls := range map[string]string{"write to tables": "write,writev,pwrite64", "new tables": "openat"} {
			t.Run(name+"/"+errno, func(t *testing.T) {
				t.Parallel()
				transient(t, text, calls, "error="+errno)
			})
		}
		t.Run("first start/"+errno, func(t *testing.T) {
			t.Parallel()
			firstStart(t, "error="+errno, text)
		})
	}
	t.Run("first start/kill", func(t *testing.T) {
		t.Parallel()
		firstStart(t, "signal=SIGKILL", "")
	})
}

// fatal strikes an engine under load, and expects that it ends with a clear
// word, that nobody was told 250 in vain, and that the next start has it all.
func fatal(t *testing.T, text string, what func(w *world) strike) {
	t.Helper()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	l := newLedger()
	l.size = 8 << 10 // the log is full now and then
	w.start()
	done := make(chan struct{})
	wg := w.load(l, 0, done)
	l.hear(t, 50+rand.IntN(300))
	heal := w.strike(what(w))
	w.falls(w.dir+"/data/", text, "what was answered 250 is safe")
	heal()
	close(done)
	wg.Wait()
	w.start()
	w.settle(l, mx, 1)
}

// transient makes tables impossible to write for a while.
func transient(t *testing.T, text, calls, how string) {
	t.Helper()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	l := newLedger()
	l.size = 8 << 10
	w.start()
	done := make(chan struct{})
	wg := w.load(l, 0, done)
	l.hear(t, 50)
	heal := w.strike(strike{calls: calls, how: how, files: w.files("queue", ".sst")})
	var h api.Health
	wait(t, "503", func() bool {
		code, said := w.get("/readyz")
		return code == http.StatusServiceUnavailable && json.Unmarshal([]byte(said), &h) == nil
	})
	if said := strings.Join(h.Problems, "\n"); !strings.Contains(said, "the queue store cannot write its tables") || !strings.Contains(said, text) {
		t.Errorf("/readyz says %s", said)
	}
	close(done)
	wg.Wait()
	c, err := dial(w.ip(1) + ":" + submissionPort)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.send("news@example.com", letter(""), "bob@dest.example"); err == nil || !strings.HasPrefix(err.Error(), "452 ") {
		t.Errorf("a message that cannot be kept for long was answered %v", err)
	}
	if w.metric("segue_store_failing") != 1 || w.metric("segue_store_failures_total") == 0 {
		t.Error("the metrics do not say it")
	}
	heal()
	wait(t, "readiness", func() bool {
		code, _ := w.get("/readyz")
		return code == http.StatusOK
	})
	if w.metric("segue_store_failing") != 0 {
		t.Error("the metrics say that it goes on")
	}
	w.submitEach("dest.example", 10)
	w.settle(l, mx, 0)
	if said := w.log.String(); strings.Count(said, "cannot write its tables") != 1 || !strings.Contains(said, "writes its tables again") {
		t.Errorf("the log says:\n%s", tail(said))
	}
}

// firstStart strikes the very first start of one engine after another, each a step
// later: it ends with a clear word or not at all, and the next start, undisturbed,
// makes of what is there a whole engine.
func firstStart(t *testing.T, how, text string) {
	t.Helper()
	for calls, steps := range map[string][]int{"fsync,fdatasync": {1, 2, 4, 7, 10}, "/^rename": {1, 2}, "/^mkdir": {1, 2, 3}, "write": {1, 2, 3}} {
		for _, n := range steps {
			w := newWorld(t)
			s := strike{calls: calls, how: fmt.Sprintf("%s:when=%d+", how, n)}
			if calls == "write" { // not those to sockets
				s.files = []string{w.dir + "/secrets/token.keys.new", w.dir + "/secrets/suppression.key.new", w.dir + "/data/queue/MANIFEST-000001", w.dir + "/data/queue/000002.log"}
			}
			status, said := w.stricken(s)
			switch {
			case status == -1 || text == "": // ready before so many calls, or killed
			case status != 1 && status != 74:
				t.Errorf("%s %d: status %d\n%s", calls, n, status, tail(said))
			default:
				clear(t, said, w.dir, text)
			}
			w.start()
			w.stop()
			w.verify()
		}
	}
}

// A disk that fills up: first by the engine's own mail, then by something that
// nobody asked it about. Nothing is lost, it says what is missing, and goes on by
// itself when there is room.
func TestAFullDiskRecovers(t *testing.T) {
	t.Parallel()
	const size = 256 << 20
	w := newWorld(t)
	w.minFree = "64MiB" // more than a log takes ahead when it begins
	data := filepath.Join(w.dir, "data")
	peer.Mount(t, w.dir, data, size)
	mx := w.exchanger(50, []string{"dest.example"}, "rcpt : 451 4.7.1 try again later")
	l := newLedger()
	l.size = 20 << 10
	w.start()

	// Its own mail: acceptance ends before the room does.
	done := make(chan struct{})
	w.load(l, 0, done).Wait()
	close(done)
	l.mu.Lock()
	for _, err := range l.refused {
		if reply, ok := errors.AsType[*textproto.Error](err); !ok || reply.Code != 452 || !strings.HasPrefix(reply.Msg, "4.3.1 ") {
			t.Errorf("a message without room was answered %v", err)
		}
	}
	l.mu.Unlock()
	if free, _, err := kv.Space(data); err != nil || free < 16<<20 {
		t.Errorf("acceptance ended with %d bytes free, %v", free, err)
	}
	code, said := w.get("/readyz")
	if code != http.StatusServiceUnavailable || !strings.Contains(said, "less than queue.min_free") || !strings.Contains(said, data) {
		t.Errorf("/readyz: %d %s", code, said)
	}

	// A ballast: deferrals and an import go on, so the engine writes until it cannot.
	ballast := fill(t, filepath.Join(data, "ballast"))
	var rows strings.Builder
	rows.WriteString("email\n")
	for n := range 300_000 {
		fmt.Fprintf(&rows, "somebody-number-%d@people.example\n", n)
	}
	w.segue("contact", "import", w.write("people.csv", rows.String())) // what comes of it is seen below
	wait(t, "the engine to end or to have trouble", func() bool {
		if !w.alive() {
			return true
		}
		h, err := w.api.Health(t.Context())
		return err == nil && strings.Contains(strings.Join(h.Problems, "\n"), "no space left on device")
	})
	ends := 0
	if !w.alive() {
		w.falls(data, "no space left on device", "free space")
		ends = 1
		// Started again by systemd it waits, and says so.
		w.process = run(t, program(t), "serve", "--config", w.config())
		wait(t, "the engine to wait for room", func() bool { return strings.Contains(w.log.String(), "disk is full: waiting for room") })
	}
	accepting := w.exchanger(51, []string{"dest.example"}) // before there is room: who starts then asks at once
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	wait(t, "the engine to be there", func() bool {
		_, err := w.api.Health(t.Context())
		return err == nil
	})
	w.must("queue", "retry", "--all")
	w.empty()
	if !w.alive() {
		t.Fatalf("the engine ended:\n%s", w.log.String())
	}
	wait(t, "room", func() bool { // for the mail that has left
		code, _ := w.get("/readyz")
		return code == http.StatusOK
	})
	w.submitEach("dest.example", 10)
	if n := len(mx.Messages()); n != 0 {
		t.Errorf("%d messages arrived where all were put off", n)
	}
	w.settle(l, accepting, ends)
}

// fill takes all that is free.
func fill(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return path
}

// A disk that needs over a second for each sync. Clients share the syncs, nobody is
// sent away, operators are told, and a stop is a stop.
func TestASlowDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	l := newLedger()
	w.start()
	heal := w.strike(strike{calls: "fsync,fdatasync", how: "delay_exit=1100000"})
	done := make(chan struct{})
	wg := w.load(l, 0, done)
	l.hear(t, 16)
	close(done)
	wg.Wait()
	if len(l.refused) > 0 {
		t.Errorf("clients were refused: %v", l.refused)
	}
	if n := w.metric("segue_store_slow_syncs_total"); n == 0 {
		t.Error("no slow sync was counted")
	}
	if n := strings.Count(w.log.String(), "disk is slow"); n == 0 || n > 2*2 {
		t.Errorf("two stores say %d times that the disk is slow:\n%s", n, tail(w.log.String()))
	}
	w.empty()
	w.stop()
	heal()
	trace, err := os.ReadFile(filepath.Join(w.dir, "trace"))
	if err != nil {
		t.Fatal(err)
	}
	messages, syncs := len(mx.Messages()), len(regexp.MustCompile(`fdatasync\(\d+<.*/queue/\d+\.log>`).FindAll(trace, -1))
	t.Logf("%d messages, %d syncs of the queue's log", messages, syncs)
	// Not shared, a message takes two: one at its acceptance and one at its end.
	if syncs == 0 || syncs > messages {
		t.Errorf("%d syncs for %d messages: they are not shared", syncs, messages)
	}
	w.start()
	w.settle(l, mx, 0)
}
