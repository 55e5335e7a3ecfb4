// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/segment"
)

// bound runs a test with a town whose segment trial has these keys, from midnight
// UTC on. budget_zone is Berlin.
func bound(t *testing.T, keys string, f func(t testing.TB, w *town)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = strings.NewReplacer(
			`where = 'contact.status == "trial"'`, "where = 'contact.status == \"trial\"'\n"+keys,
			"[dns]", "budget_zone = \"Europe/Berlin\"\n[dns]",
		)
		w.run()
		f(t, w)
		w.stop()
		w.verify()
	})
}

func (w *town) people(rows string) {
	w.t.Helper()
	if _, err := w.Methods().ImportContacts(w.t.Context(), api.Import{Name: "c.csv"}, strings.NewReader(rows)); err != nil {
		w.t.Fatal(err)
	}
}

// later is a header that keeps a message in the queue for an hour.
func later() string {
	return "X-Segue-Not-Before: " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + "\r\n"
}

// queued is the only queued mail to an address, with why it waits.
func (w *town) queued(addr string) (e store.Entry, why string) {
	w.t.Helper()
	list, err := w.queue.List(store.ID{}, 10, func(e *store.Entry, _ store.Class) bool { return e.Address.String() == addr })
	if err != nil || len(list) != 1 {
		w.t.Fatalf("%d queued for %s: %v", len(list), addr, err)
	}
	got, err := w.Methods().QueueWhy(w.t.Context(), list[0].ID.String())
	if err != nil {
		w.t.Fatal(err)
	}
	return list[0], got.Text
}

// about are the events about an address, with their reasons.
func (w *town) about(addr string) string {
	w.t.Helper()
	var list []string
	for _, k := range w.kinds() {
		if kind, rest, ok := strings.Cut(k, " "+addr); ok && kind != "accepted" {
			list = append(list, kind+rest)
		}
	}
	return strings.Join(list, "; ")
}

func TestWindowIsInTheZoneOfTheContact(t *testing.T) {
	bound(t, `send_window = "08:00-20:00"`, func(t testing.TB, w *town) {
		w.people("email,contact.status,time_zone\nann@dest.example,trial,America/Los_Angeles\nbob@dest.example,trial,\neve@dest.example,trial,Asia/Tokyo\n")
		for _, who := range []string{"ann", "bob", "eve", "stranger"} {
			w.submit("", who+"@dest.example")
		}
		w.submit("X-Segue-Stream: transactional\r\n", "bob@dest.example")
		synctest.Wait()
		// Midnight in UTC is 16:00 in Los Angeles, 01:00 in Berlin, 09:00 in Tokyo.
		if n := len(w.mx.Messages()); n != 4 {
			t.Errorf("%d have left", n)
		}
		if _, why := w.queued("bob@dest.example"); why != "waits for its send window, opens at 08:00 Europe/Berlin on 2000-01-01 (open 08:00-20:00)" {
			t.Errorf("bob waits: %s", why)
		}
		w.people("email,contact.status,time_zone\nbob@dest.example,trial,Europe/London\n") // an hour behind
		time.Sleep(7*time.Hour + time.Minute)
		if _, why := w.queued("bob@dest.example"); why != "waits for its send window, opens at 08:00 Europe/London on 2000-01-01 (open 08:00-20:00)" {
			t.Errorf("bob waits: %s", why)
		}
		time.Sleep(time.Hour)
		if n := len(w.mx.Messages()); n != 5 {
			t.Errorf("%d have left", n)
		}
	})
}

func TestFrequencyCapsOfContactAndAccount(t *testing.T) {
	keys := "contact_cap = \"1/2h\"\naccount_cap = \"2/4h\"\ncapped_wait = \"3h\""
	bound(t, keys, func(t testing.TB, w *town) {
		w.people("email,contact.status,account\nann@dest.example,trial,acme\nbob@dest.example,trial,acme\ncid@dest.example,trial,acme\neve@dest.example,trial,other\n")
		for _, who := range []string{"ann", "ann", "bob"} {
			w.submit("", who+"@dest.example")
			synctest.Wait()
		}
		if _, why := w.queued("ann@dest.example"); !strings.HasPrefix(why, "waits for room under contact_cap 1/2h of segment trial: 1 used, until 2000-01-01 02:00 UTC") {
			t.Errorf("ann waits: %s", why)
		}
		w.submit("", "cid@dest.example")
		w.submit("", "eve@dest.example")
		w.submit("X-Segue-Stream: transactional\r\n", "cid@dest.example")
		synctest.Wait()
		if _, why := w.queued("cid@dest.example"); !strings.HasPrefix(why, "waits for room under account_cap 2/4h of segment trial: 2 used, until 2000-01-01 04:00") {
			t.Errorf("cid waits: %s", why)
		}
		if n := len(w.mx.Messages()); n != 4 {
			t.Errorf("%d have left", n)
		}
		time.Sleep(190 * time.Minute)
		// The account has room after four hours only: both have waited long enough.
		if got := w.about("cid@dest.example"); !strings.Contains(got, "dropped no room under a cap within 3h0m0s: account_cap 2/4h of segment trial, 2 used") {
			t.Errorf("cid: %s", got)
		}
		if got := w.about("ann@dest.example"); !strings.Contains(got, "dropped no room") {
			t.Errorf("ann: %s", got)
		}
	})
}

func TestHoldbackMailsNoOneItHoldsBack(t *testing.T) {
	bound(t, "holdback = 0.5", func(t testing.TB, w *town) {
		rows := "email,contact.status\n"
		for i := range 40 {
			rows += fmt.Sprintf("c%d@dest.example,trial\n", i)
		}
		w.people(rows)
		for range 2 { // two campaigns
			for i := range 40 {
				w.submit("", fmt.Sprintf("c%d@dest.example", i))
			}
		}
		synctest.Wait()
		mailed := map[string]int{}
		for _, m := range w.mx.Messages() {
			mailed[m.To[0]]++
		}
		if n := len(mailed); n < 8 || n > 32 {
			t.Errorf("%d of 40 were mailed, half were to be held back", n)
		}
		for i := range 40 {
			addr := fmt.Sprintf("c%d@dest.example", i)
			want := "dropped holdback; dropped holdback"
			if n := mailed[addr]; n != 0 && n != 2 {
				t.Errorf("%s got %d of two messages", addr, n)
			} else if got := w.about(addr); n == 0 && strings.Join(strings.Fields(got), " ") != want {
				t.Errorf("%s: %s", addr, got)
			}
		}
	})
}

// Whom nobody knows is known from the first mail on, and stays on its side.
func TestHoldbackHoldsForStrangersWhoBecomeContacts(t *testing.T) {
	more := "[[segment]]\nname = \"anybody\"\norder = 5\nwhere = 'contact.status != \"trial\"'\nholdback = 0.5\n"
	bound(t, more, func(t testing.TB, w *town) {
		mailed := map[string]int{}
		for range 2 {
			for i := range 40 {
				w.submit("", fmt.Sprintf("c%d@dest.example", i))
			}
			synctest.Wait()
		}
		for _, m := range w.mx.Messages() {
			mailed[m.To[0]]++
		}
		if n := len(mailed); n < 8 || n > 32 {
			t.Errorf("%d of 40 were mailed, half were to be held back", n)
		}
		for addr, n := range mailed {
			if n != 2 {
				t.Errorf("%s got %d of two messages", addr, n)
			}
		}
	})
}

// Segments of one order are asked as they stand in the file, others by order.
func TestWindowIsThatOfTheFirstSegmentInOrder(t *testing.T) {
	more := "send_window = \"08:00-20:00\"\n" +
		"[[segment]]\nname = \"a-second\"\norder = 10\nwhere = 'contact.status != \"\"'\n" +
		"[[segment]]\nname = \"first\"\norder = 5\nwhere = 'contact.status == \"vip\"'\npool = \"standard\"\n[[segment.assign]]\ntier = \"active\"\npool = \"prime\"\n"
	bound(t, more, func(t testing.TB, w *town) {
		w.people("email,contact.status,last_engaged_at\nann@dest.example,trial,\nvip@dest.example,vip," + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339) + "\n")
		w.submit(later(), "ann@dest.example")
		w.submit(later(), "vip@dest.example")
		for addr, want := range map[string]store.Class{
			"ann@dest.example": {Stream: "marketing", Segment: "trial", Tier: "new", Pool: "standard"},
			"vip@dest.example": {Stream: "marketing", Segment: "first", Tier: "active", Pool: "prime"},
		} {
			e, _ := w.queued(addr)
			if got := w.mail.Class(e.Class); got != want {
				t.Errorf("%s has the lane %+v", addr, got)
			}
		}
	})
}

// leaves is the news, as contacts write it, that an address left a segment.
func leaves(addr, name string) segment.Flip {
	return segment.Flip{Kind: flipLeft, Address: addr, Segment: name}
}

func TestLeavingASegmentIsBroughtToQueuedMail(t *testing.T) {
	for policy, want := range map[string]string{
		"keep": "", "relane": "relaned left segment trial", "drop": "dropped left segment trial",
	} {
		bound(t, fmt.Sprintf("on_leave = %q\npool = \"prime\"", policy), func(t testing.TB, w *town) {
			w.people("email,contact.status\nann@dest.example,trial\nbob@dest.example,trial\n")
			w.submit(later(), "ann@dest.example")
			w.submit(later(), "bob@dest.example")
			w.people("email,contact.status\nann@dest.example,paid\n")
			flips := []segment.Flip{
				{Kind: flipEntered, Address: "ann@dest.example", Segment: "trial"},
				{Kind: flipLeft, Segment: "trial"},
				leaves("ann@dest.example", "trial"), leaves("bob@dest.example", "trial"), leaves("ann@dest.example", "trial"),
			}
			for range 2 { // news may come twice
				if err := w.contacts.bring(t.Context(), w.queue, flips); err != nil {
					t.Fatal(err)
				}
			}
			if got := w.about("ann@dest.example"); got != want {
				t.Errorf("%s: %s", policy, got)
			}
			if got := w.about("bob@dest.example"); got != "" {
				t.Errorf("%s: bob is in the segment, and %s", policy, got)
			}
			if policy != "relane" {
				return
			}
			e, _ := w.queued("ann@dest.example")
			if got := w.mail.Class(e.Class); got != (store.Class{Stream: "marketing", Tier: "new", Pool: "standard"}) {
				t.Errorf("relaned to %+v", got)
			}
		})
	}
}

func TestLeavingByAChangedRuleIsASweep(t *testing.T) {
	bound(t, `on_leave = "drop"`, func(t testing.TB, w *town) {
		w.people("email,contact.status\nann@dest.example,trial\nbob@dest.example,trial\n")
		w.submit(later(), "ann@dest.example")
		w.submit(later(), "bob@dest.example")
		w.people("email,contact.status\nann@dest.example,paid\n")
		if err := w.contacts.bring(t.Context(), w.queue, []segment.Flip{{Kind: flipRebuilt, Segment: "trial"}}); err != nil {
			t.Fatal(err)
		}
		if a, b := w.about("ann@dest.example"), w.about("bob@dest.example"); a != "dropped left segment trial" || b != "" {
			t.Errorf("ann: %s, bob: %s", a, b)
		}
	})
}

// Changes of one contact are looked at once, whatever their number.
func TestRelaneGathersNewsByContact(t *testing.T) {
	c := &contacts{}
	list, rebuilt := c.sort([]segment.Flip{
		leaves("ann@dest.example", "a"),
		{Kind: segment.FlipTier, Address: "bob@dest.example"},
		leaves("ann@dest.example", "b"),
		{Kind: segment.FlipSuppressed, Address: "ann@dest.example"},
		leaves("ann@dest.example", "a"),
		{Kind: flipRebuilt, Segment: "x"},
		{Kind: flipRebuilt, Segment: "x"},
	})
	if len(list) != 2 || !list[0].recheck || !slices.Equal(list[0].left, []string{"a", "b"}) || !list[1].recheck || len(list[1].left) != 0 {
		t.Errorf("news: %+v", list)
	}
	if !slices.Equal(rebuilt, []string{"x"}) {
		t.Errorf("rebuilt: %v", rebuilt)
	}
}
