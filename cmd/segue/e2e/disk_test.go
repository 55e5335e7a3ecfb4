// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/api"
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
