// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// wire is a call as clients send it; at is when, in minutes after the start.
type wire struct {
	Type        string         `json:"type"`
	MessageID   string         `json:"messageId"`
	UserID      string         `json:"userId"`
	AnonymousID string         `json:"anonymousId"`
	PreviousID  string         `json:"previousId"`
	GroupID     string         `json:"groupId"`
	Event       string         `json:"event"`
	Name        string         `json:"name"`
	Category    string         `json:"category"`
	At          float64        `json:"at"`
	Traits      map[string]any `json:"traits"`
	Properties  map[string]any `json:"properties"`
	Context     struct {
		IP, UserAgent, Locale, Timezone, GroupID string
		Traits                                   struct{ Email string }
		Campaign                                 struct{ Source string }
	} `json:"context"`
}

func (w *wire) call() Call {
	kinds := map[string]CallKind{
		"identify": CallIdentify, "track": CallTrack, "page": CallPage, "screen": CallScreen, "group": CallGroup, "alias": CallAlias,
	}
	x := &w.Context
	return Call{
		Kind: kinds[w.Type], MessageID: w.MessageID, UserID: w.UserID, Anonymous: w.AnonymousID, PreviousID: w.PreviousID,
		Email: x.Traits.Email, GroupID: w.GroupID, Time: t0().Add(time.Duration(w.At * float64(time.Minute))),
		Event: w.Event + w.Name, Category: w.Category, Properties: w.Properties, Traits: w.Traits,
		Context: CallContext{IP: x.IP, UserAgent: x.UserAgent, Locale: x.Locale, Timezone: x.Timezone, GroupID: x.GroupID, Source: x.Campaign.Source},
	}
}

// talk is a database in a conversation.
type talk struct {
	tb   testing.TB
	o    Options
	d    *DB
	now  time.Time
	last []Call
	mail []event.Event
}

func newTalk(tb testing.TB) *talk {
	tb.Helper()
	schema, err := rule.NewSchema([]rule.Attribute{
		{Name: "contact.status", Type: rule.Text},
		{Name: "contact.first_name", Type: rule.Text},
		{Name: "contact.lastName", Type: rule.Text},
		{Name: "contact.hours", Type: rule.Number},
		{Name: "contact.city", Type: rule.Text},
		{Name: "contact.interests", Type: rule.Topics},
		{Name: "contact.tech", Type: rule.List},
		{Name: "contact.trial_start_date", Type: rule.Time},
		{Name: "contact.trial_end_date", Type: rule.Time},
		{Name: "contact.trial_plan_name", Type: rule.Text},
		{Name: "account.employees", Type: rule.Number},
		{Name: "account.industry", Type: rule.Text},
		{Name: "account.plan", Type: rule.Text},
		{Name: "account.status", Type: rule.Text},
	})
	if err != nil {
		tb.Fatal(err)
	}
	k := &talk{tb: tb, now: t0()}
	k.o = testOptions(tb, vfs.NewMem())
	k.o.Schema, k.o.Segments = schema, nil
	k.o.Now = func() time.Time { return k.now }
	k.d = open(tb, k.o)
	tb.Cleanup(func() { k.d.Close() })
	return k
}

// converse runs the conversations testdata/NAME and testdata/NAME-*.
func converse(t *testing.T, name string) {
	t.Helper()
	files, _ := filepath.Glob("testdata/" + name + "*")
	if len(files) == 0 {
		t.Fatalf("no conversation is named %s", name)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			k := newTalk(t)
			datadriven.RunTest(t, file, func(t *testing.T, td *datadriven.TestData) string {
				t.Helper()
				k.tb = t
				return k.say(td)
			})
		})
	}
}

func (k *talk) say(td *datadriven.TestData) string {
	arg := ""
	if len(td.CmdArgs) > 0 {
		arg = td.CmdArgs[0].Key
	}
	switch td.Cmd {
	case "calls":
		k.last = nil
		for line := range strings.SplitSeq(td.Input, "\n") {
			var w wire
			if err := json.Unmarshal([]byte(line), &w); err != nil {
				return err.Error()
			}
			k.last = append(k.last, w.call())
		}
		return k.ingest(k.last)
	case "again":
		return k.again()
	case "contact":
		return k.contact(arg)
	case "events":
		return k.events(arg)
	case "account":
		return k.account(arg)
	case "visitors":
		return k.visitors()
	case "import":
		_, bad, err := load(k.tb, k.d, "a.csv", td.Input+"\n")
		return fmt.Sprint("error ", err, " ", bad)
	case "mail":
		return k.happens(td.Input)
	case "suppress":
		_, err := k.d.Suppress(addr(k.tb, arg), Suppression{Scope: td.CmdArgs[1].Key, Reason: td.CmdArgs[2].Key})
		return fmt.Sprint("error ", err)
	case "after":
		wait, err := time.ParseDuration(arg)
		k.now = k.now.Add(wait)
		return fmt.Sprint("error ", err)
	case "trim":
		n, err := k.d.TrimEvents(context.Background(), k.now)
		return fmt.Sprintf("%d removed, error %v", n, err)
	case "reopen":
		err := k.d.Close()
		k.d = open(k.tb, k.o)
		return fmt.Sprint("error ", err)
	}
	return "what?"
}

func (k *talk) ingest(calls []Call) string {
	errs, err := k.d.Ingest(context.Background(), calls)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for i, err := range errs {
		if err != nil {
			fmt.Fprintf(&b, "%d: %v\n", i+1, err)
		}
	}
	return b.String() + "ok\n"
}

// again sends the last calls once more, in both orders: nothing may change.
func (k *talk) again() string {
	before := dump(k.tb, k.d)
	k.ingest(k.last)
	turned := slices.Clone(k.last)
	slices.Reverse(turned)
	k.ingest(turned)
	same(k.tb, "after the same calls again", dump(k.tb, k.d), before)
	return "nothing changed\n"
}

func (k *talk) contact(address string) string {
	c, err := k.d.Contact(addr(k.tb, address), k.now)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s user=%s source=%s zone=%s language=%s tags=%v lists=%v tier=%s\n",
		c.Address, c.UserID, c.Source, c.Zone, c.Language, c.Tags, c.Lists, c.Tier)
	fmt.Fprintf(&b, "created %s consent %s engaged %s\n", k.when(c.Created), k.when(c.Consent), k.when(c.LastEngaged))
	for _, m := range c.Accounts {
		fmt.Fprintf(&b, "in %s group=%s parent=%s role=%s since %s\n", m.Name, m.GroupID, m.Parent, m.Role, k.when(m.Since))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Attributes)) {
		fmt.Fprintf(&b, "%s = %s\n", name, c.Attributes[name])
	}
	for _, s := range c.Suppressions {
		fmt.Fprintf(&b, "suppressed %s %s\n", s.Scope, s.Reason)
	}
	return b.String()
}

// when is an instant as minutes after the start, or a date where it is far.
func (k *talk) when(at time.Time) string {
	switch d := at.Sub(t0()); {
	case at.IsZero():
		return "never"
	case d.Abs() > 1000*time.Hour:
		return at.Format(time.RFC3339)
	default:
		return fmt.Sprintf("%gm", d.Minutes())
	}
}

func (k *talk) events(address string) string {
	id, err := k.d.ContactID(addr(k.tb, address))
	if err != nil || id == 0 {
		return fmt.Sprint("no contact ", err)
	}
	list, err := k.d.Events(id, time.Time{}, 1000)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range list {
		account := ""
		if e.Account != 0 {
			a, _, err := k.d.store.Account(e.Account)
			account = fmt.Sprintf(" account=%s", a.Group)
			if err != nil {
				return err.Error()
			}
		}
		fmt.Fprintf(&b, "%s %s%s", k.when(time.UnixMicro(e.Time).UTC()), e.Name, account)
		for _, name := range slices.Sorted(maps.Keys(e.Properties)) {
			fmt.Fprintf(&b, " %s=%s", name, e.Properties[name])
		}
		b.WriteByte('\n')
	}
	return b.String() + "end\n"
}

func (k *talk) account(group string) string {
	id, err := k.d.store.AccountByGroup(group)
	if err != nil || id == 0 {
		return fmt.Sprint("no account ", err)
	}
	a, _, err := k.d.store.Account(id)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s domain=%s group=%s parent=%v deleted %s\n", a.Name, a.Domain, a.Group, a.Parent != 0, k.when(a.Deleted))
	if err := rule.Records(a.Attributes, func(name string, v rule.Value) { fmt.Fprintf(&b, "%s = %s\n", name, v) }); err != nil {
		return err.Error()
	}
	err = k.d.store.ContactsOf(id, func(contact, edge uint64) error {
		c, _, err := k.d.store.Contact(contact)
		at := slices.IndexFunc(c.Edges, func(e store.Edge) bool { return e.Account == id && e.ID == edge })
		fmt.Fprintf(&b, "has %s, account %d of it\n", c.Address, at+1)
		return err
	})
	if err != nil {
		return err.Error()
	}
	return b.String()
}

func (k *talk) visitors() string {
	var b strings.Builder
	err := k.d.store.Visitors(0, func(id uint64, c store.Contact) error {
		ids, err := k.d.store.IDsOf(id)
		list, err2 := k.d.Events(id, time.Time{}, 1000)
		fmt.Fprintf(&b, "visitor %v, %d events, %d accounts", names(ids), len(list), len(c.Edges))
		if c.UserID != "" {
			fmt.Fprintf(&b, ", user %s", c.UserID)
		}
		b.WriteByte('\n')
		if err == nil {
			err = err2
		}
		return err
	})
	fmt.Fprintf(&b, "%d contacts, error %v\n", k.d.Contacts(), err)
	return b.String()
}

func (k *talk) happens(input string) string {
	for line := range strings.SplitSeq(input, "\n") {
		var e event.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return err.Error()
		}
		e.Sequence = uint64(len(k.mail) + 1)
		e.Time = t0().Add(time.Duration(e.Sequence) * time.Minute)
		k.mail = append(k.mail, e)
	}
	apply(k.tb, k.d, k.mail)
	return "ok\n"
}

func TestTracking(t *testing.T)   { converse(t, "tracking") }
func TestSaaS(t *testing.T)       { converse(t, "saas") }
func TestGroup(t *testing.T)      { converse(t, "group") }
func TestMailEvents(t *testing.T) { converse(t, "mailevents") }
func TestModel(t *testing.T)      { converse(t, "model") }
func TestEdges(t *testing.T)      { converse(t, "edges") }
func TestHierarchy(t *testing.T)  { converse(t, "hierarchy") }

func names(ids []store.PersonID) []string {
	list := make([]string, 0, len(ids))
	for _, p := range ids {
		list = append(list, string(p.Kind)+":"+p.Name)
	}
	return list
}

// TestAnInvitationFillsWhatIsMissing holds that an invitation changes nothing that is
// known of the invited.
func TestAnInvitationFillsWhatIsMissing(t *testing.T) {
	k := newTalk(t)
	importRow(t, k.d, "a.csv", "email,contact.first_name\nbob@example.com,Robert\n")
	ingest(t, k.d, []Call{{
		Kind: CallTrack, UserID: "u1", Event: EventInviteSent, Time: t0(), Context: CallContext{GroupID: "g"},
		Properties: map[string]any{"invitee_email": "bob@example.com", "invitee_first_name": "Bob", "invitee_last_name": "Lee"},
	}})
	c := contact(t, k.d, "bob@example.com")
	if first, last := c.Attributes["contact.first_name"], c.Attributes["contact.lastName"]; first.Text() != "Robert" || last.Text() != "Lee" {
		t.Errorf("%q %q", first.Text(), last.Text())
	}
}
