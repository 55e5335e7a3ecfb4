// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/reputation/evidence"
	"github.com/seguemta/segue/reputation/outage"
	"github.com/seguemta/segue/reputation/warmup"
	"github.com/seguemta/segue/segment"
)

// lost are n addresses that the provider says do not exist.
func lost(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("lost%d@dest.example", i)
	}
	return list
}

// hardBounces returns the suppressions for hard bounces.
func (w *town) hardBounces() []segment.Suppression {
	w.t.Helper()
	list, _, err := w.Engine.people.Suppressions(segment.Query{Reason: segment.ReasonHardBounce, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// TestOutage: a provider says of everybody that they do not exist. From the hundredth on, and
// back to the beginning of that hour, its word holds for a week; one event and a warning say
// so, a restart changes nothing, and an operator undoes all of it and nothing else.
func TestOutage(t *testing.T) {
	w := newTown(t, "rcpt lost : 550 5.1.1 no such user")
	w.run()
	if err := w.Methods().Suppress(t.Context(), api.Suppression{Address: "ann@dest.example", Reason: "manual"}); err != nil {
		t.Fatal(err)
	}
	w.submit("", lost(60)...)
	w.settle("the first bounces", func() bool { return len(w.hardBounces()) == 60 })
	for _, s := range w.hardBounces() {
		if !s.Expires.IsZero() {
			t.Fatalf("before any doubt: %+v", s)
		}
	}
	w.submit("", lost(130)[60:]...)
	w.settle("the outage", func() bool { return len(w.hardBounces()) == 130 && w.count("outage_began") == 1 })
	for _, s := range w.hardBounces() {
		left := time.Until(s.Expires)
		if left < 6*24*time.Hour || left > 7*24*time.Hour || !strings.HasPrefix(s.Evidence, "provisional, other said of ") || s.Scope != segment.ScopeAll {
			t.Fatalf("in doubt: %+v", s)
		}
	}
	if h, err := w.Methods().Health(t.Context()); err != nil || len(h.Warnings) != 1 || !strings.Contains(h.Warnings[0], "that they do not exist") {
		t.Errorf("health %+v, %v", h, err)
	}
	if n := metric(t, w, "segue_provisional_suppressions_total"); n < 1 || n > 31 {
		t.Errorf("%v provisional suppressions", n)
	}
	w.stop()

	w.run()
	w.submit("", lost(131)[130:]...)
	w.settle("one more", func() bool { return len(w.hardBounces()) == 131 })
	for _, s := range w.hardBounces() {
		if s.Expires.IsZero() {
			t.Fatalf("after a restart: %+v", s)
		}
	}
	if n := w.count("outage_began"); n != 1 {
		t.Errorf("it began %d times", n)
	}
	undo := api.Undo{Provider: "other", Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour), Reason: "outage", DryRun: true}
	if done, err := w.Methods().UndoSuppressions(t.Context(), undo); err != nil || done.Lifted != 131 || len(w.hardBounces()) != 131 {
		t.Errorf("a dry run: %+v, %v", done, err)
	}
	undo.DryRun = false
	if done, err := w.Methods().UndoSuppressions(t.Context(), undo); err != nil || done.Lifted != 131 {
		t.Errorf("undone: %+v, %v", done, err)
	}
	left, _, err := w.Engine.people.Suppressions(segment.Query{})
	if err != nil || len(left) != 1 || left[0].Reason != "manual" {
		t.Errorf("left: %+v, %v", left, err)
	}

	// A day of good mail in short. What is being applied would bring the old doubt back.
	w.settle("contacts", func() bool { durable, _ := w.mail.Durable(); return w.contacts.consumed() >= durable })
	w.contacts.outages.mu.Lock()
	w.contacts.outages.guard, w.contacts.outages.dirty = outage.New(outage.Default()), true
	w.contacts.outages.mu.Unlock()
	w.submit("", "bob@dest.example")
	w.settle("the end", func() bool { return w.count("outage_ended") == 1 })
}

// TestOutageOfAResolver: a resolver that lies says that domains do not exist.
func TestOutageOfAResolver(t *testing.T) {
	w := newTown(t)
	w.run()
	var to []string
	for i := range 130 {
		to = append(to, fmt.Sprintf("ann@lost%d.example", i))
	}
	w.submit("", to...)
	w.settle("the outage", func() bool { return len(w.hardBounces()) == 130 && w.count("outage_began") == 1 })
	for _, s := range w.hardBounces() {
		if s.Expires.IsZero() {
			t.Fatalf("%+v", s)
		}
	}
}

// TestOtherAddress: a notification about somebody behind an alias or a list counts, and never
// suppresses our recipient at once.
func TestOtherAddress(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "list@dest.example")
	path := w.arrived(1).From
	w.report(path, bounceMail(path, "member@elsewhere.example"))
	w.settle("the bounce", func() bool { return w.has("dsn", "list@dest.example") })
	if got := w.suppressions("list@dest.example"); got != "" {
		t.Errorf("suppressed: %q", got)
	}
	list, err := w.mail.Events(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if e := list[len(list)-1]; e.Verdict != "count" || e.Class != "InvalidRecipient" || !strings.Contains(e.Reason, "another address") {
		t.Errorf("%+v", e)
	}
}

const (
	absent = "From: ann@dest.example\r\nSubject: Automatic reply: hello\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n"
	old    = "From: MAILER-DAEMON@dest.example\r\nSubject: failure notice\r\n\r\nHi. This is the qmail-send program at dest.example.\r\n\r\n<ann@dest.example>:\r\nSorry, no mailbox here by that name. (#5.1.1)\r\n\r\n--- Below this line is a copy of the message.\r\n\r\nSubject: hello\r\n"
)

// TestRulesOfBounceMail: a bounce in words is one, and the answer of a program is none.
func TestRulesOfBounceMail(t *testing.T) {
	w := newTown(t)
	w.run()
	w.submit("", "ann@dest.example")
	path := w.arrived(1).From
	for i, tt := range []struct{ mail, class, verdict, suppressed string }{
		{absent, "AutoReply", "ignore", ""},
		{string(bounceMail(path, "member@elsewhere.example")), "InvalidRecipient", "count", ""}, // no repetition of the answer
		{old, "InvalidRecipient", "suppress", "hard_bounce all"},
	} {
		if r := w.report(path, []byte(tt.mail)); r.Code != 250 {
			t.Fatalf("answered %s", r)
		}
		w.settle(tt.class, func() bool { return w.count("dsn") == i+1 })
		list, err := w.mail.Events(0, 100)
		if err != nil {
			t.Fatal(err)
		}
		if e := list[len(list)-1]; e.Class != tt.class || e.Verdict != tt.verdict {
			t.Errorf("%+v", e)
		}
		if got := w.suppressions("ann@dest.example"); got != tt.suppressed {
			t.Errorf("after %s: %q", tt.class, got)
		}
	}
	w.settle("the evidence", func() bool { durable, _ := w.mail.Durable(); return w.evidence.consumed() >= durable })
	sent, err := w.mail.SentRecord(w.sentID(path))
	if err != nil {
		t.Fatal(err)
	}
	k := evidence.Key{Scope: evidence.Source, Name: sent.Source, Provider: other(sent.Provider), Day: warmup.DayOf(sent.Time, w.evidence.zone)}
	w.evidence.mu.Lock()
	defer w.evidence.mu.Unlock()
	if got := w.evidence.book.Counts(k); got.Bounced != 1 {
		t.Errorf("the answer, and the bounce twice: %+v", got)
	}
}

const houseRule = `rule house
class PolicyRelated
verdict reputation
subject content
text house rule 7
yes 550 house rule 7
no 550 house rule 8
`

// TestRules: the operator's rules come first, and are read again while mail flows; a file
// that is wrong changes nothing and says where it is wrong.
func TestRules(t *testing.T) {
	w := newTown(t, "rcpt : 550 5.1.1 user unknown: house rule 7")
	file := filepath.Join(w.dir, "bounce.txt")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# nothing yet\n")
	w.change = strings.NewReplacer("[http]\n", "[bounce]\nrules_file = \""+file+"\"\n[http]\n")
	w.run()
	classify := func() string {
		c, err := w.Methods().ClassifyReply(t.Context(), api.Reply{Text: "550 5.1.1 user unknown: house rule 7"})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join([]string{c.Rule, c.Class, c.Verdict, c.Subject}, " ")
	}
	const before = "certainly-no-such-user InvalidRecipient suppress "
	if got := classify(); got != before {
		t.Errorf("before: %s", got)
	}
	write(strings.Replace(houseRule, "no 550 house rule 8", "no 550 house rule 7", 1))
	_, err := w.Methods().ReloadBounceRules(t.Context())
	problem, ok := errors.AsType[*api.Error](err)
	if want := file + `:1: bad bounce rules: rule "house": it matches "550 house rule 7", which it must not`; !ok || problem.Status != http.StatusConflict || problem.Detail != want {
		t.Errorf("a file that is wrong: %v", err)
	}
	if got := classify(); got != before {
		t.Errorf("after a file that is wrong: %s", got)
	}
	write(houseRule)
	if r, err := w.Methods().ReloadBounceRules(t.Context()); err != nil || r.File != file || r.Rules < 100 {
		t.Errorf("%+v, %v", r, err)
	}
	if got := classify(); got != "house PolicyRelated reputation content" {
		t.Errorf("after: %s", got)
	}
	w.submit("", "ann@dest.example")
	w.settle("the bounce", func() bool { return w.count("bounced") == 1 })
	list, err := w.mail.Events(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if e := list[len(list)-1]; e.Class != "PolicyRelated" || e.Verdict != "reputation" || e.Subject != "content" {
		t.Errorf("%+v", e)
	}
	if got := w.suppressions("ann@dest.example"); got != "" {
		t.Errorf("suppressed: %q", got)
	}
}

// TestRulesFileIsChecked: segue check says where a rule is wrong.
func TestRulesFileIsChecked(t *testing.T) {
	w := newTown(t)
	file := filepath.Join(w.dir, "bounce.txt")
	for text, want := range map[string]string{
		"":                           "cannot be read",
		"rule a\ncolour red\n":       file + ":2: bad bounce rules: unknown word",
		houseRule + "\n" + houseRule: file + `:9: bad bounce rules: rule "house" occurs twice`,
	} {
		if text != "" {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		} else {
			_ = os.Remove(file)
		}
		c, _ := config.Parse("segue.toml", []byte(fmt.Sprintf(testConfig, w.dir)+"[bounce]\nrules_file = \""+file+"\"\n"))
		list := Check(c)
		found := false
		for _, p := range list {
			found = found || strings.Contains(p.String(), "bounce.rules_file: ") && strings.Contains(p.String(), want)
		}
		if !found {
			t.Errorf("%q: %v", text, list)
		}
	}
}
