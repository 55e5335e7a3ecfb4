// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/api"
)

// wallClock is the clock on the wall of a town, which tests set.
type wallClock struct{ off atomic.Int64 }

// now is what time.Now gives on a machine whose wall was set: the wall's part of
// the reading steps, the monotonic one goes on. No function makes such a reading:
// it is one bit for monotonic, 33 for seconds since 1885, 30 for nanoseconds, then the
// monotonic nanoseconds.
func (c *wallClock) now() time.Time {
	now := time.Now()
	wall := now.Add(time.Duration(c.off.Load()))
	since := wall.Unix() - time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	made := now
	raw := (*[2]uint64)(unsafe.Pointer(&made))
	raw[0] = 1<<63 | uint64(since)<<30 | uint64(wall.Nanosecond())
	raw[1] = uint64(now.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)))
	return made
}

func (c *wallClock) set(by time.Duration) { c.off.Add(int64(by)) }

// onTheWall runs a test with a town whose wall clock can be set.
func onTheWall(t *testing.T, f func(t testing.TB, w *town, c *wallClock), rules ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &wallClock{}
		w := newTown(t, rules...)
		w.wall = c.now
		w.run()
		time.Sleep(time.Minute)
		f(t, w, c)
		w.stop()
		w.verify()
	})
}

// clockEvents are the reasons of the events about the clock, in order.
func (w *town) clockEvents() string {
	w.t.Helper()
	var list []string
	for _, k := range w.kinds() {
		if strings.HasPrefix(k, "clock_") {
			list = append(list, strings.Join(strings.Fields(k), " "))
		}
	}
	return strings.Join(list, "; ")
}

func (w *town) frozen() bool {
	w.t.Helper()
	synctest.Wait() // contacts follow the event
	c, err := w.Methods().Clock(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := w.Methods().Health(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if c.Frozen != (len(h.Warnings) > 0) || !h.Ready {
		w.t.Errorf("frozen: %v, ready: %v, warnings: %v", c.Frozen, h.Ready, h.Warnings)
	}
	return c.Frozen
}

func (w *town) count(kind string) int {
	n := 0
	for _, k := range w.kinds() {
		if strings.HasPrefix(k, kind+" ") {
			n++
		}
	}
	return n
}

// Both ways, for as long as nobody believes it: mail comes and goes, and nothing
// that depends on a date happens; then the wall is believed.
func TestClockThatIsSetIsBelievedAfterTenMinutes(t *testing.T) {
	for _, by := range []time.Duration{5 * time.Hour, -5 * time.Hour} {
		onTheWall(t, func(t testing.TB, w *town, c *wallClock) {
			w.submit("", "slow@dest.example")
			time.Sleep(10 * time.Second)
			c.set(by)
			now := w.o.Now()
			time.Sleep(10 * time.Second)
			if d := w.o.Now().Sub(now); d != 10*time.Second {
				t.Errorf("%v: the engine's clock went on by %v in ten seconds", by, d)
			}
			if !w.frozen() || w.clockEvents() != "clock_frozen the wall clock was "+jumped(by) {
				t.Errorf("%v: frozen %v, events: %s", by, w.frozen(), w.clockEvents())
			}
			h, err := w.Methods().Health(t.Context())
			if err != nil || len(h.Warnings) != 1 || !strings.Contains(h.Warnings[0], jumped(by)) {
				t.Errorf("%v: %+v, %v", by, h, err)
			}
			w.submit("", "fast@dest.example")
			time.Sleep(9 * time.Minute)
			if !w.has("delivered", "fast@dest.example") || w.count("deferred") != 3 || w.count("expired") != 0 {
				t.Errorf("%v: while it is in doubt: %v", by, w.kinds())
			}
			time.Sleep(2 * time.Minute)
			want := "clock_frozen the wall clock was " + jumped(by) + "; clock_settled the wall clock was steady for 10m0s after it was " + jumped(by)
			if w.frozen() || w.clockEvents() != want {
				t.Errorf("%v: frozen %v, events: %s", by, w.frozen(), w.clockEvents())
			}
			if d := w.o.Now().Sub(c.now()); d != 0 {
				t.Errorf("%v: the engine is %v off", by, d)
			}
			before := w.count("deferred")
			time.Sleep(6 * time.Minute)
			if n := w.count("deferred") - before; n < 1 || n > 2 {
				t.Errorf("%v: %d attempts in the six minutes after it; one in five is due", by, n)
			}
		}, "rcpt slow@ : 451 4.7.1 later")
	}
}

func TestClockIsConfirmedByAnOperator(t *testing.T) {
	onTheWall(t, func(t testing.TB, w *town, c *wallClock) {
		err := w.Methods().ConfirmClock(t.Context())
		if p, ok := errors.AsType[*api.Error](err); !ok || p.Status != http.StatusConflict {
			t.Errorf("confirming a clock that nobody doubts: %v", err)
		}
		c.set(5 * time.Hour)
		time.Sleep(10 * time.Second)
		if !w.frozen() {
			t.Fatal("it is not frozen")
		}
		if err := w.Methods().ConfirmClock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.frozen() || !w.o.Now().Equal(c.now()) {
			t.Errorf("confirmed: frozen %v, now %v", w.frozen(), w.o.Now())
		}
		if got := w.clockEvents(); !strings.HasSuffix(got, "; clock_settled an operator confirmed the wall clock, which was set ahead by 5h0m0s") {
			t.Errorf("events: %s", got)
		}
	})
}

func TestClockThatIsCorrectedIsBelievedAtOnce(t *testing.T) {
	onTheWall(t, func(t testing.TB, w *town, c *wallClock) {
		c.set(-5 * time.Hour)
		time.Sleep(3 * time.Minute)
		c.set(5 * time.Hour)
		time.Sleep(10 * time.Second)
		if want := "clock_frozen the wall clock was set back by 5h0m0s; clock_settled the wall clock is back where it should be"; w.frozen() || w.clockEvents() != want {
			t.Errorf("frozen %v, events: %s", w.frozen(), w.clockEvents())
		}
	})
}

func TestClockThatIsSlewedIsFollowed(t *testing.T) {
	onTheWall(t, func(t testing.TB, w *town, c *wallClock) {
		for range 600 { // five minutes in ten hours
			c.set(500 * time.Millisecond)
			time.Sleep(time.Minute)
		}
		c.set(-time.Second) // a leap second
		time.Sleep(time.Minute)
		if w.frozen() || w.clockEvents() != "" || !w.o.Now().Equal(c.now()) {
			t.Errorf("frozen %v, events: %s, %v off", w.frozen(), w.clockEvents(), w.o.Now().Sub(c.now()))
		}
	})
}

// Time alone demotes nobody and ends no day while the wall is in doubt. Here it
// jumps over midnight, and four minutes later the 30 days end that keep a contact active.
func TestClockInDoubtDemotesNobodyAndAdvancesNoStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &wallClock{}
		w := newTown(t)
		w.change, w.wall = climbing(), c.now
		c.set(22 * time.Hour)
		w.run()
		engaged := c.now().Add(-30*24*time.Hour + 5*time.Minute).UTC().Format(time.RFC3339)
		rows := "email,last_engaged_at,first_sent_at\n"
		for i := range 6 {
			rows += fmt.Sprintf("c%d@dest.example,%s,%s\n", i, engaged, engaged)
		}
		if _, err := w.Methods().ImportContacts(t.Context(), api.Import{Name: "c.csv"}, strings.NewReader(rows)); err != nil {
			t.Fatal(err)
		}
		w.submit("", "c0@dest.example")
		time.Sleep(time.Minute)
		c.set(5 * time.Hour)
		time.Sleep(8 * time.Minute)
		for i := 1; i < 6; i++ { // the budget has room for one of them
			w.submit("", fmt.Sprintf("c%d@dest.example", i))
		}
		time.Sleep(10 * time.Second)
		if used, allowed, stage := w.used(); used != 2 || allowed != 2 || stage != 1 || len(w.mx.Messages()) != 2 {
			t.Errorf("in doubt: %d of %d used at stage %d, %d received", used, allowed, stage, len(w.mx.Messages()))
		}
		if w.count("stage_advanced") != 0 || w.count("relaned") != 0 {
			t.Errorf("in doubt: %v", w.kinds())
		}
		time.Sleep(3 * time.Minute)
		// The others are warm by now: they leave the pool of the cold source.
		if w.count("stage_advanced") != 1 || w.count("relaned") != 4 || len(w.mx.Messages()) != 6 || w.count("expired") != 0 {
			t.Errorf("believed: %d received, %v", len(w.mx.Messages()), w.kinds())
		}
		w.stop()
		w.verify()
	})
}

// A power cut while the wall is in doubt: the next start goes on doubting.
func TestClockDoubtSurvivesAPowerCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &wallClock{}
		w := newTown(t)
		mail, people := vfs.NewCrashableMem(), vfs.NewCrashableMem()
		w.mailFS, w.peopleFS, w.wall = mail, people, c.now
		w.run()
		time.Sleep(time.Minute)
		c.set(5 * time.Hour)
		time.Sleep(2 * time.Minute)
		now := w.o.Now()
		mailLeft, peopleLeft := mail.CrashClone(vfs.CrashCloneCfg{}), people.CrashClone(vfs.CrashCloneCfg{})
		w.stop()
		w.mailFS, w.peopleFS = mailLeft, peopleLeft
		w.run()
		if d := w.o.Now().Sub(now); !w.frozen() || d < -2*time.Minute || d > 2*time.Minute {
			t.Errorf("after the power cut: frozen %v, the engine's clock is %v on", w.frozen(), d)
		}
		time.Sleep(11 * time.Minute)
		if w.frozen() || !w.o.Now().Equal(c.now()) {
			t.Errorf("eleven minutes later: frozen %v", w.frozen())
		}
		w.stop()
		w.verify()
	})
}

// There is no monotonic clock from one process to the next, but there is what
// the last one knew: a wall behind it is in doubt, one ahead of it was off.
func TestClockAtStartIsHeldAgainstTheLastRun(t *testing.T) {
	for _, x := range []struct {
		by     time.Duration
		frozen bool
	}{{-5 * time.Hour, true}, {-time.Minute, false}, {48 * time.Hour, false}} {
		onTheWall(t, func(t testing.TB, w *town, c *wallClock) {
			time.Sleep(time.Hour)
			w.stop()
			c.set(x.by)
			w.run()
			if w.frozen() != x.frozen {
				t.Errorf("started %v off: frozen %v", x.by, w.frozen())
			}
			if !x.frozen {
				return
			}
			w.submit("", "ann@dest.example")
			time.Sleep(10 * time.Second)
			if !w.has("delivered", "ann@dest.example") {
				t.Errorf("mail does not flow: %v", w.kinds())
			}
			c.set(7 * time.Hour) // NTP answers; the machine had been off for two hours
			time.Sleep(10 * time.Second)
			if w.frozen() || !w.o.Now().Equal(c.now()) {
				t.Errorf("NTP answered: frozen %v", w.frozen())
			}
		})
	}
}
