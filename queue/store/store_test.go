// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
)

func openMem(t testing.TB, fs vfs.FS, noSync bool) *Store {
	t.Helper()
	s, err := Open(Options{Dir: "queue", FS: fs, MemTableSize: 1 << 20, IDBlock: 10, noSync: noSync})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func clean(t testing.TB, s *Store) {
	t.Helper()
	list, err := Verify(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		t.Errorf("violation: %s", v)
	}
}

// accept writes a message to n recipients, with its events.
func accept(ctx context.Context, s *Store, n int, body []byte) (uint64, error) {
	var mid uint64
	err := s.Commit(ctx, func(tx *Tx) error {
		mid = tx.NewMessage()
		tx.AddMessage(mid, &Message{Received: tx.Now(), Recipients: uint32(n), Remaining: uint32(n), Size: int64(len(body))}, body)
		class, _ := tx.Class(Class{Stream: "marketing", Tier: "active", Pool: "a"})
		for i := range n {
			r := Recipient{
				Address: rfc5321.Address{Local: fmt.Sprintf("a-%d", i), Domain: "example.com"},
				Class:   class, Due: tx.Now(), Queued: tx.Now(), Expires: tx.Now().Add(time.Hour),
			}
			tx.Add(ID{mid, uint32(i)}, r)
			tx.Event(&event.Event{Kind: event.Accepted, Message: mid, Recipient: uint32(i)})
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return mid, nil
}

func deliver(ctx context.Context, s *Store, id ID) error {
	return s.Commit(ctx, func(tx *Tx) error {
		r, err := tx.Recipient(id)
		if err != nil {
			return err
		}
		if _, err := tx.Remove(id, r); err != nil {
			return err
		}
		tx.Sent(id, &Sent{Time: tx.Now(), Address: r.Address.String()})
		tx.Event(&event.Event{Kind: event.Delivered, Message: id.Message, Recipient: id.Recipient})
		return nil
	})
}

func TestRecordsRoundTrip(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 1000, time.UTC)
	r := Recipient{
		Generation: 7, Sequence: 9, Address: rfc5321.Address{Local: "a b", Domain: "example.com"}, Contact: 12, Class: 3, Due: now,
		Hold: "review", Queued: now, Expires: now.Add(time.Hour), Attempts: 2, Version: 99, Pin: "a1", PinUntil: now, Charged: "a1",
		ChargeDay: 20000, Signature: []byte("DKIM"), Code: 451, Reply: "later",
	}
	short := r
	r.Wait, r.Base, r.Capped = "waits for its window", now, now
	if back, err := decodeRecipient(short.append(nil)); err != nil || fmt.Sprint(back) != fmt.Sprint(short) {
		t.Errorf("a recipient without a wait came back as %+v, %v", back, err)
	}
	waits := r
	if back, err := decodeRecipient(waits.append(nil)); err != nil || fmt.Sprint(back) != fmt.Sprint(waits) {
		t.Errorf("a recipient that waits came back as %+v, %v", back, err)
	}
	r.Batch = "spring"
	imported := r
	if back, err := decodeRecipient(imported.append(nil)); err != nil || fmt.Sprint(back) != fmt.Sprint(imported) {
		t.Errorf("a recipient of an import came back as %+v, %v", back, err)
	}
	r.Sample = []string{"segment:trial#2", "batch:spring#1"}
	back, err := decodeRecipient(r.append(nil))
	if err != nil || fmt.Sprint(back) != fmt.Sprint(r) {
		t.Errorf("recipient came back as %+v, %v", back, err)
	}
	for n := range r.append(nil) {
		if _, err := decodeRecipient(r.append(nil)[:n]); err == nil {
			t.Errorf("a recipient cut to %d bytes was read", n)
		}
	}
	m := Message{Received: now, Sender: r.Address, Recipients: 2, Remaining: 1, Size: 10, HeaderSize: 4, Stream: "s", Campaign: "c", Credential: "k", Metadata: "{}", Domain: "d", EightBit: true, BodyHash: []byte{1}}
	if back, err := decodeMessage(m.append(nil)); err != nil || fmt.Sprint(back) != fmt.Sprint(m) {
		t.Errorf("message came back as %+v, %v", back, err)
	}
}

func TestIDIsReadBack(t *testing.T) {
	for _, id := range []ID{{1, 0}, {1 << 40, 7}, {^uint64(0), ^uint32(0)}} {
		if back, err := ParseID(id.String()); err != nil || back != id {
			t.Errorf("%s came back as %v, %v", id, back, err)
		}
	}
	for _, s := range []string{"", ".", "0", "x.y", "-1", "1.-1", "é"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("%q was read as %v", s, id)
		}
	}
}

func TestEveryTransitionKeepsOneOwner(t *testing.T) {
	s := openMem(t, vfs.NewMem(), false)
	ctx := t.Context()
	mid, err := accept(ctx, s, 3, bytes.Repeat([]byte("x"), BodyPart+10))
	if err != nil {
		t.Fatal(err)
	}
	change := func(n uint32, f func(r *Recipient)) {
		t.Helper()
		id := ID{mid, n}
		err := s.Commit(ctx, func(tx *Tx) error {
			old, err := tx.Recipient(id)
			if err != nil {
				return err
			}
			next := old
			f(&next)
			tx.Put(id, old, next)
			tx.Event(&event.Event{Kind: event.Held, Message: mid})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		clean(t, s)
	}
	change(0, func(r *Recipient) { r.Hold = "review" })
	change(0, func(r *Recipient) { r.Hold = "" })
	change(1, func(r *Recipient) { r.Due = r.Due.Add(time.Hour) })
	change(1, func(r *Recipient) { r.Expires = r.Expires.Add(time.Hour) })
	for n := range uint32(3) {
		if err := deliver(ctx, s, ID{mid, n}); err != nil {
			t.Fatal(err)
		}
		clean(t, s)
	}
	if err := deliver(ctx, s, ID{mid, 0}); !errors.Is(err, ErrStale) {
		t.Errorf("a second conclusion gave %v, not ErrStale", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The group is one batch: two operations on the same recipient in one group
// must see each other.
func TestOperationsOfOneGroupSeeEachOther(t *testing.T) {
	s := openMem(t, vfs.NewMem(), false)
	defer s.Close()
	mid, err := accept(t.Context(), s, 2, []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var stale, done int
	var mu sync.Mutex
	for range 20 {
		for n := range uint32(2) {
			wg.Go(func() {
				err := deliver(context.Background(), s, ID{mid, n})
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, ErrStale) {
					stale++
				} else if err == nil {
					done++
				}
			})
		}
	}
	wg.Wait()
	if done != 2 || stale != 38 {
		t.Errorf("%d conclusions won and %d lost; 2 and 38 expected", done, stale)
	}
	clean(t, s)
}

func TestBodyWithoutMessageIsRemoved(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, fs, false)
	if _, err := s.WriteBody(t.Context(), bytes.Repeat([]byte("x"), 2*BodyPart)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openMem(t, fs, false)
	defer s.Close()
	n := 0
	if err := s.scan([]byte{prefixBody}, nil, func(_, _ []byte) error { n++; return nil }); err != nil || n != 0 {
		t.Errorf("%d body parts without a message are left, %v", n, err)
	}
	clean(t, s)
}

// crashRound runs writers over a store on a disk that loses what was not
// synced, cuts the power at a random moment and reports how many acknowledged
// messages the store has lost, and how many it was asked to keep.
func crashRound(t *testing.T, seed uint64, noSync bool) (lost, kept int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	fs := vfs.NewCrashableMem()
	s := openMem(t, fs, noSync)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	waiting := map[uint64]bool{} // acknowledged, not delivered for sure
	unsure := map[uint64]bool{}  // delivery under way
	var wg sync.WaitGroup
	for w := range 4 {
		rng := rand.New(rand.NewPCG(seed, uint64(w)+2))
		wg.Go(func() {
			for ctx.Err() == nil {
				mid, err := accept(ctx, s, 1, bytes.Repeat([]byte("b"), rng.IntN(3000)))
				if err != nil {
					return
				}
				mu.Lock()
				waiting[mid] = true
				mu.Unlock()
				if rng.IntN(2) == 0 {
					continue
				}
				mu.Lock()
				delete(waiting, mid)
				unsure[mid] = true
				mu.Unlock()
				if deliver(ctx, s, ID{mid, 0}) != nil {
					return
				}
			}
		})
	}
	// The cut comes after a random number of commits, seen by the watermark.
	cut := uint64(20 + rng.IntN(400))
	for {
		durable, changed := s.Durable()
		if durable >= cut {
			break
		}
		<-changed
	}
	mu.Lock()
	clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(100), RNG: rng})
	ledger := make([]uint64, 0, len(waiting))
	for mid := range waiting {
		ledger = append(ledger, mid)
	}
	mu.Unlock()
	stop()
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	after := openMem(t, clone, false)
	defer after.Close()
	if !noSync {
		clean(t, after)
	}
	for _, mid := range ledger {
		if _, err := after.Recipient(ID{mid, 0}); err != nil {
			lost++
		}
	}
	return lost, len(ledger)
}

func TestAcceptedMailSurvivesPowerLoss(t *testing.T) {
	total := 0
	for seed := range uint64(40) {
		lost, kept := crashRound(t, seed, false)
		total += kept
		if lost > 0 {
			t.Errorf("seed %d: %d of %d acknowledged messages are lost", seed, lost, kept)
		}
	}
	t.Logf("0 of %d acknowledged messages lost over 40 power cuts", total)
}

// The control: without sync the same test must lose mail, else it shows nothing.
func TestControlWithoutSyncLosesMail(t *testing.T) {
	total := 0
	for seed := range uint64(10) {
		lost, _ := crashRound(t, seed, true)
		total += lost
	}
	if total == 0 {
		t.Error("without sync nothing was lost: the crash test cannot see a missing sync")
	}
	t.Logf("%d acknowledged messages lost without sync", total)
}

func TestLeaseCountsAsUsedAfterACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := openMem(t, fs, false)
	err := s.Commit(t.Context(), func(tx *Tx) error {
		tx.PutCounter("a1////google/20780", Counter{Leased: 10, Used: 4})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	crashed := openMem(t, fs.CrashClone(vfs.CrashCloneCfg{}), false)
	if c := crashed.state.counters["a1////google/20780"]; c.Used != 10 {
		t.Errorf("after a crash %d of 10 leased count as used", c.Used)
	}
	crashed.Close()
	s.Close()
	again := openMem(t, fs, false)
	defer again.Close()
	if c := again.state.counters["a1////google/20780"]; c.Used != 4 || c.Leased != 4 {
		t.Errorf("after a clean stop the counter is %+v, not 4 used and leased", *c)
	}
}

// The watermark is the number of an event that exists: whoever follows the log
// after a crash would else wait for one in the gap, and hold marketing mail meanwhile.
func TestTheWatermarkStaysOnAnEvent(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := openMem(t, fs, false)
	if _, err := accept(t.Context(), s, 2, []byte("body")); err != nil {
		t.Fatal(err)
	}
	crashed := openMem(t, fs.CrashClone(vfs.CrashCloneCfg{}), false)
	if err := crashed.Commit(t.Context(), func(tx *Tx) error {
		tx.PutCounter("a1////google/20780", Counter{Leased: 10})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if durable, _ := crashed.Durable(); durable != 2 {
		t.Errorf("two events were written, and the last is said to be %d", durable)
	}
	if err := errors.Join(crashed.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
}

// A reader that keeps below the watermark sees every event once and in order,
// whatever the number of writers.
func TestReadersSeeNoGap(t *testing.T) {
	s := openMem(t, vfs.NewMem(), false)
	defer s.Close()
	const writers, each = 16, 50
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if _, err := accept(context.Background(), s, 1, []byte("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var last uint64
	for last < writers*each {
		_, changed := s.Durable()
		list, err := s.Events(last, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Sequence != last+1 {
				t.Fatalf("event %d follows event %d", e.Sequence, last)
			}
			last = e.Sequence
		}
		if len(list) == 0 {
			<-changed
		}
	}
	wg.Wait()
}

func FuzzDecode(f *testing.F) {
	r := Recipient{Address: rfc5321.Address{Local: "a", Domain: "b"}}
	f.Add(r.append(nil))
	f.Add([]byte{1})
	f.Fuzz(func(_ *testing.T, b []byte) {
		// Whatever a disk gives back: an error, never a panic.
		_, _ = decodeRecipient(b)
		_, _ = decodeMessage(b)
		_, _ = decodeSent(ID{}, b)
		_, _ = decodeCounter(b)
		_, _ = decodeClass(b)
		_, _ = event.Decode(1, b)
	})
}
