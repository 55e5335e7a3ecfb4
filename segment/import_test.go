// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/store"
)

// file is a writer that can be read after it was closed.
type file struct {
	bytes.Buffer
	closed int
}

func (f *file) Close() error {
	f.closed++
	return nil
}

// load imports text and returns the file of rejected rows.
func load(tb testing.TB, d *DB, name, text string) (ImportResult, string, error) {
	tb.Helper()
	var bad *file
	r, err := d.Import(context.Background(), ImportOptions{
		Reader: strings.NewReader(text), Name: name,
		Rejected: func() (io.WriteCloser, error) {
			if bad != nil {
				tb.Error("the file of rejected rows was made twice")
			}
			bad = &file{}
			return bad, nil
		},
	})
	if bad == nil {
		return r, "", err
	}
	if bad.closed != 1 {
		tb.Errorf("the file of rejected rows was closed %d times", bad.closed)
	}
	return r, bad.String(), err
}

func contact(tb testing.TB, d *DB, a string) Contact {
	tb.Helper()
	c, err := d.Contact(addr(tb, a), t0())
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

const everyColumn = `email,user_id,account,account_domain,first_sent_at,last_sent_at,last_engaged_at,sends_since_engagement,time_zone,consent_at,contact.status,contact.score,contact.tags,contact.signed_up,account.employees,account.plan
Ann@Example.com,u1,Acme,acme.example,2025-01-02,2026-05-01T10:00:00Z,2026-05-20,3,Europe/Berlin,2025-01-01,trial,7.5,a|b,2025-01-01,51,paid
`

func TestImportEveryColumn(t *testing.T) {
	for _, name := range []string{"x.csv", "x.csv.gz", "x.jsonl"} {
		t.Run(name, func(t *testing.T) {
			d := mem(t)
			text := "\xef\xbb\xbf" + strings.ReplaceAll(everyColumn, "\n", "\r\n")
			switch name {
			case "x.csv.gz":
				var b bytes.Buffer
				z := gzip.NewWriter(&b)
				if _, err := io.WriteString(z, text); err != nil {
					t.Fatal(err)
				}
				if err := z.Close(); err != nil {
					t.Fatal(err)
				}
				text = b.String()
			case "x.jsonl":
				text = `{"email":"Ann@Example.com","user_id":"u1","account":"Acme","account_domain":"acme.example","first_sent_at":"2025-01-02",` +
					`"last_sent_at":"2026-05-01T10:00:00Z","last_engaged_at":"2026-05-20","sends_since_engagement":3,"time_zone":"Europe/Berlin",` +
					`"consent_at":"2025-01-01","contact.status":"trial","contact.score":7.5,"contact.tags":["b","a"],"contact.signed_up":"2025-01-01",` +
					`"account.employees":51,"account.plan":"paid"}`
			}
			r, bad, err := load(t, d, name, text)
			if err != nil || r.Created != 1 || r.Rows != 1 || bad != "" {
				t.Fatalf("result %+v, %v, rejected %s", r, err, bad)
			}
			c := contact(t, d, "ann@example.com")
			got := fmt.Sprintf("%s %s %s %s %s %s %s %d %s %s %s %s", c.Address, c.UserID, c.Account, c.AccountDomain,
				c.FirstSent.Format(time.DateOnly), c.LastSent.Format(time.RFC3339), c.LastEngaged.Format(time.DateOnly),
				c.SendsSinceEngagement, c.Zone, c.Consent.Format(time.DateOnly), c.Batch, c.Tier)
			want := "Ann@example.com u1 Acme acme.example 2025-01-02 2026-05-01T10:00:00Z 2026-05-20 3 Europe/Berlin 2025-01-01 " + name + " active"
			if got != want {
				t.Errorf("contact\n%s, want\n%s", got, want)
			}
			attributes := ""
			for _, n := range []string{"contact.status", "contact.score", "contact.tags", "contact.signed_up", "account.employees", "account.plan"} {
				attributes += c.Attributes[n].String() + " "
			}
			if attributes != "trial 7.5 a|b 2025-01-01T00:00:00Z 51 paid " {
				t.Errorf("attributes %s", attributes)
			}
			if v := look(t, d, "ann@example.com"); v.First != "engaged" || len(v.Segments) != 2 || v.Segments[1].Name != "trial" {
				t.Errorf("view %+v", v)
			}
			again, _, err := load(t, d, name, text)
			if err != nil || again.Same != 1 || again.Created+again.Updated != 0 || again.Resumed != 0 {
				t.Errorf("again %+v, %v", again, err)
			}
		})
	}
}

func TestImportRefusesColumnsBeforeTheFirstRow(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"a.csv", "email,contact.staus\na@example.com,x\n", `column 2 "contact.staus" is not declared (declare it: [[attribute]] name = "contact.staus", and a type)`},
		{"a.csv", "email,Status\n", `did you mean "contact.status"?`},
		{"a.csv", "email,employees\n", `did you mean "account.employees"?`},
		{"a.csv", "email,User-ID\n", `did you mean "user_id"?`},
		{"a.csv", "mail\n", `did you mean "email"?`},
		{"a.csv", "email,email\n", "stands there twice"},
		{"a.csv", "user_id\nx\n", `there is no column "email"`},
		{"a.csv", "domain,plan\nx\n", `"plan" is not declared (did you mean "account.plan"?)`},
		{"a.csv", "domain,contact.score\nx\n", `as accounts: column 2 "contact.score" is not declared`},
		{"a.csv", "email user_id\n", `"email user_id" is not declared`},
		{"a.csv", "email,Größe\n", `no attribute can have this name`},
		{"a.csv", "ann@example.com,trial\nbob@example.com,trial\n", `the first line has the address "ann@example.com": write a line above it`},
		{"a.csv", "email,\"x\n", "not closed"},
		{"a.jsonl", `{"email":"a@example.com","phone":"1"}` + "\n", `"phone" is not declared`},
	}
	for _, c := range cases {
		d := mem(t)
		_, _, err := load(t, d, c.name, c.text)
		if !errors.Is(err, ErrColumns) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
		if d.Contacts() != 0 {
			t.Errorf("%q: a row was imported", c.text)
		}
	}
	for name, text := range map[string]string{"a.csv": "", "b.csv": "email\n", "a.jsonl": "\n\n", "b.jsonl": "email\n", "c.csv": "\x1f\x8bnot gzip", "d.csv": "\xff\xfee\x00"} {
		if _, _, err := load(t, mem(t), name, text); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := mem(t).Import(context.Background(), ImportOptions{Reader: strings.NewReader("x"), Format: "xml"}); !errors.Is(err, ErrFormat) {
		t.Errorf("xml: %v", err)
	}
}

func TestImportRejectsBadRows(t *testing.T) {
	d := mem(t)
	r, bad, err := load(t, d, "a.csv", strings.Join([]string{
		"email,user_id,account,last_engaged_at,sends_since_engagement,time_zone,contact.score,contact.tags,account.employees,first_sent_at,last_sent_at",
		"good@example.com,,,,,,,,,,",
		"no at sign,,,,,,,,,,",
		",,,,,,,,,,",
		"a@example.com,,,next week,,,,,,,",
		"a@example.com,,,2099-01-01,,,,,,,",
		"a@example.com,,,1969-01-01,,,,,,,",
		"a@example.com,,,,1.5,,,,,,",
		"a@example.com,,,,-1,,,,,,",
		"a@example.com,,,,,Mars/Base,,,,,",
		"a@example.com,,,,,,many,,,,",
		"a@example.com,,,,,,,,10,,",
		"a@example.com,,,,,,,,,2026-01-02,2026-01-01",
		"a@example.com,,",
		`a@exa"mple.com,,,,,,,,,,`,
		`"a@example.com"x,,,,,,,,,,`,
		"",
		`"=1+1",,,,,,,,,,`,
		"fine@example.com,,,,,,,,,,",
		`"a@example.com,,,,,,,,,,`,
	}, "\n"))
	if err != nil || r.Created != 2 || r.Rejected != 16 || r.Rows != 18 {
		t.Fatalf("result %+v, %v", r, err)
	}
	rows, err := csv.NewReader(strings.NewReader(bad)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"row column reason", "3 email", "4 email the address is missing", "5 last_engaged_at", "6 last_engaged_at it is in the future",
		"7 last_engaged_at it is before 1970", "8 sends_since_engagement it must be a whole number", "9 sends_since_engagement",
		"10 time_zone it is not a time zone", "11 contact.score", "12 account.employees the row names no account",
		"13 last_sent_at it is before first_sent_at", "14  the row has 3 fields, the header has 11", "15  a quotation mark",
		"16  after a closing quotation mark", "18 email", "20  a quotation mark is not closed",
	}
	if len(rows) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(rows), len(want), bad)
	}
	for i := range rows {
		if got := strings.Join(rows[i], " "); !strings.HasPrefix(got, want[i]) {
			t.Errorf("line %d: %q, want %q", i, got, want[i])
		}
	}
	r, bad, err = load(t, d, "a.jsonl", `{"email":"a@example.com","user_id":42}`+"\n[1]\n\n"+`{"email":"b@example.com","phone":1}`+"\n"+`{"email":7}`+"\nnull\n{\"email\":null}")
	if err != nil || r.Created != 1 || r.Rejected != 5 {
		t.Fatalf("result %+v, %v, %s", r, err, bad)
	}
	if c := contact(t, d, "a@example.com"); c.UserID != "42" {
		t.Errorf("user id %q", c.UserID)
	}
	if !strings.Contains(bad, "4,phone,the column is not declared") || !strings.Contains(bad, "2,,the line is not a JSON object") {
		t.Errorf("rejected:\n%s", bad)
	}
}

func TestImportChangesOnlyWhatItSays(t *testing.T) {
	d := mem(t)
	if _, _, err := load(t, d, "a.csv", everyColumn); err != nil {
		t.Fatal(err)
	}
	before := contact(t, d, "ann@example.com")
	r, _, err := load(t, d, "b.csv", strings.SplitN(everyColumn, "\n", 2)[0]+"\nann@EXAMPLE.com,,,,,,,,,,,,,,,\n")
	if err != nil || r.Same != 1 {
		t.Fatalf("blank cells: %+v, %v", r, err)
	}
	r, _, err = load(t, d, "c.csv", "email,account,contact.score,account.plan,account.employees\nann@example.com,ACME,8,,60\nbob@example.com,acme,,free,\n")
	if err != nil || r.Updated != 1 || r.Created != 1 {
		t.Fatalf("result %+v, %v", r, err)
	}
	c := contact(t, d, "ann@example.com")
	if c.Attributes["contact.score"].Number() != 8 || c.Attributes["contact.status"].Text() != "trial" ||
		c.Attributes["account.plan"].Text() != "free" || c.Attributes["account.employees"].Number() != 60 ||
		c.Batch != "a.csv" || c.ID != before.ID || c.Created != before.Created || c.Account != "Acme" {
		t.Errorf("contact %+v", c)
	}
	if b := contact(t, d, "bob@example.com"); b.Account != "Acme" || b.Attributes["account.employees"].Number() != 60 {
		t.Errorf("second contact of the account %+v", b)
	}
}

func TestImportNeverLiftsASuppression(t *testing.T) {
	d := mem(t)
	if _, err := d.Suppress(addr(t, "ann@example.com"), Suppression{Reason: ReasonComplaint}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := load(t, d, "a.csv", everyColumn); err != nil {
		t.Fatal(err)
	}
	if v := look(t, d, "ann@example.com"); reasonOf(v.Suppressed) != ReasonComplaint {
		t.Fatalf("view %+v", v)
	}
	if c := contact(t, d, "ann@example.com"); len(c.Suppressions) != 1 {
		t.Fatalf("contact %+v", c)
	}
}

func TestImportMovesUserIDsAndAccounts(t *testing.T) {
	d := mem(t)
	r, _, err := load(t, d, "a.csv", "email,user_id,account,account_domain\na@example.com,u1,,acme.example\nb@example.com,u1,Acme,acme.example\n"+
		"c@example.com,u2,Other,acme.example\na@example.com,u3,,\na@example.com,u4,,\n")
	if err != nil || r.Moved != 1 || r.Created != 3 || r.Updated != 2 {
		t.Fatalf("result %+v, %v", r, err)
	}
	a, b, c := contact(t, d, "a@example.com"), contact(t, d, "b@example.com"), contact(t, d, "c@example.com")
	if a.UserID != "u4" || b.UserID != "u1" || c.UserID != "u2" {
		t.Errorf("user ids %q %q %q", a.UserID, b.UserID, c.UserID)
	}
	for user, want := range map[string]uint64{"u1": b.ID, "u2": c.ID, "u3": 0, "u4": a.ID} {
		if id, err := d.store.Person(store.PersonID{Kind: store.UserID, Name: user}); err != nil || id != want {
			t.Errorf("user %s leads to %d, %v, want %d", user, id, err, want)
		}
	}
	// The account known by its domain alone got the name; another name is another account.
	if a.Account != "Acme" || b.Account != "Acme" || c.Account != "Other" {
		t.Errorf("accounts %q %q %q", a.Account, b.Account, c.Account)
	}
}

func TestImportHistoryOnlyWidens(t *testing.T) {
	d := mem(t)
	header := "email,first_sent_at,last_sent_at,last_engaged_at,sends_since_engagement\n"
	rows := "old@example.com,2024-01-01,2026-05-01,2024-02-01,12\nann@example.com,2026-01-01,2026-05-01,,7\n"
	if _, _, err := load(t, d, "a.csv", header+rows); err != nil {
		t.Fatal(err)
	}
	if c := contact(t, d, "old@example.com"); c.Tier != "dead" {
		t.Errorf("tier %s: %s", c.Tier, c.TierReason)
	}
	if c := contact(t, d, "ann@example.com"); c.Tier != "cooling" || c.SendsSinceEngagement != 7 {
		t.Errorf("contact %+v", c)
	}
	at := t0()
	apply(t, d, log(
		event.Event{Kind: event.Engaged, Address: "old@example.com", Time: at},
		event.Event{Kind: event.Delivered, Address: "old@example.com", Time: at.Add(time.Minute)},
	))
	r, _, err := load(t, d, "a.csv", header+rows)
	if err != nil || r.Same != 2 {
		t.Fatalf("the same file again: %+v, %v", r, err)
	}
	c := contact(t, d, "old@example.com")
	if c.Tier != "active" || c.SendsSinceEngagement != 1 || c.LastEngaged != at || c.FirstSent.Year() != 2024 {
		t.Errorf("contact %+v", c)
	}
	flips := len(told(t, d))
	r, _, err = load(t, d, "b.csv", "email,last_engaged_at\nann@example.com,2026-05-30\n")
	if err != nil || r.Updated != 1 || len(told(t, d)) != flips+1 {
		t.Fatalf("result %+v, %v, %d flips", r, err, len(told(t, d))-flips)
	}
	if c := contact(t, d, "ann@example.com"); c.Tier != "active" || c.SendsSinceEngagement != 0 {
		t.Errorf("contact %+v", c)
	}
}

func TestImportDryRunWritesNothing(t *testing.T) {
	d := mem(t)
	before := dump(t, d)
	var bad file
	r, err := d.Import(context.Background(), ImportOptions{
		Reader: strings.NewReader("email\na@example.com\nx\n"), Name: "a.csv", DryRun: true,
		Rejected: func() (io.WriteCloser, error) { return &bad, nil },
	})
	if err != nil || r.Rows != 2 || r.Rejected != 1 || !r.DryRun || !strings.Contains(bad.String(), "3,email") {
		t.Fatalf("result %+v, %v, %s", r, err, bad.String())
	}
	if dump(t, d) != before {
		t.Fatal("a dry run wrote")
	}
}

func TestOneImportAtATime(t *testing.T) {
	d := mem(t)
	_, err := d.Import(context.Background(), ImportOptions{
		Reader: strings.NewReader("email\na@example.com\n"), Name: "a.csv",
		Progress: func(ImportResult) {
			if _, _, err := load(t, d, "b.csv", "email\nb@example.com\n"); !errors.Is(err, ErrBusy) {
				t.Errorf("second import: %v", err)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestARowWithoutEndIsRefused(t *testing.T) {
	for _, text := range []string{
		"email\n\"" + strings.Repeat("x\n", maxRow),
		"email\n" + strings.Repeat("x", 2*maxRow),
	} {
		if _, _, err := load(t, mem(t), "a.csv", text); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "longer than 1 MiB") {
			t.Errorf("error %v", err)
		}
	}
}

// TestAnOldUserIDThatMovesTakesNothingElse: of two ids of a contact, one is given to
// another contact. The other stays.
func TestAnOldUserIDThatMovesTakesNothingElse(t *testing.T) {
	d := mem(t)
	ingest(t, d, []Call{
		{Kind: CallIdentify, UserID: "u1", Traits: map[string]any{"email": "ann@example.com"}, Time: t0()},
		{Kind: CallIdentify, UserID: "u2", Traits: map[string]any{"email": "ann@example.com"}, Time: t0()},
	})
	if got := contact(t, d, "ann@example.com").UserID; got != "u2" {
		t.Fatalf("user id %q", got)
	}
	importRow(t, d, "a.csv", "email,user_id\nbob@example.com,u1\n")
	if a, b := contact(t, d, "ann@example.com").UserID, contact(t, d, "bob@example.com").UserID; a != "u2" || b != "u1" {
		t.Errorf("user ids %q and %q", a, b)
	}
}

// TestARejectedAccountChangesNothing: an account is known by its name, and gets a group
// id together with a parent that is below it.
func TestARejectedAccountChangesNothing(t *testing.T) {
	d := mem(t)
	imports(t, d, ImportOptions{Name: "a.csv"}, "name,domain,group_id,parent,account.plan\nHolding,holding.example,,,\nSales,,s,Holding,\n,only.example,,,\nBelow,,,only.example,\n")
	before := exported(t, d, ExportOptions{Kind: KindAccounts})
	got := imports(t, d, ImportOptions{Name: "b.csv"}, "name,domain,group_id,parent,account.plan\nHolding,,h,Sales,paid\nOther,holding.example,h,Sales,paid\nOnly,only.example,,Below,paid\n")
	if !strings.HasPrefix(got, "accounts: 3 rows, 0 created, 0 updated, 0 same, 3 rejected") {
		t.Error(got)
	}
	same(t, "after the circles", exported(t, d, ExportOptions{Kind: KindAccounts}), before)
}
