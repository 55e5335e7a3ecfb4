// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/event"
)

// exported is what an export writes.
func exported(tb testing.TB, d *DB, o ExportOptions) string {
	tb.Helper()
	var b bytes.Buffer
	o.Writer = &b
	rows, err := d.Export(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	text := b.String()
	if o.Gzip {
		z, err := gzip.NewReader(&b)
		if err != nil {
			tb.Fatal(err)
		}
		all, err := io.ReadAll(z)
		if err != nil {
			tb.Fatal(err)
		}
		text = string(all)
	}
	if o.Format == FormatJSONL && int64(strings.Count(text, "\n")) != rows {
		tb.Errorf("%d rows are said to be in\n%s", rows, text)
	}
	return text
}

// hostile is a file of everything that is hard to write down.
const hostile = `{"email":"=cmd@example.com","user_id":"=1+1","account":"@Acme, \"Inc\"","contact.status":"'=x","contact.score":-7.25,"contact.tags":["-a","b"],"account.plan":"+paid"}
{"email":"ann@example.com","user_id":"'","contact.status":"two\nlines, \"quoted\"; and\ttabbed","contact.score":0,"contact.signed_up":"2025-01-01T10:00:00.5Z"}
{"email":"bob@example.com","contact.status":"\t=1","contact.tags":[],"first_sent_at":"2025-01-02","last_sent_at":"2026-05-01T10:00:00Z","last_engaged_at":"2026-05-20","sends_since_engagement":3}
{"email":"\"odd one\"@example.com","time_zone":"Europe/Berlin","consent_at":"2025-01-01","account_domain":"b\u00fccher.example","contact.status":"\ud83d\ude00 trial"}
`

// TestExportImportsAgain holds that an export is all that an import can make: read
// by an empty database, it gives the same one.
func TestExportImportsAgain(t *testing.T) {
	for _, text := range []string{hostile, people(200, 11), manyAccounts} {
		first := mem(t)
		if got := imports(t, first, ImportOptions{Name: "e"}, doings); !strings.HasPrefix(got, "events: 5 rows, 5 created") {
			t.Fatal(got)
		}
		imports(t, first, ImportOptions{Name: "a"}, pyramid)
		if r, bad, err := load(t, first, "x", text); err != nil || r.Rejected > 0 && text == hostile {
			t.Fatal(err, bad)
		}
		for _, o := range []ExportOptions{
			{}, {Raw: true}, {Gzip: true}, {Format: FormatJSONL}, {Format: FormatJSONL, Gzip: true},
		} {
			var b bytes.Buffer
			o.Writer = &b
			if _, err := first.Export(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			second := mem(t)
			if _, _, err := load(t, second, "accounts", exported(t, first, ExportOptions{Kind: KindAccounts})); err != nil {
				t.Fatal(err)
			}
			r, err := second.Import(context.Background(), ImportOptions{Reader: &b, Name: "x", Batch: "x", Raw: o.Raw})
			if err != nil || r.Rejected != 0 || r.Created != uint64(first.Contacts()) {
				t.Fatalf("%+v: %+v, %v", o, r, err)
			}
			o.Kind = KindEvents
			if got := imports(t, second, ImportOptions{Name: "e", Raw: o.Raw}, exported(t, first, o)); !strings.HasPrefix(got, "events: 5 rows, 5 created") {
				t.Fatal(got)
			}
			same(t, fmt.Sprintf("%s raw=%v gzip=%v", o.Format, o.Raw, o.Gzip), onlyContacts(summary(t, second)), onlyContacts(summary(t, first)))
			for _, kind := range Kinds() {
				got, want := exported(t, second, ExportOptions{Kind: kind}), exported(t, first, ExportOptions{Kind: kind})
				same(t, "exported again as "+kind, got, want)
			}
		}
	}
}

// onlyContacts leaves out of a summary what is history and not state: flips, and
// the import that made a contact.
func onlyContacts(summary string) string {
	var lines []string
	for line := range strings.Lines(summary) {
		if strings.HasPrefix(line, "contact ") || strings.HasPrefix(line, "account ") || strings.HasPrefix(line, "state ") {
			lines = append(lines, batches().ReplaceAllString(line, ""))
		}
	}
	return strings.Join(lines, "")
}

func batches() *regexp.Regexp { return regexp.MustCompile(` Batch:\S*`) }

// manyAccounts has people in several accounts, with what contacts have beside.
const manyAccounts = `email,account,group_id,role,language,source,tags,lists,created_at
ann@example.com,Acme,g1,buyer,de_CH,fair,"vip|""beta""",news|=list,2025-03-01
ann@example.com,Other,,user,,,,more,
ann@example.com,Other,,,,,new,,
bob@example.com,,g1,admin,en,,,,
cid@example.com,Other,,,,,,news,
`

// pyramid has children before their parents, and one parent by its name alone.
const pyramid = `name,group_id,parent,account.employees
Sales,s,Europe,5
Europe,eu,Holding,
Lone,,,1
Asia,as,Holding,
`

// doings are events of somebody known, of somebody known by an id, and of nobody.
const doings = `email,user_id,anonymous_id,event,time,message_id,group_id,prop.total,prop.code,prop.note,properties
ann@example.com,,,Order,2026-05-01T10:00:00.5Z,m1,g1,12.5,007,"""7""","{""a"":{""b"":true},""at"":""2026-01-02T03:04:05Z""}"
ann@example.com,u7,,Order,2026-05-02,m2,,-3,,=note,
,u7,,Signed In,2026-05-03,,,,,,
,,anon-1,Page Viewed,2026-05-03,,,,,,
bob@example.com,,,Order,2026-05-01,m1b,g1,,true,,
`

func TestExportColumns(t *testing.T) {
	d := mem(t)
	if _, _, err := load(t, d, "x.csv", everyColumn); err != nil {
		t.Fatal(err)
	}
	got := exported(t, d, ExportOptions{})
	want := `email,user_id,account,account_domain,group_id,role,first_sent_at,last_sent_at,last_engaged_at,sends_since_engagement,time_zone,language,source,created_at,consent_at,consent_source,tags,lists,account.employees,account.plan,contact.score,contact.signed_up,contact.status,contact.tags
Ann@example.com,u1,Acme,acme.example,,,2025-01-02T00:00:00Z,2026-05-01T10:00:00Z,2026-05-20T00:00:00Z,3,Europe/Berlin,,import,2026-06-01T12:00:00Z,2025-01-01T00:00:00Z,,,,51,paid,7.5,2025-01-01T00:00:00Z,trial,a|b
`
	same(t, "contacts", got, want)
	same(t, "accounts", exported(t, d, ExportOptions{Kind: KindAccounts, Format: FormatJSONL}),
		`{"name":"Acme","domain":"acme.example","account.employees":51,"account.plan":"paid"}`+"\n")
	if got := exported(t, mem(t), ExportOptions{}); got != strings.SplitAfter(want, "\n")[0] {
		t.Errorf("nobody: %q", got)
	}
	if got := exported(t, mem(t), ExportOptions{Format: FormatJSONL}); got != "" {
		t.Errorf("nobody: %q", got)
	}
}

// TestExportIsSafeToOpen reads an export as a spreadsheet does and looks for
// cells that it would run.
func TestExportIsSafeToOpen(t *testing.T) {
	d := mem(t)
	if _, _, err := load(t, d, "x", hostile); err != nil {
		t.Fatal(err)
	}
	for kind, risks := range map[string]int{KindContacts: 7, KindAccounts: 2} {
		for _, raw := range []bool{false, true} {
			rows, err := csv.NewReader(strings.NewReader(exported(t, d, ExportOptions{Kind: kind, Raw: raw}))).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			run := 0
			for _, row := range rows {
				for _, cell := range row {
					if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r\n") {
						run++
					}
				}
			}
			if !raw && run != 0 || raw && run != risks {
				t.Errorf("%s, raw %v: %d cells would be run", kind, raw, run)
			}
		}
	}
}

// TestExportIsOfOneMoment changes what is exported while it is written.
func TestExportIsOfOneMoment(t *testing.T) {
	d := mem(t)
	if _, _, err := load(t, d, "x.csv", people(1500, 3)); err != nil {
		t.Fatal(err)
	}
	want := exported(t, d, ExportOptions{})
	var b bytes.Buffer
	w := &meddler{to: &b, do: func() {
		text := "email,contact.status,account,account.plan\nnew@example.com,late,Late,late\n"
		for i := range 1500 {
			text += fmt.Sprintf("u%d@example.com,late,\"Company, %d\",late\n", i, i%100)
		}
		if _, _, err := load(t, d, "late.csv", text); err != nil {
			t.Error(err)
		}
		apply(t, d, log(event.Event{Kind: event.Engaged, Address: "u1400@example.com"}))
	}}
	if _, err := d.Export(context.Background(), ExportOptions{Writer: w}); err != nil {
		t.Fatal(err)
	}
	same(t, "as of the call", b.String(), want)
	if after := exported(t, d, ExportOptions{}); !strings.Contains(after, "late") {
		t.Error("the change did not happen")
	}
}

// meddler does something at the first write.
type meddler struct {
	to io.Writer
	do func()
}

func (m *meddler) Write(p []byte) (int, error) {
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	return m.to.Write(p)
}

// TestExportOfASegment holds the export of a segment against its list of members,
// over more than one page of them.
func TestExportOfASegment(t *testing.T) {
	d := mem(t)
	var text strings.Builder
	text.WriteString("email,contact.status,account,account.employees\n")
	for i := range 3 * memberPage {
		fmt.Fprintf(&text, "u%d@example.com,%s,Acme,51\n", i, []string{"trial", "trial", "paying"}[i%3])
	}
	if _, _, err := load(t, d, "x.csv", text.String()); err != nil {
		t.Fatal(err)
	}
	members, err := d.Members(context.Background(), "trial", 0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(exported(t, d, ExportOptions{Segment: "trial", Format: FormatJSONL})), "\n")
	if len(lines) != len(members) || len(lines) != 2*memberPage {
		t.Fatalf("%d rows, %d members", len(lines), len(members))
	}
	for i, line := range lines {
		var row struct{ Email string }
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Email != members[i].Address {
			t.Fatalf("row %d: %s, %v; want %s", i, line, err, members[i].Address)
		}
	}
	if got := exported(t, d, ExportOptions{Segment: "broken"}); strings.Count(got, "\n") != 1 {
		t.Errorf("a broken segment: %s", got)
	}
}

func TestExportRefusals(t *testing.T) {
	d := mem(t)
	if _, _, err := load(t, d, "x.csv", everyColumn); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    ExportOptions
		want error
		text string
	}{
		{ExportOptions{Kind: "people"}, ErrFormat, `kind "people"`},
		{ExportOptions{Format: "xml"}, ErrFormat, `format "xml"`},
		{ExportOptions{Segment: "trail"}, ErrNoSegment, "no segment has the name trail"},
		{ExportOptions{Segment: "trial", Kind: KindAccounts}, ErrFormat, "not accounts"},
	} {
		var b bytes.Buffer
		c.o.Writer = &b
		if _, err := d.Export(context.Background(), c.o); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || b.Len() > 0 {
			t.Errorf("%+v: %v after %d bytes", c.o, err, b.Len())
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := d.Export(ctx, ExportOptions{Writer: io.Discard}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, format := range []string{FormatCSV, FormatJSONL} {
		for _, packed := range []bool{false, true} {
			o := ExportOptions{Writer: &meddler{to: full{}}, Format: format, Gzip: packed}
			if _, err := d.Export(context.Background(), o); !errors.Is(err, errFull) {
				t.Errorf("%s on a full disk: %v", format, err)
			}
		}
	}
}

var errFull = errors.New("no space left")

// full is a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
