// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/reputation/throttle"
)

// quick are rules that act as the built-in ones of their names do, within seconds.
const quick = `
rule yahoo-deferred
provider yahoo
text [tss04]
when 1 in 1m suspend source for 15s
next wait
yes 421 4.7.0 [TSS04] Messages from 192.0.2.25 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes
no 421 4.7.0 [TS02] Messages from 192.0.2.25 temporarily deferred

rule google-unsolicited
provider google
status x.7.1
text has detected that this message
when 3 in 1m suspend segment for 1h
next look at the content
yes 550 5.7.1 [192.0.2.25      12] Gmail has detected that this message is likely suspicious due to the very low reputation of the sending domain.
no 421 4.7.0 Try again later, closing connection.
`

// twoSources are two sources with a pool each, at two providers. %[1]s begins their addresses, %[2]s
// is the rules' file.
const twoSources = `
[throttle]
rules_file = "%[2]s"
[[source]]
name = "b1"
addresses = ["%[1]s.12"]
[[pool]]
name = "second"
[[pool.member]]
source = "b1"
[[provider]]
name = "yahoo"
mx = ["mx60.test"]
[[provider]]
name = "google"
mx = ["mx61.test"]
[[attribute]]
name = "contact.status"
type = "text"
[[segment]]
name = "offers"
order = 10
where = 'contact.status == "offers"'
[[segment.assign]]
tier = "new"
pool = "second"
`

// mailboxes is a world with two providers that have scripts of the large ones. Mail of
// segment offers leaves from b1, other mail from a1.
type mailboxes struct {
	*world
	yahoo, google *mtatest.Exchanger
}

func newMailboxes(t *testing.T, m mtatest.Manner) *mailboxes {
	t.Helper()
	w := newWorld(t)
	w.more = fmt.Sprintf(twoSources, w.net, w.write("rules.txt", quick))
	b := &mailboxes{
		world:  w,
		yahoo:  &mtatest.Exchanger{Name: "mx60.test", Rules: mtatest.Provider("yahoo", m)},
		google: &mtatest.Exchanger{Name: "mx61.test", Rules: append(mtatest.Provider("google", mtatest.Manner{}), mtatest.Script("data : delay 300ms")...)},
	}
	w.listen(b.yahoo, 60)
	w.listen(b.google, 61)
	w.zones.Replace(fmt.Sprintf("mx60.test. 300 IN A %s\nmx61.test. 300 IN A %s\nyahoo.test. 300 IN MX 10 mx60.test.\ngoogle.test. 300 IN MX 10 mx61.test.\n", w.ip(60), w.ip(61)))
	w.start()
	return b
}

// send submits a message to each of n people at a domain; those called offers are members of
// that segment.
func (w *mailboxes) send(header, who, domain string, n int) {
	w.t.Helper()
	rows := "email,contact.status\n"
	for i := range n {
		rows += fmt.Sprintf("%s%d@%s,%s\n", who, i, domain, who)
	}
	if _, err := w.api.ImportContacts(w.t.Context(), api.Import{Name: "c.csv"}, strings.NewReader(rows)); err != nil {
		w.t.Fatal(err)
	}
	for i := range n {
		w.submit(header, fmt.Sprintf("%s%d@%s", who, i, domain))
	}
}

// from is how many messages an exchanger has of the world's nth address.
func (w *mailboxes) from(e *mtatest.Exchanger, n int) int {
	got := 0
	for _, m := range e.Messages() {
		if m.Remote.Addr() == netip.MustParseAddr(w.ip(n)) {
			got++
		}
	}
	return got
}

// arrive waits until an exchanger has n messages of an address.
func (w *mailboxes) arrive(e *mtatest.Exchanger, address, n int) {
	w.t.Helper()
	wait(w.t, fmt.Sprintf("%d messages from %s at %s", n, w.ip(address), e.Name), func() bool { return w.from(e, address) >= n })
}

// act is the first event of an act of a source at a provider, or nil.
func (w *mailboxes) act(kind, source, provider string) *event.Event {
	for _, e := range w.events() {
		if e.Kind == event.Throttled && e.Act == kind && e.Source == source && e.Provider == provider {
			return &e
		}
	}
	return nil
}

// attempts are the outcomes of a source at a provider after an event.
func (w *mailboxes) attempts(source, provider string, after *event.Event) (list []event.Event) {
	for _, e := range w.events() {
		if e.Sequence > after.Sequence && e.Source == source && e.Provider == provider && (e.Kind == event.Delivered || e.Kind == event.Deferred) {
			list = append(list, e)
		}
	}
	return list
}

func TestScriptedProviders(t *testing.T) {
	t.Parallel()
	t.Run("source", suspendsOneSource)
	t.Run("segment", holdsOneSegment)
}

// A source that is over its quota at Yahoo leaves it alone for as long as the rule says, also
// after kill -9, and comes back. Other sources and providers notice nothing.
func suspendsOneSource(t *testing.T) {
	t.Parallel()
	w := newMailboxes(t, mtatest.Manner{Quota: 20, Within: 5 * time.Second, Penalty: time.Second})
	w.send("", "ann", "yahoo.test", 40)
	wait(t, "a1 to be suspended", func() bool { return w.act("suspend", "a1", "yahoo") != nil })
	w.kill()
	w.start()
	w.send("", "offers", "yahoo.test", 15)
	w.send("", "ann", "google.test", 30)
	w.arrive(w.yahoo, 12, 15)
	w.arrive(w.google, 11, 30)
	w.arrive(w.yahoo, 11, 40)
	w.empty()
	w.balance()
	began, over := w.act("suspend", "a1", "yahoo"), w.act("resume", "a1", "yahoo")
	if began == nil || over == nil {
		t.Fatalf("it was suspended by %+v and came back by %+v", began, over)
	}
	var act throttle.Act
	if err := json.Unmarshal([]byte(began.Evidence), &act); err != nil || !strings.Contains(act.Reply, "[TSS04] Messages from "+w.ip(11)) {
		t.Errorf("%v; evidence %s", err, began.Evidence)
	}
	if want := "segue provider cancel yahoo --source a1"; began.Undo != want {
		t.Errorf("undo %q, not %q", began.Undo, want)
	}
	inFlight := 0
	for _, e := range w.attempts("a1", "yahoo", began) {
		if e.Time.Before(act.Until) {
			inFlight++
		}
	}
	if inFlight > connections {
		t.Errorf("%d attempts while it was suspended, more than were in flight", inFlight)
	}
	if w.act("suspend", "b1", "yahoo") != nil || w.act("suspend", "a1", "google") != nil {
		t.Error("others were suspended too")
	}
	w.stop()
	w.verify()
}

// Google refuses what one segment is sent: the segment waits there, also after kill -9, until
// the command that the act names lets it go. Its transactional mail goes, as do others' mail there and
// its own elsewhere.
func holdsOneSegment(t *testing.T) {
	t.Parallel()
	w := newMailboxes(t, mtatest.Manner{})
	w.send("X-Offer: half price\n", "offers", "google.test", 60)
	wait(t, "the segment to be suspended", func() bool { return w.act("suspend", "b1", "google") != nil })
	w.kill()
	w.google.Behave(nil)
	w.start()
	w.send("X-Segue-Stream: transactional\n", "offers", "google.test", 5)
	w.send("", "ann", "google.test", 20)
	w.send("", "offers", "yahoo.test", 20)
	w.arrive(w.google, 11, 25)
	w.arrive(w.yahoo, 12, 20)
	if n := w.from(w.google, 12); n > 0 {
		t.Errorf("%d offers arrived at google, where they are held", n)
	}
	p, err := w.api.Provider(t.Context(), "google")
	if err != nil || len(p.Sources) != 2 || p.Sources[1].State != "normal" || len(p.Sources[1].Lanes) != 1 || p.Sources[1].Lanes[0].Name != "offers" {
		t.Errorf("google is %+v, %v", p, err)
	}
	began := w.act("suspend", "b1", "google")
	if began.Segment != "offers" || !strings.HasPrefix(began.Undo, "segue provider cancel google ") {
		t.Fatalf("the segment was suspended by %+v", began)
	}
	w.must(strings.Fields(began.Undo)[1:]...)
	w.empty()
	kinds := w.balance()
	if n := w.from(w.google, 12); kinds[event.Bounced] < 3 || kinds[event.Bounced] > 3+2*connections || n+kinds[event.Bounced] != 60 {
		t.Errorf("%d offers were refused and %d arrived, of 60", kinds[event.Bounced], n)
	}
	w.stop()
	w.verify()
}
