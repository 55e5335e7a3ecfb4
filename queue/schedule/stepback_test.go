// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"testing"
	"time"
)

// newStepped is a world with one source and one domain.
func newStepped(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, Options{Backoff: []time.Duration{time.Minute}})
	w.step(DefineSource{Name: "a1"})
	w.step(DefinePool{Name: "p", Members: []Member{{Source: "a1", Weight: 1}}})
	w.step(DefineClass{ID: 1, Class: Class{Pool: "p", Weight: 1}})
	w.sites["a.test"] = Resolved{Domain: "a.test", Site: "mx.a.test"}
	return w
}

// mail queues an item that is due.
func (w *world) mail(n uint64) {
	w.queue("a.test", 1, Item{ID: ID{Message: n}, Due: w.now, Queued: w.now})
}

// refuse ends the connection that the last Take dialled. Its mail is tried again after a while.
func (w *world) refuse(failed bool, after time.Duration) {
	w.t.Helper()
	if len(w.r.Dial) != 1 {
		w.t.Fatalf("%d connections are dialled, not 1", len(w.r.Dial))
	}
	c := w.r.Dial[0].Conn
	w.conclude(c, Concluded{}, w.now.Add(after), false)
	w.step(ConnDown{Conn: c, Failed: failed})
}

// live goes from wake to wake for a while and delivers all that the machine sends.
func (w *world) live(d time.Duration) {
	end := w.now.Add(d)
	for w.deliver(); !w.r.Wake.IsZero() && !w.r.Wake.After(end); w.deliver() {
		w.now = w.r.Wake
	}
	w.now = end
}

// dial runs until a connection is dialled.
func (w *world) dial() {
	for range 10 {
		w.take()
		if w.answer(); len(w.r.Dial) > 0 {
			return
		}
	}
}

// A clock that is set back by less than its tolerance is followed without a word. What had
// ended before may not have ended after it, and nobody was woken at its end any more: the mail
// of a site waited until a restart.
func TestBackoffEndsAgainAfterAStepBack(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]func(*world){
		"while a connection is dialled that fails": func(w *world) {
			w.mail(2)
			w.dial()
			w.now = w.now.Add(-50 * time.Second)
			w.refuse(true, 0)
		},
		"before mail comes": func(w *world) {
			w.now = w.now.Add(-50 * time.Second)
			w.mail(2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newStepped(t)
			w.mail(1)
			w.dial()
			w.refuse(true, 2*time.Hour)
			w.live(time.Minute)
			step(w)
			w.live(time.Hour)
			if len(w.sent) != 1 { // the first is tried again later
				t.Errorf("after an hour there waits %v", w.disk)
			}
		})
	}
}

// A pause that is over when the clock is set back may be in force again, and must end again.
func TestPauseEndsAgainAfterAStepBack(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"without a word": 0, "told": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newStepped(t)
			w.step(Paused{Source: "a1", Until: w.now.Add(time.Minute)})
			w.mail(1)
			w.take()
			w.answer()
			w.take()
			w.now = w.r.Wake
			w.dial()
			if by > 0 {
				w.now = w.now.Add(-by)
				w.step(SetBack{By: by})
			} else {
				w.now = w.now.Add(-50 * time.Second)
			}
			w.refuse(false, 0)
			w.live(3 * time.Hour)
			if len(w.disk) > 0 {
				t.Errorf("after three hours there waits %v", w.disk)
			}
		})
	}
}

// Mail that had expired by a clock that was ahead, and was put aside until the driver says
// so, is sent where it has not expired by the clock that was set back.
func TestWhatHasNotExpiredAfterASetBackIsSent(t *testing.T) {
	t.Parallel()
	w := newStepped(t)
	w.queue("a.test", 1, Item{ID: ID{Message: 1}, Due: w.now, Queued: w.now, Expires: w.now.Add(48 * time.Hour)})
	w.now = w.now.Add(72 * time.Hour)
	w.deliver()
	if len(w.sent) > 0 {
		t.Fatal("expired mail was sent")
	}
	w.now = w.now.Add(-72 * time.Hour)
	w.step(SetBack{By: 72 * time.Hour})
	w.deliver()
	if len(w.sent) != 1 {
		t.Errorf("of 1 message %d were sent", len(w.sent))
	}
}
