// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
)

// ledger is what the outside knows, kept apart from the queue that dies: what
// was acknowledged to submitters, and what peers have taken. Its lock is held
// when the power is cut, so that "before" and "after" mean something.
type ledger struct {
	mu       sync.Mutex
	cutAt    bool                      // the power is gone: what happens now happened to nobody
	accepted map[store.ID]bool         // acknowledged by Enqueue
	received map[store.ID]int          // taken or refused for good by peers, over both lives
	open     map[*crashPeer][]store.ID // a connection's transaction: offered, and perhaps not concluded on disk
	clone    *vfs.MemFS                // what the cut left
	cutAfter int                       // receptions after which the power is cut in the middle of a transaction; 0 = not
	cut      func() *vfs.MemFS
	charged  map[store.ID]bool // marketing recipients offered, over both lives: each is charged once a day
}

// powerCut cuts the power, once. The lock is held.
func (l *ledger) powerCut() {
	if !l.cutAt {
		l.clone, l.cutAt = l.cut(), true
	}
}

// crashPeer is one connection to a peer.
type crashPeer struct {
	l   *ledger
	rng *rand.Rand
}

// crashWorld is a peer that takes most mail, defers some and refuses some.
type crashWorld struct {
	*world
	l   *ledger
	mu  sync.Mutex
	rng *rand.Rand
}

func (w *crashWorld) Dial(context.Context, *Job) (Connection, *Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &crashPeer{w.l, rand.New(rand.NewPCG(w.rng.Uint64(), 1))}, nil
}

func (p *crashPeer) Close() {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	if !p.l.cutAt {
		delete(p.l.open, p) // its last conclusion was durable, or nobody was offered
	}
}

// Send notes first who is offered: with the next Send of the same connection the
// queue says that the one before is concluded on disk.
func (p *crashPeer) Send(_ context.Context, job *Job) *Result {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	res := &Result{MailSent: true, Usable: p.rng.IntN(8) != 0, Outcomes: make([]Outcome, len(job.Recipients))}
	if p.l.cutAt {
		return res
	}
	p.l.open[p] = p.l.open[p][:0]
	for i := range job.Recipients {
		e := &job.Recipients[i]
		p.l.open[p] = append(p.l.open[p], e.ID)
		if job.Class.Stream == "marketing" {
			p.l.charged[e.ID] = true
		}
		switch p.rng.IntN(10) {
		case 0:
			res.Outcomes[i] = deferred("later")
		case 1:
			res.Outcomes[i] = Outcome{Kind: Bounced, Reply: rfc5321.Reply{Code: 550}}
			p.l.received[e.ID]++ // refusing it settles it as well
		default:
			res.Outcomes[i] = Outcome{Kind: Delivered, Reply: rfc5321.Reply{Code: 250}}
			p.l.received[e.ID]++
		}
	}
	if p.l.cutAfter > 0 && len(p.l.received) >= p.l.cutAfter {
		p.l.powerCut()
	}
	return res
}

// crashQueue runs a queue of the crash test until the returned function is called.
func crashQueue(t testing.TB, fs vfs.FS, w *crashWorld) (q *Queue, st *store.Store, stop func()) {
	t.Helper()
	st, err := store.Open(store.Options{Dir: "queue", FS: fs, MemTableSize: 1 << 20, IDBlock: 10})
	if err != nil {
		t.Fatal(err)
	}
	o := options(w.world, st)
	o.Transport, o.Budgets = w, w.world
	o.Retry = []time.Duration{time.Millisecond}
	q, err = New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { q.Run(ctx, context.Background()) })
	return q, st, func() {
		cancel()
		wg.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

const (
	crashBudget = 60  // of the day, for the marketing half
	crashSize   = 160 // recipients that are submitted at most in the first life
)

// crashRound runs a queue on a disk that forgets what was not synced, cuts the
// power at a random moment, opens what is left, runs it to the end and holds it
// against the ledger. It says how much was acknowledged, how much of it was lost
// and what came twice. A connection has one transaction open at a time, so what
// was open at the cut is also at most one transaction for each connection.
func crashRound(t testing.TB, seed uint64, honest bool) (kept, lost, twice int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	l := &ledger{
		accepted: map[store.ID]bool{}, received: map[store.ID]int{}, open: map[*crashPeer][]store.ID{},
		charged: map[store.ID]bool{},
	}
	mem := vfs.NewCrashableMem()
	var disk vfs.FS = mem
	cfg := vfs.CrashCloneCfg{RNG: rng, UnsyncedDataPercent: rng.IntN(101)}
	if !honest {
		disk, cfg.UnsyncedDataPercent = lying{mem}, 0
	}
	l.cut = func() *vfs.MemFS { return mem.CrashClone(cfg) }
	w := &crashWorld{world: newWorld(), l: l, rng: rand.New(rand.NewPCG(seed, 8))}
	w.caps = dayCap(crashBudget)
	if seed%2 == 1 {
		l.cutAfter = 1 + rng.IntN(80)
	}
	q, st, stop := crashQueue(t, disk, w)
	submitting, quit := submitters(q, l, seed)

	// Else the cut comes after a random number of commits, seen by the watermark.
	for cut := uint64(20+rng.IntN(250)) + uint64(l.cutAfter)*100; ; {
		durable, changed := st.Durable()
		if durable >= cut {
			break
		}
		select {
		case <-changed:
		case <-submitting: // all is in: what is left decides
			submitting = nil
			cut = min(cut, durable)
		}
	}
	l.mu.Lock()
	l.powerCut()
	flying := map[store.ID]bool{}
	for _, ids := range l.open {
		for _, id := range ids {
			flying[id] = true
		}
	}
	l.mu.Unlock()
	quit()
	stop()
	lost, twice = secondLife(t, l.clone, w, flying)
	return len(l.accepted), lost, twice
}

// submitters fill a queue from several sides until they have enqueued enough or quit is called.
func submitters(q *Queue, l *ledger, seed uint64) (done <-chan struct{}, quit func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for n := range 4 {
		rng := rand.New(rand.NewPCG(seed, uint64(n)+20))
		wg.Go(func() {
			for i := 0; i < crashSize/4; {
				s := crashMessage(rng, n, i)
				i += len(s.Recipients)
				mid, err := q.Enqueue(ctx, s)
				if err != nil {
					return
				}
				l.mu.Lock()
				for i := range s.Recipients {
					if !l.cutAt {
						l.accepted[store.ID{Message: mid, Recipient: uint32(i)}] = true
					}
				}
				l.mu.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	return ended, func() { cancel(); <-ended }
}

// crashMessage is a marketing mail to one, or a transactional one to several, a
// few of them too large for the committer's batch.
func crashMessage(rng *rand.Rand, who, i int) *Submission {
	s := &Submission{Body: []byte("Subject: x\r\n\r\n" + strings.Repeat("b", rng.IntN(2000)))}
	if rng.IntN(120) == 0 {
		s.Body = append(s.Body, make([]byte, largeBody)...)
	}
	class := store.Class{Stream: "marketing", Tier: "active", Pool: "main"}
	n := 1
	if rng.IntN(3) == 0 {
		class.Stream, n = "transactional", 1+rng.IntN(3)
	}
	for k := range n {
		s.Recipients = append(s.Recipients, Recipient{
			Address: rfc5321.Address{Local: fmt.Sprintf("w%d-%d-%d", who, i, k), Domain: fmt.Sprintf("d%d.example", rng.IntN(3))},
			Class:   class, Expires: time.Now().Add(24 * time.Hour),
		})
	}
	return s
}

// secondLife opens what the power cut left and runs it to the end.
func secondLife(t testing.TB, fs vfs.FS, w *crashWorld, flying map[store.ID]bool) (lost, twice int) {
	t.Helper()
	l := w.l
	l.cutAt, l.cutAfter, l.open = false, 0, map[*crashPeer][]store.ID{}
	before := make(map[store.ID]int, len(l.received))
	maps.Copy(before, l.received)
	q, st, stop := crashQueue(t, fs, w)
	defer stop()
	time.Sleep(3 * time.Second) // every retry is due, and done
	synctest.Wait()
	waiting := verifyEnd(t, q, st, l)
	for id := range l.accepted {
		if l.received[id] == 0 && !waiting[id] {
			lost++
		}
	}
	for id, n := range l.received {
		if n == 1 {
			continue
		}
		twice++
		if n > 2 || before[id] != 1 || !flying[id] {
			t.Errorf("%s was received %d times, %d of them before the cut; in flight then: %v", id, n, before[id], flying[id])
		}
	}
	return lost, twice
}

// verifyEnd checks the store and the books of a queue that has nothing left to
// do today, and returns who waits for tomorrow.
func verifyEnd(t testing.TB, q *Queue, st *store.Store, l *ledger) map[store.ID]bool {
	t.Helper()
	list, err := store.Verify(st)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		t.Errorf("violation: %s", v)
	}
	used := 0
	for _, b := range q.BudgetsToday() {
		used += b.Used
	}
	waiting := make(map[store.ID]bool)
	err = st.Recipients(store.ID{}, func(e store.Entry) error {
		waiting[e.ID] = true
		if s := st.Class(e.Class).Stream; s != "marketing" || used < crashBudget {
			t.Errorf("%s of stream %s was left behind with %d of the budget used", e.ID, s, used)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := q.Total(); n != (Count{Waiting: len(waiting)}) {
		t.Errorf("%d wait on disk, the queue counts %+v", len(waiting), n)
	}
	if used > crashBudget || len(l.charged) > used {
		t.Errorf("%d recipients were offered, %d charged; %d are allowed", len(l.charged), used, crashBudget)
	}
	verifyEvents(t, st, waiting)
	return waiting
}

// verifyEvents checks that whoever was accepted ended once, or waits.
func verifyEvents(t testing.TB, st *store.Store, waiting map[store.ID]bool) {
	t.Helper()
	ends := make(map[store.ID]int)
	for last, durable := uint64(0), uint64(1); last < durable; {
		durable, _ = st.Durable()
		list, err := st.Events(last, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			e := &list[i]
			last = e.Sequence
			id := store.ID{Message: e.Message, Recipient: e.Recipient}
			switch {
			case e.Kind == event.Accepted:
				ends[id] += 0
			case e.Kind.Final():
				ends[id]++
			}
		}
	}
	for id, n := range ends {
		if n > 1 || n == 0 && !waiting[id] {
			t.Errorf("%s has %d final events; waiting: %v", id, n, waiting[id])
		}
	}
}

func TestPowerLossLosesNothingAndRepeatsOnlyWhatWasInFlight(t *testing.T) {
	t.Parallel()
	const seeds = 32
	total, repeated := 0, 0
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			kept, lost, twice := crashRound(t, seed, true)
			total, repeated = total+kept, repeated+twice
			if lost > 0 {
				t.Errorf("seed %d: %d of %d acknowledged recipients are lost", seed, lost, kept)
			}
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
	if repeated == 0 {
		t.Error("nothing was in flight at any cut: the test does not see repeated mail")
	}
	t.Logf("0 of %d acknowledged recipients lost, %d in flight repeated over %d power cuts", total, repeated, seeds)
}

// The control: on a disk that lies about syncs the same test must lose mail,
// else it shows nothing.
func TestControlOnADiskThatLiesLosesMail(t *testing.T) {
	t.Parallel()
	total := 0
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			_, lost, _ := crashRound(silent{t}, seed, false)
			total += lost
		})
	}
	if total == 0 {
		t.Error("without syncs nothing was lost: the crash test cannot see a missing sync")
	}
	t.Logf("%d acknowledged recipients lost on a disk that lies", total)
}

// silent is a test that may break its rules: the control must not fail for the
// violations that it provokes.
type silent struct{ *testing.T }

func (silent) Errorf(string, ...any) {}
func (silent) Error(...any)          {}

// lying is a disk that says that the log is synced and has done nothing.
type lying struct{ vfs.FS }

type lyingFile struct{ vfs.File }

func (lyingFile) Sync() error                { return nil }
func (lyingFile) SyncData() error            { return nil }
func (lyingFile) SyncTo(int64) (bool, error) { return true, nil }

func lie(name string, f vfs.File, err error) (vfs.File, error) {
	if err == nil && strings.HasSuffix(name, ".log") {
		f = lyingFile{f}
	}
	return f, err
}

func (d lying) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return lie(name, f, err)
}

func (d lying) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(old, name, c)
	return lie(name, f, err)
}
