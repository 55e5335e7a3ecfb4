// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/store"
)

// What names ann, of whom everything is known that can be. It looks like nothing
// else, so that compression of tables leaves it as it is.
const (
	annAddress = "ann.q7zx0vkj4tbwn9lr@dest.example"
	annUser    = "user-h2mg6ydpc8f5se1u"
	annSecret  = "status-k3rb9xqw0zjv7ntl"
	annBrowser = "browser-w5cf1hpy8dgm4sax"
)

// marks are the parts of these that no key shares with its neighbour.
func marks() []string {
	return []string{"0vkj4tbwn9lr", "6ydpc8f5se1u", "9xqw0zjv7ntl", "1hpy8dgm4sax"}
}

// annsID is an id that no key holds by chance.
const annsID = 0x0a1b2c

// settleIn fills a database with ann, and with bob of the same account.
func settleIn(tb testing.TB, d *DB, h *hand) {
	tb.Helper()
	d.write.contacts.next, d.write.contacts.end = annsID, annsID
	if _, bad, err := load(tb, d, "a.csv", "email,user_id,account,role,tags,lists,contact.status,first_sent_at,account.employees\n"+
		annAddress+","+annUser+",acme,buyer,vip,beta,"+annSecret+",2026-05-01,80\n"+
		"bob@dest.example,user-bob,acme,,,beta,trial,2026-05-01,80\n"); err != nil || bad != "" {
		tb.Fatal(err, bad)
	}
	calls := []Call{
		{Kind: CallTrack, MessageID: "1", UserID: annUser, Anonymous: annBrowser, Time: h.now, Event: "Signed In", Properties: map[string]any{"x": annSecret}},
		{Kind: CallTrack, MessageID: "2", UserID: "user-bob", Time: h.now, Event: "Signed In"},
	}
	if errs, err := d.Ingest(context.Background(), calls); err != nil || errors.Join(errs...) != nil {
		tb.Fatal(err, errs)
	}
	apply(tb, d, log(
		event.Event{Kind: event.Accepted, Message: 5, Address: annAddress}, event.Event{Kind: event.Delivered, Message: 5, Address: annAddress},
		event.Event{Kind: event.Complained, Message: 5, Address: annAddress, Stream: "marketing", Reply: "about <" + annAddress + ">"},
		event.Event{Kind: event.Delivered, Message: 6, Address: "bob@dest.example"},
	))
	if errs, err := d.Ingest(context.Background(), []Call{{
		Kind: CallTrack, MessageID: "3", Email: annAddress, Event: EventEmailLinkClicked, Time: h.now, Context: CallContext{UserAgent: browser},
		Properties: map[string]any{"email_id": "5", "link_url": "https://example.com/", "agent": browser, "machine": false},
	}}); err != nil || errs[0] != nil {
		tb.Fatal(err, errs)
	}
}

// eraseOptions have segments that ann and bob are in.
func eraseOptions(tb testing.TB, fs vfs.FS, h *hand) Options {
	tb.Helper()
	o := scoreOptions(tb, fs, h)
	o.Segments = []Definition{
		{Name: "beta", Where: `"beta" in lists`},
		{Name: "others", Where: `!("beta" in lists)`},
		{Name: "trial", Where: `contact.status == "trial"`},
	}
	return o
}

// traces are the keys and values of the store that name ann, or that are kept under
// her id.
func traces(tb testing.TB, d *DB) []string {
	tb.Helper()
	var list []string
	id := binary.BigEndian.AppendUint64(nil, annsID)
	if err := d.store.Dump(func(k, v []byte) {
		for _, b := range [][]byte{k, v} {
			for _, what := range marks() {
				if bytes.Contains(b, []byte(what)) {
					list = append(list, fmt.Sprintf("%q holds %s", k, what))
				}
			}
		}
		if bytes.Contains(k, id) {
			list = append(list, fmt.Sprintf("%q is kept under the id", k))
		}
	}); err != nil {
		tb.Fatal(err)
	}
	return list
}

func erase(tb testing.TB, d *DB, who string) Erased {
	tb.Helper()
	e, err := d.Erase(who)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// concluded is erase, with the mail and the files done.
func concluded(tb testing.TB, d *DB, who string) Erased {
	tb.Helper()
	e, err := d.MailErased(erase(tb, d, who), 3)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := d.Scrub(context.Background()); err != nil {
		tb.Fatal(err)
	}
	if e, err = d.Erasure(e); err != nil {
		tb.Fatal(err)
	}
	return e
}

// TestEraseForgetsEverything erases somebody of whom everything is known: no key and
// no value names or means her any more, and whoever else there is has what it had.
func TestEraseForgetsEverything(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	o := eraseOptions(t, fs, h)
	d := open(t, o)
	defer func() { d.Close() }()
	settleIn(t, d, h)
	if n := len(traces(t, d)); n < 12 {
		t.Fatalf("only %d traces before: %v", n, traces(t, d))
	}
	last := d.LastFlip()
	e := erase(t, d, annUser)
	if e.Address != annAddress || len(e.Hash) != 16 || e.At != h.now || !e.Done.IsZero() {
		t.Errorf("%+v", e)
	}
	if pending, err := d.Erasures(); err != nil || len(pending) != 1 || pending[0].Address != annAddress {
		t.Errorf("%+v, %v", pending, err)
	}
	for _, f := range flow(t, d, last) {
		if strings.Contains(f, annAddress) {
			t.Errorf("a flip tells of the address: %s", f)
		}
	}
	e, err := d.MailErased(e, 3)
	if err != nil {
		t.Fatal(err)
	}
	c := e.Counts
	if c.Contacts != 1 || c.States != 1 || c.Identities != 2 || c.Accounts != 1 || c.Segments != 1 || c.Events < 3 || c.Suppressions != 1 || c.Mail != 3 || e.Address != "" {
		t.Errorf("%+v", e)
	}
	for {
		more, err := d.Scrub(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
	}
	for range 2 { // and after another start
		if left := traces(t, d); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
		if got := members(t, d); !slices.Equal(got, []string{"member of beta bob@dest.example", "member of trial bob@dest.example"}) || d.Contacts() != 1 {
			t.Errorf("%v, %d contacts", got, d.Contacts())
		}
		if again := erase(t, d, annAddress); again.Counts != c || again.Done.IsZero() {
			t.Errorf("asked again: %+v", again)
		}
		for _, stream := range []string{"marketing", "transactional"} {
			_, s, err := d.Check(annsID, addr(t, annAddress), Mail{Stream: stream, Domain: "example.com"}, h.now)
			if err != nil || s == nil {
				t.Errorf("%s: %+v, %v", stream, s, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = open(t, o)
	}
	if _, err := d.Erase("nobody at all"); !errors.Is(err, ErrUnknown) {
		t.Errorf("somebody unknown: %v", err)
	}
}

// TestEraseIsNotUndoneByWhatComesLater tries everything that makes a contact.
func TestEraseIsNotUndoneByWhatComesLater(t *testing.T) {
	h := &hand{t0()}
	d := open(t, eraseOptions(t, vfs.NewMem(), h))
	defer d.Close()
	settleIn(t, d, h)
	concluded(t, d, annAddress)
	nothing := func(after string) {
		t.Helper()
		if left := traces(t, d); len(left) != 0 || d.Contacts() != 1 {
			t.Fatalf("after %s: %d contacts, %v", after, d.Contacts(), left)
		}
	}
	for _, row := range []string{"email\n" + annAddress, "email,user_id\nann.new@dest.example," + annUser, "list,email\nbeta," + annAddress} {
		r, bad, err := load(t, d, row, row+"\n")
		if err != nil || r.Rejected != 1 || !strings.Contains(bad, "suppression lift") {
			t.Errorf("%q: %+v, %v, %s", row, r, err, bad)
		}
	}
	nothing("imports")
	_, refused := d.Ingest(context.Background(), []Call{
		{Kind: CallIdentify, MessageID: "10", UserID: annUser, Time: h.now},
		{Kind: CallIdentify, MessageID: "11", UserID: "u9", Email: annAddress, Time: h.now},
		{Kind: CallTrack, MessageID: "12", UserID: annUser, Event: "x", Time: h.now},
		{Kind: CallAlias, MessageID: "13", UserID: "u8", PreviousID: annUser, Time: h.now},
	})
	if refused != nil {
		t.Fatal(refused)
	}
	nothing("calls of the tracking API")
	events := make([]event.Event, 4, 20)
	for _, k := range []event.Kind{event.Accepted, event.Delivered, event.Engaged, event.Complained, event.Unsubscribed, event.Bounced, event.DSN} {
		events = append(events, event.Event{Kind: k, Message: 7, Contact: annsID, Address: strings.ToUpper(annAddress), Verdict: verdictSuppress, Stream: "news", Time: h.now.Add(time.Hour)})
	}
	events = log(events...)
	apply(t, d, events[4:])
	nothing("events of mail that was in flight")
	if added, err := d.Suppress(addr(t, annAddress), Suppression{Scope: "stream:news", Reason: "manual", Evidence: annAddress}); err != nil || !added {
		t.Error(added, err)
	}
	nothing("a suppression by hand")

	h.turn(48 * time.Hour)
	if _, err := d.Lift(addr(t, annAddress), "stream:news", Because{Stated: true}); err != nil {
		t.Fatal(err)
	}
	if r, _, err := load(t, d, "one scope", "email\n"+annAddress+"\n"); err != nil || r.Rejected != 1 {
		t.Errorf("with the scope of a stream lifted: %+v, %v", r, err)
	}
	if _, err := d.Lift(addr(t, annAddress), "", Because{Stated: true}); err != nil {
		t.Fatal(err)
	}
	late := log(append(slices.Clone(events), event.Event{Kind: event.Delivered, Message: 7, Address: annAddress, Time: h.now.Add(-time.Hour)})...)
	apply(t, d, late[len(events):])
	nothing("a late event, after the person was let in again")
	if r, bad, err := load(t, d, "again", "email,user_id\n"+annAddress+","+annUser+"\n"); err != nil || r.Created != 1 {
		t.Errorf("let in again: %+v, %v, %s", r, err, bad)
	}
	if v := look(t, d, annAddress); v.Suppressed != nil || !v.Known || v.ID == annsID {
		t.Errorf("%+v", v)
	}
}

// TestEraseKeepsSuppressionsByHash: what was suppressed stays so for its reason, without
// the address; who was not is suppressed now. That is so after another start.
func TestEraseKeepsSuppressionsByHash(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(t, fs)
	d := open(t, o)
	apply(t, d, log(event.Event{Kind: event.Bounced, Verdict: "suppress", Message: 1, Address: "gone@dest.example", Reply: "no <gone@dest.example> here"}))
	erase(t, d, "gone@dest.example")
	erase(t, d, "stranger@dest.example")
	for range 2 {
		list, _, err := d.Suppressions(Query{})
		if err != nil || len(list) != 2 {
			t.Fatalf("%+v, %v", list, err)
		}
		for _, s := range list {
			if s.Address != "" || len(s.Hash) != 16 || s.Scope != ScopeAll || strings.Contains(s.Evidence, "@") {
				t.Errorf("%+v", s)
			}
		}
		for address, reason := range map[string]string{"gone@dest.example": ReasonHardBounce, "stranger@dest.example": ReasonErased} {
			if s := look(t, d, address).Suppressed; s == nil || s.Reason != reason {
				t.Errorf("%s: %+v", address, s)
			}
			if of, err := d.SuppressionsOf(addr(t, address)); err != nil || len(of) != 1 || of[0].Reason != reason {
				t.Errorf("%s: %+v, %v", address, of, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = open(t, o)
	}
	d.Close()
}

// TestEraseOfAVisitor takes a user id that no address belongs to. The id may come again.
func TestEraseOfAVisitor(t *testing.T) {
	d := mem(t)
	call := Call{Kind: CallTrack, MessageID: "1", UserID: "u1", Anonymous: "b1", Event: "Seen", Time: t0()}
	for range 2 {
		call.MessageID += "x"
		if errs, err := d.Ingest(context.Background(), []Call{call}); err != nil || errs[0] != nil {
			t.Fatal(err, errs)
		}
		e := erase(t, d, "u1")
		if e.Address != "" || e.Counts.Visitors != 1 || e.Counts.Identities != 2 || e.Counts.Events != 1 {
			t.Errorf("%+v", e)
		}
		if more, err := d.Scrub(context.Background()); !more || err != nil {
			t.Error(more, err)
		}
		if who, err := d.store.Person(store.PersonID{Kind: store.AnonymousID, Name: "b1"}); who != 0 || err != nil {
			t.Error(who, err)
		}
	}
}

// TestEraseRedactsEvents: of what the queue's log says of somebody who was erased, the
// readers see no more than what is counted.
func TestEraseRedactsEvents(t *testing.T) {
	h := &hand{t0()}
	d := open(t, eraseOptions(t, vfs.NewMem(), h))
	defer d.Close()
	full := event.Event{
		Kind: event.Bounced, Message: 7, Contact: annsID, Address: "Ann.Q7zx0vkj4tbwn9lr@dest.example", Domain: "dest.example", Host: "mx.dest.example", Site: "dest.example",
		Reply: "no " + annAddress, Metadata: `{"user":"` + annUser + `"}`, Token: "t", Stream: "marketing", Campaign: "c", Tier: "new", Time: h.now, Code: 550,
	}
	if e := full; d.Redact(&e) || e.Address == "" {
		t.Errorf("before: %+v", e)
	}
	erase(t, d, annAddress)
	want := event.Event{Kind: event.Bounced, Message: 7, Stream: "marketing", Campaign: "c", Tier: "new", Time: h.now, Code: 550}
	if e := full; !d.Redact(&e) || fmt.Sprint(e) != fmt.Sprint(want) {
		t.Errorf("after: %+v", e)
	}
	if e := (event.Event{Address: "bob@dest.example"}); d.Redact(&e) {
		t.Errorf("of another: %+v", e)
	}
	h.turn(time.Hour)
	if _, err := d.Lift(addr(t, annAddress), "all", Because{Stated: true}); err != nil {
		t.Fatal(err)
	}
	if e := full; !d.Redact(&e) {
		t.Errorf("of before, once lifted: %+v", e)
	}
	e := full
	if e.Time = h.now.Add(time.Second); d.Redact(&e) {
		t.Errorf("of after, once lifted: %+v", e)
	}
}
