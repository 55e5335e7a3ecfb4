// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/dsn"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
	"github.com/seguemta/segue/queue"
)

// report sends a message to the feedback listener, from the null sender.
func (w *town) report(to string, data []byte) rfc5321.Reply {
	w.t.Helper()
	return w.reportFrom("", to, data)
}

func (w *town) reportFrom(from, to string, data []byte) rfc5321.Reply {
	w.t.Helper()
	var sender rfc5321.Address
	if from != "" {
		sender = address(w.t, from)
	}
	c, err := smtpclient.Dial(w.t.Context(), smtpclient.Options{
		Network: w.net, Local: netip.MustParseAddr("198.51.100.5"), Remote: netip.MustParseAddrPort("127.0.0.1:2525"), Hello: "mx.dest.example", TLS: smtpclient.TLSNone,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	res := c.Send(w.t.Context(), &smtpclient.Transaction{From: sender, To: []rfc5321.Address{address(w.t, to)}, Parts: [][]byte{data}, EightBit: true})
	if res.Err != nil {
		w.t.Fatal(res.Err)
	}
	return res.Recipients[0].Reply
}

// arrived waits for the nth message at the exchanger.
// arrived waits for the nth message, and until its delivery is concluded:
// feedback that comes sooner is put off.
func (w *town) arrived(n int) mtatest.Message {
	w.t.Helper()
	w.settle(fmt.Sprintf("message %d", n), func() bool { return len(w.mx.Messages()) >= n && w.count("delivered") >= n })
	return w.mx.Messages()[n-1]
}

func (w *town) suppressions(addr string) string {
	w.t.Helper()
	c, err := w.Methods().Contact(w.t.Context(), addr)
	if err != nil {
		w.t.Fatal(err)
	}
	var list []string
	for _, s := range c.Suppressions {
		list = append(list, s.Reason+" "+s.Scope)
	}
	return strings.Join(list, ", ")
}

func bounceMail(path, rcpt string) []byte {
	return dsn.Build(dsn.Notification{
		From: "MAILER-DAEMON@mx.dest.example", To: path, Date: time.Now(), MessageID: "d1@mx.dest.example", ReportingMTA: "mx.dest.example",
		Recipients: []dsn.Recipient{{Final: rcpt, Action: dsn.Failed, Status: rfc5321.EnhancedCode{5, 1, 1}, DiagnosticType: "smtp", Diagnostic: "550 5.1.1 no such user"}},
	})
}

func TestABounceComesBackAndStopsQueuedMail(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	path := w.arrived(1).From
	w.submit("X-Segue-Not-Before: "+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+"\r\n", "ann@dest.example")
	w.settle("the second message", func() bool { return w.queue.Total().Waiting == 1 })
	if r := w.report(path, bounceMail(path, "ann@dest.example")); r.Code != 250 {
		t.Fatalf("the bounce was answered %s", r)
	}
	w.settle("the suppression of queued mail", func() bool { return w.has("suppressed", "ann@dest.example") })
	if got := w.suppressions("ann@dest.example"); got != "hard_bounce all" {
		t.Errorf("suppressions: %s", got)
	}
	w.submit("", "ann@dest.example")
	w.settle("quiet", func() bool { return w.queue.Total().Waiting == 0 })
	if n := len(w.mx.Messages()); n != 1 {
		t.Errorf("%d messages went to a suppressed contact", n)
	}
}

func TestAComplaintStopsMarketingButNotTransactional(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	m := w.arrived(1)
	r := w.report("fbl@bounce.example.com", arf.Build(arf.Feedback{
		From: "fbl@dest.example", To: "fbl@bounce.example.com", Date: time.Now(), MessageID: "a1@dest.example",
		Report: arf.Report{Type: arf.Abuse, UserAgent: "Test/1"}, Original: m.Data, HeaderOnly: true,
	}))
	if r.Code != 250 {
		t.Fatalf("the complaint was answered %s", r)
	}
	w.settle("the complaint", func() bool { return w.has("complained", "ann@dest.example") })
	if got := w.suppressions("ann@dest.example"); got != "complaint stream:marketing" {
		t.Errorf("suppressions: %s", got)
	}
	w.submit("", "ann@dest.example")
	w.settle("the suppressed one", func() bool { return w.has("suppressed", "ann@dest.example") })
	w.submit("X-Segue-Stream: transactional\r\n", "ann@dest.example")
	w.arrived(2)
}

func TestForgedFeedbackChangesNothing(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	m := w.arrived(1)
	flip := func(token string) string { // another character somewhere in the signature
		b := []byte(token)
		i := len("b") + 30
		if b[i] == 'a' {
			b[i] = 'b'
		} else {
			b[i] = 'a'
		}
		return string(b)
	}
	if r := w.report(flip(m.From), bounceMail(m.From, "ann@dest.example")); r.Code != 550 {
		t.Errorf("a forged return path was answered %s", r)
	}
	ref := ""
	for line := range strings.SplitSeq(string(m.Data), "\r\n") {
		if v, ok := strings.CutPrefix(line, "X-Segue-Ref: "); ok {
			ref = v
		}
	}
	forged := strings.ReplaceAll(string(m.Data), ref, flip(ref))
	r := w.report("fbl@bounce.example.com", arf.Build(arf.Feedback{
		From: "fbl@dest.example", To: "fbl@bounce.example.com", Date: time.Now(), MessageID: "a1@dest.example",
		Report: arf.Report{Type: arf.Abuse}, Original: []byte(forged), HeaderOnly: true,
	}))
	if r.Code != 250 {
		t.Errorf("a report without a token of ours was answered %s", r)
	}
	if got := w.suppressions("ann@dest.example"); got != "" {
		t.Errorf("forged feedback suppressed: %s", got)
	}
	if n := metric(t, w, "segue_feedback_unresolved_total"); n != 2 {
		t.Errorf("%v unresolved are counted, not 2", n)
	}
	for _, s := range w.kinds() {
		if strings.HasPrefix(s, "dsn") || strings.HasPrefix(s, "complained") {
			t.Errorf("event %s", s)
		}
	}
}

// metric is the sum of a counter over its labels.
func metric(t *testing.T, w *town, name string) float64 {
	t.Helper()
	families, err := w.o.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestAHardBounceInTheDialogueSuppresses(t *testing.T) {
	w := newTown(t, "rcpt ann@ : 550 5.1.1 no such user")
	w.run()
	w.submit("X-Segue-Not-Before: "+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+"\r\n", "ann@dest.example")
	w.submit("", "ann@dest.example")
	w.settle("both to end", func() bool {
		return w.has("bounced", "ann@dest.example") && w.has("suppressed", "ann@dest.example") && w.queue.Total().Waiting == 0
	})
	if got := w.suppressions("ann@dest.example"); got != "hard_bounce all" {
		t.Errorf("suppressions: %s", got)
	}
}

func TestSegmentTierAndBudgetChooseTheSource(t *testing.T) {
	w := newTown(t)
	w.run()
	rows := "email,contact.status,last_engaged_at,first_sent_at\n"
	day := time.Now().Add(-48 * time.Hour).UTC().Format(time.DateOnly)
	for i := range 4 {
		rows += fmt.Sprintf("active%d@dest.example,trial,%s,%s\n", i, day, day)
	}
	got, err := w.Methods().ImportContacts(t.Context(), api.Import{Name: "c.csv"}, strings.NewReader(rows))
	if err != nil || got.Created != 4 {
		t.Fatalf("import: %+v, %v", got, err)
	}
	for i := range 4 {
		w.submit("", fmt.Sprintf("active%d@dest.example", i))
	}
	w.settle("four deliveries", func() bool { return len(w.mx.Messages()) == 4 && w.queue.Total() == (queue.Count{}) })
	bySource := map[string]int{}
	events, err := w.mail.Events(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Kind == "delivered" {
			bySource[e.Source]++
			if e.Segment != "trial" || e.Tier != "active" {
				t.Errorf("delivered as segment %q, tier %q", e.Segment, e.Tier)
			}
		}
	}
	// The cold source may reach two a day; the rest overflows to the warm one.
	if bySource["cold"] != 2 || bySource["a1"] != 2 {
		t.Errorf("by source: %v", bySource)
	}
	budgets, err := w.Methods().Warmup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range budgets {
		if b.Provider == "other" && (b.Used != 2 || b.Allowed != 2) {
			t.Errorf("budget %+v", b)
		}
	}
}

func TestUnknownHeadersAndSendersAreRefused(t *testing.T) {
	w := newTown(t)
	w.run()
	for header, want := range map[string]string{
		"X-Segue-Stream: nope\r\n":                  "550 5.7.1 X-Segue-Stream names the unknown stream",
		"X-Segue-Segment: nope\r\n":                 "550 5.7.1 X-Segue-Segment names the unknown segment",
		"X-Segue-Metadata: {\r\n":                   "550 5.6.0 header field X-Segue-Metadata is not JSON",
		"X-Segue-Expires: tomorrow\r\n":             "550 5.6.0 header field X-Segue-Expires",
		"X-Segue-Colour: red\r\n":                   "550 5.6.0 header field X-Segue-Colour is not a field",
		"From: x@other.example\r\n":                 "554 5.6.0 the message has 2 From fields",
		"X-Segue-Expires: 2001-01-01T00:00:00Z\r\n": "550 5.7.1 the message expires before",
	} {
		if r := w.submit(header, "ann@dest.example"); !strings.HasPrefix(r.String(), want) {
			t.Errorf("%q was answered %s", strings.TrimSpace(header), r)
		}
	}
	if n := w.queue.Total().Waiting; n != 0 {
		t.Errorf("%d were accepted", n)
	}
	// Asking for a segment the contact is not in is no error, but is told.
	if r := w.submit("X-Segue-Segment: trial\r\n", "ann@dest.example"); r.Code != 250 {
		t.Errorf("X-Segue-Segment: %s", r)
	}
	w.settle("the note", func() bool { return w.has("segment_ignored", "ann@dest.example") })
}

func TestDomainsThatCannotBeReachedBounce(t *testing.T) {
	w := newTown(t)
	w.run()
	for domain, want := range map[string]string{
		"inside.example": "may not go to its addresses", // never to ourselves
		"nomail.example": "accepts no mail",             // RFC 7505
		"gone.example":   "does not exist",
	} {
		w.submit("", "ann@"+domain)
		w.settle("the bounce at "+domain, func() bool { return w.has("bounced", "ann@"+domain) })
		for _, s := range w.kinds() {
			if strings.HasPrefix(s, "bounced ann@"+domain) && !strings.Contains(s, want) {
				t.Errorf("%s", s)
			}
		}
	}
	for _, d := range w.net.Dials() {
		if d.Remote.Port() == 25 {
			t.Errorf("dialled %v", d)
		}
	}
}
