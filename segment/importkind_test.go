// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// zipped packs text as gzip.
func zipped(tb testing.TB, text string) string {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

// counts is a result in one line.
func counts(r ImportResult) string {
	return fmt.Sprintf("%s: %d rows, %d created, %d updated, %d same, %d rejected", r.Kind, r.Rows, r.Created, r.Updated, r.Same, r.Rejected)
}

// imports imports text with options and returns the result in one line.
func imports(tb testing.TB, d *DB, o ImportOptions, text string) string {
	tb.Helper()
	o.Reader = strings.NewReader(text)
	r, err := d.Import(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	said := counts(r)
	for _, e := range r.Errors {
		said += fmt.Sprintf("\n%d: %s: %s", e.Row, e.Column, e.Reason)
	}
	return said
}

func TestImportAccounts(t *testing.T) {
	d := mem(t)
	text := "name,domain,account.plan,account.employees\nAcme,acme.example,paid,51\n,other.example,,7\n,,paid,\nAcme,,free,\nacme,acme.example,free,51\n"
	got := imports(t, d, ImportOptions{Name: "a.csv"}, text)
	if want := "accounts: 5 rows, 2 created, 1 updated, 1 same, 1 rejected\n4: name: the row names no account (fill \"name\" or \"domain\" or \"group_id\")"; got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if d.Contacts() != 0 {
		t.Error("an import of accounts made a contact")
	}
	if _, _, err := load(t, d, "p.csv", "email,account\nann@example.com,ACME\nbob@other.example,other.example\n"); err != nil {
		t.Fatal(err)
	}
	if c := contact(t, d, "ann@example.com"); c.Account != "Acme" || c.AccountDomain != "acme.example" || c.Attributes["account.plan"].Text() != "free" {
		t.Errorf("contact %+v", c)
	}
	before := dump(t, d)
	if got, want := imports(t, d, ImportOptions{Name: "b.jsonl"}, `{"name":"Acme","account.plan":"free"}`+"\n"+`{"domain":"other.example","account.employees":7}`),
		"accounts: 2 rows, 0 created, 0 updated, 2 same, 0 rejected"; got != want {
		t.Errorf("again: %s, want %s", got, want)
	}
	if after := withoutProgress(dump(t, d)); after != withoutProgress(before) {
		t.Error("an import that says nothing new changed the store")
	}
}

// withoutProgress leaves out what a dump says of imports.
func withoutProgress(dump string) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		if !strings.HasPrefix(line, `"g`) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestImportRecognisesTheKind(t *testing.T) {
	for _, c := range []struct {
		header string
		o      ImportOptions
		want   string
	}{
		{"email,user_id", ImportOptions{}, KindContacts},
		{"email,account,account.plan", ImportOptions{}, KindContacts},
		{"domain", ImportOptions{}, KindAccounts},
		{"name,account.plan", ImportOptions{}, KindAccounts},
		{"user_id", ImportOptions{Kind: KindAccounts}, `as accounts: column 1 "user_id" is not declared`},
		{"email,event,time", ImportOptions{}, KindEvents},
		{"event,time,user_id,prop.x", ImportOptions{}, KindEvents},
		{"email,event", ImportOptions{}, `as events: there is no column "time"`},
		{"event,time", ImportOptions{}, `there is no column "email" or "user_id" or "anonymous_id"`},
		{"email,event,time,total", ImportOptions{}, `a property is "prop.total"`},
		{"email,list", ImportOptions{}, KindLists},
		{"email", ImportOptions{List: "beta"}, KindLists},
		{"email,list", ImportOptions{List: "beta"}, `a list is named, but the rows have a column "list"`},
		{"email", ImportOptions{Kind: KindLists}, `as lists: there is no column "list"`},
		{"email", ImportOptions{List: "a|b"}, "cannot hold a |"},
		{"email,list,contact.status", ImportOptions{}, "memberships have list and email"},
		{"user_id", ImportOptions{}, `as contacts: there is no column "email"`},
		{"email", ImportOptions{Kind: "people"}, `kind "people" (use one of contacts, accounts, events, lists)`},
		{"email", ImportOptions{Kind: KindContacts, List: "beta"}, "a list is named, but the rows are contacts"},
	} {
		c.o.Reader, c.o.Format = strings.NewReader(c.header+"\n"), FormatCSV
		_, _, err := openRows(testOptions(t, nil).Schema, &c.o)
		if err == nil && c.o.Kind != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s, %v; want %s", c.header, c.o.Kind, err, c.want)
		}
	}
}

func TestImportDelimiters(t *testing.T) {
	for _, c := range []struct{ asked, text string }{
		{"", "email;user_id;contact.tags\nann@example.com;\"u;1\";a|b\n"},
		{"", "\xef\xbb\xbf\r\nemail\tuser_id\r\nann@example.com\tu;1\r\n"},
		{"", "email|user_id\nann@example.com|u;1\n"},
		{";", "email;user_id\nann@example.com;\"u;1\"\n"},
		{"tab", "email\tuser_id\nann@example.com\tu;1\n"},
		{",", "email,user_id\nann@example.com,u;1\n"},
	} {
		d := mem(t)
		if got, want := imports(t, d, ImportOptions{Name: "x.csv", Delimiter: c.asked}, c.text), "contacts: 1 rows, 1 created, 0 updated, 0 same, 0 rejected"; got != want {
			t.Errorf("%q: %s", c.text, got)
		}
		if user := contact(t, d, "ann@example.com").UserID; user != "u;1" {
			t.Errorf("%q: user id %q", c.text, user)
		}
	}
	for _, c := range []struct{ asked, text, want string }{
		{"x", "email\n", `delimiter "x" (use a comma`},
		{";;", "email\n", `delimiter ";;"`},
		{";", "email,user_id\n", `"email,user_id" is not declared`},
	} {
		_, err := mem(t).Import(context.Background(), ImportOptions{Reader: strings.NewReader(c.text), Delimiter: c.asked})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.asked, err, c.want)
		}
	}
}

func TestImportTakesApostrophesAway(t *testing.T) {
	text := "email,user_id,contact.status,contact.score\nann@example.com,'+49 30,'plain,'-7\n"
	d := mem(t)
	if got, want := imports(t, d, ImportOptions{Name: "x.csv"}, text), "contacts: 1 rows, 1 created, 0 updated, 0 same, 0 rejected"; got != want {
		t.Fatal(got)
	}
	if c := contact(t, d, "ann@example.com"); c.UserID != "+49 30" || c.Attributes["contact.status"].Text() != "'plain" || c.Attributes["contact.score"].Number() != -7 {
		t.Errorf("contact %+v", c)
	}
	raw := mem(t)
	if got := imports(t, raw, ImportOptions{Name: "x.csv", Raw: true}, strings.Replace(text, "'-7", "-7", 1)); !strings.Contains(got, "1 created") {
		t.Fatal(got)
	}
	if c := contact(t, raw, "ann@example.com"); c.UserID != "'+49 30" {
		t.Errorf("raw: user id %q", c.UserID)
	}
}

// TestImportUnpacksWithinBounds holds that gzip needs no name, and that what
// unpacks to a lot takes no memory.
func TestImportUnpacksWithinBounds(t *testing.T) {
	d := mem(t)
	two := zipped(t, "email\nann@example.com\n") + zipped(t, "bob@example.com\n") // gzip files may be joined
	if got, want := imports(t, d, ImportOptions{Name: "upload"}, two), "contacts: 2 rows, 2 created, 0 updated, 0 same, 0 rejected"; got != want {
		t.Error(got)
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.WriteString(z, "email\n"); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 16 {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := load(t, mem(t), "bomb", bomb.String()); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "longer than 1 MiB") {
		t.Errorf("bomb: %v", err)
	}
}

// TestImportGoesOnAfterACutOffFile imports a part of a gzip file, and then the whole.
func TestImportGoesOnAfterACutOffFile(t *testing.T) {
	text := people(2200, 5)
	whole := zipped(t, text)
	calm := mem(t)
	if _, _, err := load(t, calm, "p.csv.gz", text); err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]string{
		"cut off": whole[:len(whole)-1000],
		"damaged": whole[:len(whole)-1000] + strings.Repeat("x", 1000),
	} {
		d := mem(t)
		if _, _, err := load(t, d, "p.csv.gz", broken); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: %v", name, err)
		}
		r, _, err := load(t, d, "p.csv.gz", whole)
		if err != nil || r.Rows != 2200 || r.Resumed == 0 || r.Resumed == 2200 {
			t.Errorf("%s, then whole: %+v, %v", name, r, err)
		}
		same(t, name, summary(t, d), summary(t, calm))
	}
}

// TestDryRunForetellsTheImport runs the same files dry and for good, over a
// database that knows a part of them.
func TestDryRunForetellsTheImport(t *testing.T) {
	d := mem(t)
	if _, _, err := load(t, d, "old.csv", people(500, 7)); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder // longer than one commit, names nobody twice
	text.WriteString("email,account,contact.score\n")
	for i := range 2500 {
		fmt.Fprintf(&text, "u%d@example.com,Firm %d,%d\n", i, i/3, i)
	}
	for _, file := range [][2]string{
		{"people.csv", text.String()},
		{"accounts.csv", "name,account.plan\nFirm 1,paid\nNew,paid\nFirm 3,\n\"\",free\n"},
	} {
		before := dump(t, d)
		dry := imports(t, d, ImportOptions{Name: file[0], DryRun: true}, file[1])
		if dump(t, d) != before {
			t.Fatalf("%s: the dry run wrote", file[0])
		}
		if wet := imports(t, d, ImportOptions{Name: file[0]}, file[1]); dry != wet {
			t.Errorf("%s: the dry run said\n%s, the import\n%s", file[0], dry, wet)
		}
	}
}

// TestDryRunReservesNothing holds that ids go on without a gap, so nothing was
// taken, and that a contact named again far behind is not made twice.
func TestDryRunReservesNothing(t *testing.T) {
	d := mem(t)
	contacts, accounts := d.write.contacts, d.write.accounts
	text := "email,account\n" + strings.Repeat("ann@example.com,Acme\n", 2*importBatch+1)
	if got, want := imports(t, d, ImportOptions{Name: "x.csv", DryRun: true}, text), "contacts: 2001 rows, 1 created, 2 updated, 1998 same, 0 rejected"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if d.write.contacts.end != contacts.end || d.write.contacts.next != contacts.next || d.write.accounts.next != accounts.next {
		t.Error("the dry run took ids")
	}
	if got, want := imports(t, d, ImportOptions{Name: "x.csv"}, text), "contacts: 2001 rows, 1 created, 0 updated, 2000 same, 0 rejected"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestDryRunNamesTheFirstErrors(t *testing.T) {
	d := mem(t)
	r, err := d.Import(context.Background(), ImportOptions{
		Reader: strings.NewReader("email,contact.score\n" + strings.Repeat("ann@example.com,many\nbob\n", 80)), Name: "x.csv", DryRun: true,
	})
	if err != nil || r.Rejected != 160 || len(r.Errors) != MaxErrors {
		t.Fatalf("%d rejected, %d named, %v", r.Rejected, len(r.Errors), err)
	}
	first, last := r.Errors[0], r.Errors[MaxErrors-1]
	if first.Row != 2 || first.Column != "contact.score" || !strings.Contains(first.Reason, "not a number") || last.Row != 101 || last.Column != "" {
		t.Errorf("first %+v, last %+v", first, last)
	}
}

func TestImportLists(t *testing.T) {
	d := mem(t)
	if _, _, err := load(t, d, "p.csv", "email,lists\nann@example.com,old\n"); err != nil {
		t.Fatal(err)
	}
	text := "list,email\nbeta,ann@example.com\nbeta,new@example.com\n,ann@example.com\nbeta,nobody\nbeta,ANN@example.com\n"
	want := "lists: 5 rows, 2 created, 0 updated, 1 same, 2 rejected\n4: list: the name of the list is missing\n5: email: "
	if got := imports(t, d, ImportOptions{Name: "l.csv", DryRun: true}, text); !strings.HasPrefix(got, want) {
		t.Errorf("dry: %s, want %s", got, want)
	}
	if got := imports(t, d, ImportOptions{Name: "l.csv"}, text); !strings.HasPrefix(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
	for _, again := range []ImportOptions{{Name: "l.csv"}, {Name: "other.csv"}} {
		if got := imports(t, d, again, text); !strings.HasPrefix(got, "lists: 5 rows, 0 created, 0 updated, 3 same, 2 rejected") {
			t.Errorf("again: %s", got)
		}
	}
	// A file of addresses alone.
	for _, text := range []string{"bob@example.com\nann@example.com\n\nbob@example.com\n", "email\nbob@example.com\nann@example.com\nbob@example.com\n", `{"email":"bob@example.com"}` + "\n" + `{"email":"ann@example.com"}` + "\n" + `{"email":"bob@example.com"}`} {
		d := mem(t)
		if got, want := imports(t, d, ImportOptions{Name: "x", List: "trial users"}, text), "lists: 3 rows, 2 created, 0 updated, 1 same, 0 rejected"; got != want {
			t.Errorf("%q: %s", text, got)
		}
		if lists := contact(t, d, "bob@example.com").Lists; strings.Join(lists, "|") != "trial users" {
			t.Errorf("%q: lists %q", text, lists)
		}
	}
	if lists := contact(t, d, "ann@example.com").Lists; strings.Join(lists, "|") != "beta|old" {
		t.Errorf("lists %q", lists)
	}
	same(t, "lists", exported(t, d, ExportOptions{Kind: KindLists}), "list,email\nbeta,ann@example.com\nold,ann@example.com\nbeta,new@example.com\n")
}

func TestImportEvents(t *testing.T) {
	d := mem(t)
	if _, _, err := load(t, d, "p.csv", "email,user_id\nann@example.com,u7\n"); err != nil {
		t.Fatal(err)
	}
	text := doings + ",,,Order,2026-05-01,m3,,,,,\nann@example.com,,,,2026-05-01,m4,,,,,\nann@example.com,,,Order,,m5,,,,,\n" +
		"ann@example.com,,,Order,2027-01-01,m6,,,,,\nann@example.com,,,Order,2026-05-01,m7,,,,,[1]\nann,,,Order,2026-05-01,m8,,,,,\n"
	want := "events: 11 rows, 5 created, 0 updated, 0 same, 6 rejected\n" +
		"7: email: the row names nobody (fill \"email\" or \"user_id\" or \"anonymous_id\")\n8: event: the name of the event is missing\n" +
		"9: time: the time is missing\n10: time: it is in the future\n11: properties: it is not a JSON object\n12: email: "
	before := dump(t, d)
	if got := imports(t, d, ImportOptions{Name: "e.csv", DryRun: true}, text); !strings.HasPrefix(got, want) {
		t.Errorf("dry: %s, want\n%s", got, want)
	}
	if dump(t, d) != before {
		t.Error("a dry run wrote")
	}
	if got := imports(t, d, ImportOptions{Name: "e.csv"}, text); !strings.HasPrefix(got, want) {
		t.Errorf("%s, want\n%s", got, want)
	}
	// The same again, as another file: nothing happens twice. Much later the message
	// ids are forgotten, and the log itself tells.
	once := exported(t, d, ExportOptions{Kind: KindEvents, Format: FormatJSONL})
	for _, now := range []time.Time{t0(), t0().Add(30 * 24 * time.Hour)} {
		d.now = func() time.Time { return now }
		if got, want := imports(t, d, ImportOptions{Name: "again " + now.String(), Format: FormatCSV}, doings), "events: 5 rows, 0 created, 0 updated, 5 same, 0 rejected"; got != want {
			t.Errorf("again: %s", got)
		}
		same(t, "events", exported(t, d, ExportOptions{Kind: KindEvents, Format: FormatJSONL}), once)
	}
	id, err := d.ContactID(addr(t, "ann@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.Events(id, time.Time{}, 10)
	if err != nil || len(list) != 3 {
		t.Fatalf("events %+v, %v", list, err)
	}
	got := ""
	for _, name := range []string{"total", "code", "note", "a.b", "at"} {
		v := list[0].Properties[name]
		got += fmt.Sprintf("%s %s, ", v.Type(), v)
	}
	if want := "number 12.5, text 007, text 7, boolean true, time 2026-01-02T03:04:05Z, "; got != want || list[0].Message != "m1" || list[0].Account == 0 {
		t.Errorf("properties %s, want %s, of %+v", got, want, list[0])
	}
}

func TestImportContactsOfSeveralAccounts(t *testing.T) {
	d := mem(t)
	if got, want := imports(t, d, ImportOptions{Name: "x.csv"}, manyAccounts), "contacts: 5 rows, 3 created, 2 updated, 0 same, 0 rejected"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	c := contact(t, d, "ann@example.com")
	got := fmt.Sprintf("%s %s %q %q %s", c.Language, c.Source, c.Tags, c.Lists, c.Created.Format(time.DateOnly))
	for _, a := range c.Accounts {
		got += fmt.Sprintf("; %s %s %s", a.Name, a.GroupID, a.Role)
	}
	if want := `de-CH fair ["\"beta\"" "new" "vip"] ["=list" "more" "news"] 2025-03-01; Acme g1 buyer; Other  user`; got != want {
		t.Errorf("contact %s, want\n%s", got, want)
	}
	if got := imports(t, d, ImportOptions{Name: "y.csv"}, manyAccounts); got != "contacts: 5 rows, 0 created, 0 updated, 5 same, 0 rejected" {
		t.Errorf("again: %s", got)
	}
	got = imports(t, d, ImportOptions{Name: "z.csv"}, "email,role,language,tags\nann@example.com,boss,,\nann@example.com,,german language,\nann@example.com,,,a\x01b\n")
	if want := "contacts: 3 rows, 0 created, 0 updated, 0 same, 3 rejected\n2: role: the row names no account (fill account or account_domain)\n" +
		"3: language: it is not a language (write en or de-CH)\n4: tags: it holds a control character"; got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
}

func TestImportParentsOfAccounts(t *testing.T) {
	d := mem(t)
	if got, want := imports(t, d, ImportOptions{Name: "a.csv"}, pyramid), "accounts: 4 rows, 3 created, 1 updated, 0 same, 0 rejected"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	want := "name,domain,group_id,parent,account.employees,account.plan\nHolding,,,,,\nLone,,,,1,\nEurope,,eu,Holding,,\nAsia,,as,Holding,,\nSales,,s,eu,5,\n"
	same(t, "accounts", exported(t, d, ExportOptions{Kind: KindAccounts}), want)
	second := mem(t)
	if got := imports(t, second, ImportOptions{Name: "a.csv"}, want); got != "accounts: 5 rows, 5 created, 0 updated, 0 same, 0 rejected" {
		t.Errorf("from the export: %s", got)
	}
	same(t, "accounts again", exported(t, second, ExportOptions{Kind: KindAccounts}), want)
	before := exported(t, d, ExportOptions{Kind: KindAccounts})
	got := imports(t, d, ImportOptions{Name: "c.csv"}, "name,group_id,parent,account.plan\nHolding,,Sales,paid\nLone,,LONE,paid\nEurope,,s,paid\n")
	if !strings.HasPrefix(got, "accounts: 3 rows, 0 created, 0 updated, 0 same, 3 rejected\n2: parent: ") || strings.Count(got, "circle") != 3 {
		t.Errorf("circles: %s", got)
	}
	same(t, "after the circles", exported(t, d, ExportOptions{Kind: KindAccounts}), before)
}
