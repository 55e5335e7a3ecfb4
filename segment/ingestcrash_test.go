// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seguemta/segue/segment/store"
)

// randomCalls makes calls of few people and accounts, so that they meet often.
func randomCalls(rng *rand.Rand, n int) []Call {
	pick := func(prefix string, of int) string {
		if rng.IntN(3) == 0 {
			return ""
		}
		return fmt.Sprint(prefix, rng.IntN(of))
	}
	events := []string{"Signed In", "Report Run", "Account Added User", "Account Removed User", "Trial Started", "Trial Ended", "Signed Up", "Account Deleted"}
	calls := make([]Call, n)
	for i := range calls {
		c := &calls[i]
		*c = Call{
			Kind: CallKind(1 + rng.IntN(6)), MessageID: fmt.Sprint("m", i), UserID: pick("u", 6), Anonymous: pick("x", 6),
			PreviousID: pick("x", 6), GroupID: pick("g", 3), Time: t0().Add(-time.Duration(rng.IntN(5000)) * time.Minute),
			Event: events[rng.IntN(len(events))], Context: CallContext{GroupID: pick("g", 3)},
			Properties: map[string]any{"n": float64(i)}, Traits: map[string]any{"status": fmt.Sprint("s", i)},
		}
		if rng.IntN(4) == 0 {
			c.Traits["email"] = fmt.Sprintf("e%d@example.com", rng.IntN(8))
		}
		if rng.IntN(10) == 0 && i > 0 {
			c.MessageID = calls[i-1].MessageID
		}
	}
	return calls
}

func ingest(tb testing.TB, d *DB, calls []Call) []error {
	tb.Helper()
	errs, err := d.Ingest(context.Background(), calls)
	if err != nil {
		tb.Fatal(err)
	}
	return errs
}

// everyone is the store without ids, which depend on how often it was opened
// after a crash.
func everyone(tb testing.TB, d *DB) string {
	tb.Helper()
	account := func(id uint64) string {
		if id == 0 {
			return ""
		}
		a, ok, err := d.store.Account(id)
		if err != nil || !ok {
			tb.Fatalf("account %d: %v", id, err)
		}
		return fmt.Sprintf("%s deleted %v %x", a.Group, a.Deleted, a.Attributes)
	}
	var lines []string
	show := func(id uint64, c store.Contact) error {
		ids, err := d.store.IDsOf(id)
		line := fmt.Sprintf("%s %s %v %x %d", c.Address, c.UserID, ids, c.Attributes, c.Identified)
		for _, e := range append(slices.Clone(c.Edges), c.Former...) {
			line += fmt.Sprintf(", %s %s %v %v", account(e.Account), e.Role, e.Since, e.Told)
		}
		list, e2 := d.Events(id, time.Time{}, 1<<20)
		for _, e := range list {
			line += fmt.Sprintf("\n   %d %s %s %v %s", e.Time, e.Name, e.Message, e.Properties, account(e.Account))
		}
		st, _ := d.mem.state(id)
		lines = append(lines, fmt.Sprintf("%s\n   %+v", line, st))
		return errors.Join(err, e2)
	}
	if err := errors.Join(d.store.Contacts(0, show), d.store.Visitors(0, show)); err != nil {
		tb.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestTrackingSurvivesAPowerCut holds that a call that Ingest returned for is
// there after a power cut, that none is half there, and that sending all of them
// again ends where one undisturbed pass does.
func TestTrackingSurvivesAPowerCut(t *testing.T) {
	for seed := range lives(t, 8) {
		acknowledged, left, calls := cutIngest(t, seed, false)
		d := open(t, testOptions(t, left))
		if lost := unknown(t, d, calls[:acknowledged]); lost > 0 {
			t.Errorf("seed %d: %d of %d acknowledged calls are lost", seed, lost, acknowledged)
		}
		ingest(t, d, calls)
		one := open(t, testOptions(t, vfs.NewMem()))
		for i := range calls {
			ingest(t, one, calls[i:i+1])
		}
		same(t, fmt.Sprintf("seed %d", seed), everyone(t, d), everyone(t, one))
		before := dump(t, d)
		ingest(t, d, calls)
		same(t, fmt.Sprintf("seed %d, once more", seed), dump(t, d), before)
		checkEdges(t, d)
		if err := errors.Join(d.Close(), one.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTrackingNoSyncControl shows that the test above can fail.
func TestTrackingNoSyncControl(t *testing.T) {
	lost := 0
	for seed := range uint64(8) {
		acknowledged, left, calls := cutIngest(t, seed, true)
		d := open(t, testOptions(t, left))
		lost += unknown(t, d, calls[:acknowledged])
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if lost == 0 {
		t.Fatal("commits without sync lost nothing: the crash test proves nothing")
	}
}

// cutIngest sends calls in pieces while power is cut at a random moment. It
// returns how many calls had been acknowledged by then, and what was left.
func cutIngest(t *testing.T, seed uint64, noSync bool) (acknowledged int, left *vfs.MemFS, calls []Call) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 4))
	calls = randomCalls(rng, 150)
	fs := vfs.NewCrashableMem()
	o := testOptions(t, fs)
	o.private.noSync = noSync
	d := open(t, o)
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng}
	if noSync {
		cfg.UnsyncedDataPercent = 0
	}
	cut := 20 + rng.IntN(100)
	for left == nil {
		n := min(1+rng.IntN(30), len(calls)-acknowledged)
		done := make(chan struct{})
		go func() {
			defer close(done)
			ingest(t, d, calls[acknowledged:acknowledged+n])
		}()
		last := acknowledged+n >= cut
		if last && rng.IntN(2) == 0 { // during the commit, else after it
			left = fs.CrashClone(cfg)
			<-done
			break
		}
		<-done
		acknowledged += n
		if last {
			left = fs.CrashClone(cfg)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return acknowledged, left, calls
}

// unknown counts the calls that the store does not recognise, but for those that
// are bad whatever it holds.
func unknown(t *testing.T, d *DB, calls []Call) int {
	t.Helper()
	lost := 0
	for i := range calls {
		p := d.prepare(&calls[i], t0())
		x := d.begin()
		verdict, err := x.known(p.hash)
		if err != nil {
			t.Fatal(err)
		}
		if verdict == store.Unseen && p.reason == nil {
			lost++
		}
		x.close()
	}
	return lost
}

// checkEdges holds that what contacts and accounts say about each other agrees,
// and that no edge id is given twice.
func checkEdges(t *testing.T, d *DB) {
	t.Helper()
	forth, back, seen := map[edgeKey]uint64{}, map[edgeKey]uint64{}, map[uint64]bool{}
	err := d.store.Contacts(0, func(id uint64, c store.Contact) error {
		for _, e := range c.Edges {
			if e.ID == 0 || seen[e.ID] {
				t.Errorf("edge id %d of contact %d is none or not its own", e.ID, id)
			}
			seen[e.ID] = true
			forth[edgeKey{id, e.Account}] = e.ID
		}
		return nil
	})
	for account := uint64(1); account < d.write.accounts.next; account++ {
		err = errors.Join(err, d.store.ContactsOf(account, func(contact, edge uint64) error {
			back[edgeKey{contact, account}] = edge
			return nil
		}))
	}
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(forth) != fmt.Sprint(back) {
		t.Errorf("contacts say %v, accounts %v", forth, back)
	}
}

// TestEdgesInAnyOrder holds that who belongs to an account is what the newest
// call says, in whatever order calls come.
func TestEdgesInAnyOrder(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 5))
		names := []string{"Account Added User", "Account Removed User"}
		n := 2 + rng.IntN(6)
		calls := make([]Call, n)
		for i := range calls {
			calls[i] = Call{
				Kind: CallTrack, Email: "ann@example.com", Event: names[rng.IntN(2)], Context: CallContext{GroupID: "g"},
				Time: t0().Add(time.Duration(i-n) * time.Second),
			}
		}
		want := calls[n-1].Event == names[0]
		rng.Shuffle(n, func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
		d := mem(t)
		ingest(t, d, calls)
		c, err := d.Contact(addr(t, "ann@example.com"), t0())
		if err != nil {
			t.Fatal(err)
		}
		if got := len(c.Accounts) == 1; got != want {
			t.Fatalf("seed %d: member %v, want %v after %+v", seed, got, want, calls)
		}
		checkEdges(t, d)
	}
}

// TestTrackingSharesCommits holds that callers who wait at the same moment are
// committed together and each is told of its own calls.
func TestTrackingSharesCommits(t *testing.T) {
	d := mem(t)
	const callers = 64
	var wg sync.WaitGroup
	d.write.Lock() // the first to come leads and waits here; the others gather
	for i := range callers {
		wg.Go(func() {
			calls := []Call{
				{Kind: CallTrack, UserID: fmt.Sprint("u", i), MessageID: fmt.Sprint("m", i), Event: "Report Run", Time: t0()},
				{Kind: CallTrack, MessageID: fmt.Sprint("bad", i), Event: "Report Run", Time: t0()},
			}
			errs, err := d.Ingest(context.Background(), calls)
			if err != nil || errs[0] != nil || !errors.Is(errs[1], ErrRejected) {
				t.Errorf("caller %d: %v, %v", i, errs, err)
			}
		})
	}
	for waiting := 0; waiting < callers-1; runtime.Gosched() {
		d.ingest.Lock()
		waiting = len(d.ingest.waiting)
		d.ingest.Unlock()
	}
	d.write.Unlock()
	wg.Wait()
	if n := testutil.ToFloat64(d.metrics.tracking.commits); n != 2 { // the leader's own, and that of all others
		t.Errorf("%v commits for %d callers", n, callers)
	}
	n := 0
	if err := d.store.Visitors(0, func(uint64, store.Contact) error { n++; return nil }); err != nil || n != callers {
		t.Errorf("%d visitors, %v", n, err)
	}
}

// TestTrackingGivenUp holds that who gave up waiting is told that nothing is
// sure, and that the others are served.
func TestTrackingGivenUp(t *testing.T) {
	d := mem(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	call := func(user string) []Call {
		return []Call{{Kind: CallTrack, UserID: user, Event: "Report Run", Time: t0()}}
	}
	d.write.Lock()
	wg.Go(func() { ingest(t, d, call("first")) })
	for leading := false; !leading; runtime.Gosched() {
		d.ingest.Lock()
		leading = d.ingest.leading && len(d.ingest.waiting) == 0
		d.ingest.Unlock()
	}
	wg.Go(func() {
		if _, err := d.Ingest(ctx, call("gone")); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	for waiting := 0; waiting < 1; runtime.Gosched() {
		d.ingest.Lock()
		waiting = len(d.ingest.waiting)
		d.ingest.Unlock()
	}
	cancel()
	d.write.Unlock()
	wg.Wait()
	if id, err := d.store.Person(store.PersonID{Kind: store.UserID, Name: "gone"}); id != 0 || err != nil {
		t.Errorf("who gave up is %d, %v", id, err)
	}
	ingest(t, d, call("last"))
}

// TestAVisitorsLeavingIsRemembered holds that merging a visitor into a contact keeps
// which accounts it has left: a call that says it joined may come late.
func TestAVisitorsLeavingIsRemembered(t *testing.T) {
	at := func(n int) time.Time { return t0().Add(time.Duration(n-60) * time.Minute) }
	call := func(name string, n int) Call {
		return Call{Kind: CallTrack, UserID: "u1", Event: name, Time: at(n), Context: CallContext{GroupID: "g"}}
	}
	joined, left := call("Account Added User", 1), call("Account Removed User", 2)
	named := Call{Kind: CallIdentify, UserID: "u1", Traits: map[string]any{"email": "ann@example.com"}, Time: at(3)}
	contact := Call{Kind: CallTrack, Email: "ann@example.com", Event: "Account Added User", Context: CallContext{GroupID: "g"}, Time: at(0)}
	known := Call{Kind: CallTrack, Email: "ann@example.com", Event: "Signed In", Time: at(0)}
	for name, calls := range map[string][]Call{
		"late":              {known, left, named, joined},
		"in order":          {known, joined, left, named},
		"of one that is in": {contact, left, named},
		"no contact":        {left, named, joined},
	} {
		t.Run(name, func(t *testing.T) {
			d := mem(t)
			for i := range calls {
				calls[i].MessageID = fmt.Sprint(i)
				if errs := ingest(t, d, calls[i:i+1]); errs[0] != nil {
					t.Fatal(errs)
				}
			}
			c, err := d.Contact(addr(t, "ann@example.com"), t0())
			if err != nil || len(c.Accounts) != 0 {
				t.Errorf("in %+v, %v", c.Accounts, err)
			}
			checkEdges(t, d)
		})
	}
}
