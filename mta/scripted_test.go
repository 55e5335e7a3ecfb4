// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/reputation/throttle"
)

// mailboxes is a town with mailbox providers that behave as the large ones do. Mail of
// segment trial leaves by source a1, that of segment offers by b1, that of both by either.
type mailboxes struct {
	*town
	at map[string]*mtatest.Exchanger // by name of the provider
}

// inMailboxes runs a test in such a town.
func inMailboxes(t *testing.T, manners map[string]mtatest.Manner, f func(w *mailboxes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &mailboxes{town: newTown(t), at: map[string]*mtatest.Exchanger{}}
		records, providers := zone, ""
		for i, name := range mtatest.Providers() {
			e := &mtatest.Exchanger{Name: "mx." + name + ".example", Rules: mtatest.Provider(name, manners[name])}
			addr := fmt.Sprintf("198.51.100.%d", 21+i)
			if err := e.Start(w.net, addr+":25"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = e.Close() })
			w.at[name] = e
			records += fmt.Sprintf("%s.test. 300 IN MX 10 %s.\n%s. 300 IN A %s\n", name, e.Name, e.Name, addr)
			providers += fmt.Sprintf("[[provider]]\nname = %q\nmx = [\"*.%s.example\"]\nconnections = 5\nrate = \"2/s\"\n", name, name)
		}
		w.zones.Replace(records)
		w.change = strings.NewReplacer("[[pool]]\nname = \"standard\"", `[[source]]
name = "b1"
addresses = ["192.0.2.20"]
hostname = "b1.mail.example.net"
[[pool]]
name = "second"
[[pool.member]]
source = "b1"
[[pool]]
name = "shared"
[[pool.member]]
source = "a1"
[[pool.member]]
source = "b1"
[[pool]]
name = "standard"`, "[[segment]]\nname = \"trial\"", providers+`[[segment]]
name = "offers"
order = 5
where = 'contact.status == "offers"'
[[segment.assign]]
tier = "new"
pool = "second"
[[segment]]
name = "both"
order = 6
where = 'contact.status == "both"'
[[segment.assign]]
tier = "new"
pool = "shared"
[[segment]]
name = "trial"`)
		w.run()
		f(w)
		w.stop()
		w.verify()
	})
}

// send submits a message to each of n contacts of a segment at a provider.
func (w *mailboxes) send(header, segment, provider string, n int) {
	w.t.Helper()
	rows := "email,contact.status\n"
	for i := range n {
		rows += fmt.Sprintf("%s%d@%s.test,%s\n", segment, i, provider, segment)
	}
	if _, err := w.Methods().ImportContacts(w.t.Context(), api.Import{Name: "c.csv"}, strings.NewReader(rows)); err != nil {
		w.t.Fatal(err)
	}
	for i := range n {
		w.submit(header, fmt.Sprintf("%s%d@%s.test", segment, i, provider))
	}
}

// got is how many messages a provider has of a source.
func (w *mailboxes) got(provider, source string) int {
	from := map[string]netip.Addr{"a1": netip.MustParseAddr("192.0.2.10"), "b1": netip.MustParseAddr("192.0.2.20")}[source]
	n := 0
	for _, m := range w.at[provider].Messages() {
		if m.Remote.Addr() == from {
			n++
		}
	}
	return n
}

// acts lists what the rules did, in order: "a1 yahoo slow", with the segment
// where it is one that is suspended.
func (w *mailboxes) acts() []string {
	w.t.Helper()
	var list []string
	for _, e := range w.log() {
		if e.Kind != event.Throttled {
			continue
		}
		if e.Evidence == "" || e.Undo == "" && (e.Act == "slow" || e.Act == "suspend") {
			w.t.Errorf("an act without evidence or undo: %+v", e)
		}
		list = append(list, strings.TrimSpace(e.Source+" "+e.Provider+" "+e.Act+" "+e.Segment))
	}
	return list
}

// did compares what the rules did.
func (w *mailboxes) did(want ...string) {
	w.t.Helper()
	if got := w.acts(); !slices.Equal(got, want) {
		w.t.Errorf("the rules did\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// log is all events.
func (w *mailboxes) log() []event.Event {
	w.t.Helper()
	var all []event.Event
	for {
		last := uint64(0)
		if n := len(all); n > 0 {
			last = all[n-1].Sequence
		}
		list, err := w.mail.Events(last, 1000)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(list) == 0 {
			return all
		}
		all = append(all, list...)
	}
}

// expect compares how many messages providers have of sources: "yahoo a1 20".
func (w *mailboxes) expect(when string, want ...string) {
	w.t.Helper()
	for _, line := range want {
		f := strings.Fields(line)
		if n := fmt.Sprint(w.got(f[0], f[1])); n != f[2] {
			w.t.Errorf("%s: %s has %s messages of %s, not %s; acts: %q", when, f[0], n, f[1], f[2], w.acts())
		}
	}
}

// deferred counts the deferrals of a1 at a provider since a time.
func (w *mailboxes) deferred(provider string, since time.Time) int {
	w.t.Helper()
	n := 0
	for _, e := range w.log() {
		if e.Kind == event.Deferred && e.Source == "a1" && e.Provider == provider && e.Time.After(since) {
			n++
		}
	}
	return n
}

// Yahoo bears 30 recipients an hour of an address. The one that sends more is slowed, then
// suspended for two hours, and comes back; it goes on elsewhere, others go on at Yahoo, and a restart
// in the middle changes nothing.
func TestScriptedProvidersSuspendOneSourceAtOneProvider(t *testing.T) {
	quota := mtatest.Manner{Quota: 30, Within: time.Hour, Penalty: 30 * time.Minute}
	inMailboxes(t, map[string]mtatest.Manner{"yahoo": quota}, func(w *mailboxes) {
		w.send("", "trial", "yahoo", 50)
		w.send("", "trial", "google", 50)
		w.send("", "offers", "yahoo", 10)
		time.Sleep(10 * time.Minute)
		w.expect("ten minutes later", "yahoo a1 30", "yahoo b1 10", "google a1 50")
		w.did("a1 yahoo slow", "a1 yahoo suspend")
		tried := w.at["yahoo"].Connections()
		w.stop()
		w.run()
		time.Sleep(100 * time.Minute)
		if n := w.at["yahoo"].Connections(); n != tried {
			t.Errorf("it is suspended and made %d connections", n-tried)
		}
		w.send("", "offers", "yahoo", 9)
		w.send("", "trial", "microsoft", 50)
		time.Sleep(time.Minute)
		w.expect("while it is suspended", "yahoo a1 30", "yahoo b1 19", "microsoft a1 50")
		time.Sleep(20 * time.Minute)
		w.expect("two hours after it began", "yahoo a1 50", "yahoo b1 19")
		w.did("a1 yahoo slow", "a1 yahoo suspend", "a1 yahoo resume")
	})
}

// Microsoft says RP-001 to b1 alone, whose limits go up again in steps until they are as they
// were. What a1 sends there is not slower for a moment.
func TestScriptedProvidersSlowTheOtherSource(t *testing.T) {
	quota := mtatest.Manner{Quota: 30, Within: 3 * time.Minute, Penalty: time.Minute}
	inMailboxes(t, map[string]mtatest.Manner{"microsoft": quota}, func(w *mailboxes) {
		w.send("", "offers", "microsoft", 31)
		w.send("", "offers", "yahoo", 40)
		time.Sleep(30 * time.Second)
		w.expect("half a minute later", "microsoft b1 30", "yahoo b1 40")
		w.did("b1 microsoft slow")
		w.send("", "trial", "microsoft", 30)
		time.Sleep(20 * time.Second)
		w.expect("the other source is as fast as ever", "microsoft a1 30")
		time.Sleep(10 * time.Minute)
		w.expect("ten minutes later", "microsoft b1 31")
		w.send("", "offers", "microsoft", 25)
		time.Sleep(time.Minute)
		if n := w.got("microsoft", "b1") - 31; n < 9 || n > 12 {
			t.Errorf("%d went in a minute, of which ten may", n)
		}
		time.Sleep(2 * time.Minute)
		w.expect("three minutes later", "microsoft b1 56")
		time.Sleep(90 * time.Minute)
		w.send("", "offers", "microsoft", 25)
		time.Sleep(20 * time.Second)
		w.expect("when it has recovered", "microsoft b1 81")
		w.did("b1 microsoft slow", "b1 microsoft raise", "b1 microsoft recovered")
	})
}

// Google refuses the offers, not who brings them: the segment waits there, the source
// sends other mail there and the segment's elsewhere, and transactional mail of its contacts goes.
func TestScriptedProvidersHoldTheSegmentThatIsRefused(t *testing.T) {
	inMailboxes(t, nil, func(w *mailboxes) {
		w.at["google"].Behave(append(mtatest.Provider("google", mtatest.Manner{}), mtatest.Script("data : delay 1s")...))
		w.send("X-Offer: half price\r\n", "offers", "google", 40)
		time.Sleep(10 * time.Minute)
		refused := w.count("bounced")
		if refused < 5 || refused > 10 {
			t.Errorf("%d refused; five are enough, besides those in flight", refused)
		}
		w.did("b1 google suspend offers")
		w.at["google"].Behave(nil)
		w.send("X-Offer: half price\r\n", "offers", "yahoo", 40)
		w.send("", "trial", "google", 40)
		w.send("X-Segue-Stream: transactional\r\n", "offers", "google", 3)
		time.Sleep(time.Minute)
		w.expect("held at one provider", "google b1 0", "yahoo b1 40", "google a1 43")
		w.stop()
		w.run()
		time.Sleep(40 * time.Minute)
		w.expect("and after a restart", "google b1 0")
		time.Sleep(10 * time.Minute)
		w.expect("an hour after it began", fmt.Sprintf("google b1 %d", 40-refused))
		w.did("b1 google suspend offers", "b1 google resume offers")
	})
}

// Yahoo wants nothing more of a1: what it deferred goes out by the pool's other source.
func TestScriptedProvidersGetTheMailByAnotherSource(t *testing.T) {
	inMailboxes(t, nil, func(w *mailboxes) {
		w.at["yahoo"].Behave(mtatest.Script("mail from=192.0.2.10 : 421 4.7.1 [TSS05] All messages from {ip} will be permanently deferred; Retrying will NOT succeed. See https://postmaster.yahooinc.com/error-codes then close"))
		w.send("", "both", "google", 60)
		for range 4 { // contacts that get more are new no longer, and have another pool
			w.send("", "both", "yahoo", 10)
			time.Sleep(2 * time.Minute)
		}
		w.expect("eight minutes later", "yahoo a1 0", "yahoo b1 40")
		if a, b := w.got("google", "a1"), w.got("google", "b1"); a == 0 || a+b != 60 {
			t.Errorf("elsewhere %d went by a1 and %d by b1", a, b)
		}
		w.did("a1 yahoo suspend")
		tried := w.deferred("yahoo", time.Time{})
		w.send("", "both", "yahoo", 10)
		time.Sleep(time.Minute)
		w.expect("while a1 is suspended", "yahoo b1 50")
		if n := w.deferred("yahoo", time.Time{}); n != tried {
			t.Errorf("%d attempts of a1 that is suspended", n-tried)
		}
	})
}

// rules lists which rules acted, and on whom: "a1 yahoo: yahoo-deferred", once each.
func (w *mailboxes) rules() string {
	w.t.Helper()
	var list []string
	for _, e := range w.log() {
		if e.Kind != event.Throttled || e.Act == "raise" || e.Act == "recovered" || e.Act == "resume" {
			continue
		}
		var a throttle.Act
		if err := json.Unmarshal([]byte(e.Evidence), &a); err != nil {
			w.t.Error(err)
		}
		list = append(list, fmt.Sprintf("%s %s: %s\n", a.Source, a.Provider, a.Rule))
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), "")
}

// Each provider is understood in its own words, for the source that is over its quota.
func TestScriptedProvidersAreUnderstood(t *testing.T) {
	quota := mtatest.Manner{Quota: 10, Within: time.Hour, Penalty: 30 * time.Minute}
	manners := map[string]mtatest.Manner{}
	for _, name := range mtatest.Providers() {
		manners[name] = quota
	}
	inMailboxes(t, manners, func(w *mailboxes) {
		for _, name := range mtatest.Providers() {
			w.send("", "offers", name, 3)
			w.send("", "trial", name, 20)
		}
		time.Sleep(20 * time.Minute)
		want := `a1 apple: apple-unavailable
a1 comcast: comcast-rate
a1 gmx: gmx-policy
a1 google: google-rate
a1 microsoft: microsoft-rate
a1 orange: orange-refused
a1 qq: qq-frequency
a1 yahoo: yahoo-deferred
`
		if got := w.rules(); got != want {
			t.Errorf("these rules acted:\n%s", got)
		}
		for _, name := range mtatest.Providers() {
			w.expect("twenty minutes later", name+" a1 10", name+" b1 3")
		}
	})
}

// Too many connections are turned away at the door: one is left for a while, then more.
func TestScriptedProvidersTakeFewerConnections(t *testing.T) {
	door := mtatest.Manner{Connections: 2}
	few := []string{"gmx", "microsoft", "orange"}
	inMailboxes(t, nil, func(w *mailboxes) {
		slow := mtatest.Script("dot : delay 5s")
		w.at["google"].Behave(slow)
		w.send("", "trial", "google", 200)
		for _, name := range few {
			w.at[name].Behave(append(mtatest.Provider(name, door), slow...))
			w.send("", "trial", name, 200)
		}
		time.Sleep(6 * time.Minute)
		if got := w.rules(); got != "a1 gmx: gmx-connections\na1 microsoft: microsoft-connections\na1 orange: orange-connections\n" {
			t.Errorf("these rules acted:\n%s", got)
		}
		w.expect("five connections there", "google a1 200")
		since := time.Now()
		time.Sleep(10 * time.Minute)
		for _, name := range few {
			if n := w.deferred(name, since); n > 0 {
				t.Errorf("%d were turned away by %s with one connection", n, name)
			}
		}
		time.Sleep(10 * time.Minute)
		w.expect("later", "gmx a1 200", "microsoft a1 200", "orange a1 200")
	})
}

// Sites without a provider share what is known of a source, and one of them does not speak
// for the others.
func TestScriptedProvidersASmallSiteStopsNoOther(t *testing.T) {
	inMailboxes(t, nil, func(w *mailboxes) {
		w.mx.Behave(mtatest.Script("mail : 451 4.7.650 The mail server [{ip}] has been temporarily rate limited due to IP reputation. For e-mail delivery information, see https://aka.ms/postmaster (S775)"))
		w.zones.Replace(zone + "other.test. 300 IN MX 10 mx.other.test.\nmx.other.test. 300 IN A 198.51.100.30\n")
		other := &mtatest.Exchanger{Name: "mx.other.test"}
		if err := other.Start(w.net, "198.51.100.30:25"); err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		for i := range 50 {
			w.submit("", fmt.Sprintf("c%d@dest.example", i))
		}
		time.Sleep(15 * time.Minute)
		if n := w.deferred("", time.Time{}); n < 50 {
			t.Errorf("the small site has refused %d times", n)
		}
		for i := range 50 {
			w.submit("", fmt.Sprintf("c%d@other.test", i))
		}
		time.Sleep(10 * time.Second)
		if n := len(other.Messages()); n != 50 {
			t.Errorf("%d of 50 went to a site that said nothing", n)
		}
		w.did()
	})
}
