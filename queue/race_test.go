// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
)

// gone asserts that nothing of a message is left: header, body, recipients.
func (r *running) gone(mid uint64) {
	r.t.Helper()
	if _, err := r.st.Message(mid); !errors.Is(err, store.ErrStale) {
		r.t.Errorf("the header is still there: %v", err)
	}
	if body, err := r.st.Body(mid, 20); err == nil {
		r.t.Errorf("%d bytes of the body are still there", len(body))
	}
	err := r.st.Recipients(store.ID{}, func(e store.Entry) error {
		if e.ID.Message == mid {
			r.t.Errorf("recipient %s is still there", e.ID)
		}
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
}

// finals counts the final events of a message by recipient.
func (r *running) finals(mid uint64) map[uint32]int {
	r.t.Helper()
	list, err := r.st.Timeline(mid)
	if err != nil {
		r.t.Fatal(err)
	}
	m := map[uint32]int{}
	for i := range list {
		if list[i].Kind.Final() {
			m[list[i].Recipient]++
		}
	}
	return m
}

// lastTwo runs a message whose last two recipients, at two domains and so on two
// connections, conclude at the same moment: as one group of the committer, or in
// two with a power cut between them (cut = 1) or after them (cut = 2). It says
// how many remained at the cut.
func lastTwo(t *testing.T, outcomes [2]Kind, together bool, cut int) (remaining uint32) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	w := newWorld()
	gates := map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{})}
	kinds := map[string]Kind{"a": outcomes[0], "b": outcomes[1]}
	w.answer = func(e *store.Entry) Outcome {
		return Outcome{Kind: kinds[e.Address.Local], Reply: rfc5321.Reply{Code: 250}}
	}
	w.mail = func(job *Job) {
		if gate := gates[job.Recipients[0].Address.Local]; gate != nil {
			<-gate
		}
	}
	r := start(t, mem, w)
	s := r.transactional("a", "b", "first")
	for i := range s.Recipients {
		s.Recipients[i].Address.Domain = s.Recipients[i].Address.Local + ".example"
	}
	mid := r.enqueue(s)
	synctest.Wait() // the first is concluded, both others are in flight
	if m, err := r.st.Message(mid); err != nil || m.Remaining != 2 || r.Total().InFlight != 2 {
		t.Fatalf("before: %+v, %v, %+v", m, err, r.Total())
	}
	release := func() {}
	if together {
		release = r.blockWrites()
	}
	close(gates["a"])
	synctest.Wait()
	var left *vfs.MemFS
	if cut == 1 {
		left = mem.CrashClone(vfs.CrashCloneCfg{})
	}
	close(gates["b"])
	synctest.Wait()
	release()
	synctest.Wait()
	if cut == 2 {
		left = mem.CrashClone(vfs.CrashCloneCfg{})
	}
	gates = nil
	r.check(mid)
	r.stop()
	if cut == 0 {
		return 0
	}
	remaining = remains(t, left, mid)
	r = start(t, left, w)
	time.Sleep(time.Minute)
	r.check(mid)
	r.stop()
	return remaining
}

// check asserts that a message of three has ended, each of them once.
func (r *running) check(mid uint64) {
	r.t.Helper()
	r.gone(mid)
	r.idle()
	r.verify()
	got := r.finals(mid)
	if len(got) != 3 || got[0] != 1 || got[1] != 1 || got[2] != 1 {
		r.t.Errorf("final events by recipient: %v", got)
	}
}

// remains is how many recipients the header of a message on a disk counts.
func remains(t testing.TB, fs vfs.FS, mid uint64) uint32 {
	t.Helper()
	st, err := store.Open(store.Options{Dir: "queue", FS: fs, MemTableSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.Message(mid)
	if err != nil && !errors.Is(err, store.ErrStale) {
		t.Fatal(err)
	}
	list, err := store.Verify(st)
	if err != nil || len(list) > 0 {
		t.Errorf("at the cut: %v, %v", list, err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return m.Remaining
}

func TestRaceTwoLastRecipientsConcludeAtOnce(t *testing.T) {
	t.Parallel()
	for _, outcomes := range [][2]Kind{{Delivered, Delivered}, {Delivered, Bounced}, {Bounced, Bounced}} {
		for _, together := range []bool{false, true} {
			for cut, want := range []uint32{0, 1, 0} {
				if together && cut == 1 {
					want = 2 // both wait for the committer
				}
				synctest.Test(t, func(t *testing.T) {
					if got := lastTwo(t, outcomes, together, cut); got != want {
						t.Errorf("%v together %v cut %d: %d remained at the cut, not %d", outcomes, together, cut, got, want)
					}
				})
			}
		}
	}
}

// inFlightAct is an act that meets a recipient in flight.
type inFlightAct struct {
	name string
	// do gives the order, in a goroutine of its own, or changes what the world says.
	do func(r *running, id store.ID) error
	// kind is the event it leaves after a deferral.
	kind  string
	order bool // somebody waits for the answer: not found where the attempt ended the recipient
	final bool
}

var errNoAnswer = errors.New("no answer")

func inFlightActs() []inFlightAct {
	ctx := context.Background()
	recheck := func(r *running) error {
		return r.Recheck(ctx, rfc5321.Address{Local: "a", Domain: "example.com"})
	}
	return []inFlightAct{
		{"move", func(r *running, id store.ID) error { return r.Do(ctx, id, Moving("other")) }, "relaned", true, false},
		{"promotion", func(r *running, _ store.ID) error {
			r.w.tell(func() { r.w.tiers["a"] = "active" })
			return recheck(r)
		}, "relaned", false, false},
		{"suppression", func(r *running, _ store.ID) error {
			r.w.tell(func() { r.w.suppressed["a"] = "complaint (all)" })
			return recheck(r)
		}, "suppressed", false, true},
		{"hold", func(r *running, id store.ID) error { return r.Do(ctx, id, Holding("review")) }, "held", true, false},
		{"release", func(r *running, id store.ID) error { return r.Do(ctx, id, Releasing()) }, "released", true, false},
		{"drop", func(r *running, id store.ID) error { return r.Do(ctx, id, Dropping("not wanted")) }, "dropped", true, true},
		{"expiry", func(*running, store.ID) error {
			time.Sleep(31 * time.Minute)
			return nil
		}, "expired", false, true},
	}
}

func (w *world) tell(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// actInFlight gives the order while the recipient is in flight and lets the
// attempt end; then it starts what a power cut would have left before and after.
func actInFlight(t *testing.T, x inFlightAct, end Kind) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	w := newWorld()
	w.tiers["a"] = "cooling"
	gate := make(chan struct{})
	w.pause = func(context.Context) { <-gate }
	w.answer = func(*store.Entry) Outcome { return Outcome{Kind: end, Reply: rfc5321.Reply{Code: 250}} }
	r := start(t, mem, w)
	s := r.message("a", "cooling")
	s.Recipients[0].Expires = time.Now().Add(30 * time.Minute)
	id := store.ID{Message: r.enqueue(s)}
	synctest.Wait()
	answer := errNoAnswer
	var wg sync.WaitGroup
	wg.Go(func() { answer = x.do(r, id) })
	synctest.Wait()
	if x.name == "expiry" {
		wg.Wait()
	}
	if got := r.kinds(id); got != "accepted " {
		t.Errorf("%s of mail in flight left %q before the attempt ended", x.name, got)
	}
	before := mem.CrashClone(vfs.CrashCloneCfg{})
	close(gate)
	wg.Wait()
	time.Sleep(time.Second)
	synctest.Wait()
	var want string
	wantErr := error(nil)
	switch end {
	case Deferred:
		want = "accepted deferred " + x.kind + " "
		if x.name == "release" {
			want += "deferred " // due at once, and deferred again
		}
	case Delivered:
		want = "accepted delivered "
	default:
		want = "accepted bounced "
	}
	if x.order && end != Deferred {
		wantErr = ErrNotFound
	}
	if got := r.kinds(id); got != want || !errors.Is(answer, wantErr) {
		t.Errorf("%s during an attempt that ended %d: events %q, not %q; answered %v, not %v", x.name, end, got, want, answer, wantErr)
	}
	if end != Deferred || x.final {
		r.gone(id.Message)
		r.idle()
	}
	r.verify()
	after := mem.CrashClone(vfs.CrashCloneCfg{})
	r.stop()
	x.again(t, w, before, id)
	x.kept(t, w, after, id, want)
}

// again starts what a power cut left before the attempt was concluded: it is
// made again, and what holds by itself (a suppression, a tier, a date) holds
// still. An order was not answered, and is not there.
func (x inFlightAct) again(t *testing.T, w *world, fs vfs.FS, id store.ID) {
	t.Helper()
	w.pause = nil
	w.answers(nil)
	r := start(t, fs, w)
	time.Sleep(time.Minute)
	got := r.kinds(id)
	want := "accepted delivered "
	switch {
	case x.order:
	case x.final:
		want = "accepted " + x.kind + " "
	default:
		want = "accepted " + x.kind + " delivered "
	}
	if got != want {
		t.Errorf("%s, power cut before the conclusion: events %q, not %q", x.name, got, want)
	}
	r.gone(id.Message)
	r.idle()
	r.verify()
	r.stop()
}

// kept starts what a power cut left after the act was answered.
func (x inFlightAct) kept(t *testing.T, w *world, fs vfs.FS, id store.ID, want string) {
	t.Helper()
	r := start(t, fs, w)
	synctest.Wait()
	if got := r.kinds(id); !strings.HasPrefix(got, want) {
		t.Errorf("%s, power cut afterwards: events %q, not %q", x.name, got, want)
	}
	if x.name == "hold" {
		if n := r.Total(); n.Held > 0 != strings.HasSuffix(want, "held ") {
			t.Errorf("hold, power cut afterwards: %+v after %q", n, want)
		}
	}
	r.verify()
	r.stop()
}

func TestRaceActsOnMailInFlightApplyAtItsConclusion(t *testing.T) {
	t.Parallel()
	for _, x := range inFlightActs() {
		for _, end := range []Kind{Delivered, Deferred, Bounced} {
			synctest.Test(t, func(t *testing.T) { actInFlight(t, x, end) })
		}
	}
}
