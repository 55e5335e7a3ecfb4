// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestSuppressLists plays conversations about suppression lists:
//
//	import name=FILE [format=] [reason=] [scope=] [dry]   imports the input
//	ls                                                     every suppression
//	export [format=] [reason=] [scope=]                    the list as it is exported
func TestSuppressLists(t *testing.T) {
	d := mem(t)
	datadriven.RunTest(t, "testdata/suppressions/formats", func(t *testing.T, td *datadriven.TestData) string {
		t.Helper()
		arg := func(name string) (value string) {
			td.MaybeScanArgs(t, name, &value)
			return value
		}
		var b strings.Builder
		switch td.Cmd {
		case "import":
			o := SuppressionImport{Reader: strings.NewReader(td.Input), Name: arg("name"), Format: arg("format"), Reason: arg("reason"), Scope: arg("scope"), DryRun: td.HasArg("dry")}
			r, err := d.ImportSuppressions(context.Background(), o)
			fmt.Fprintf(&b, "%d rows: %d created, %d updated, %d same, %d rejected\n", r.Rows, r.Created, r.Updated, r.Same, r.Rejected)
			for _, e := range r.Errors {
				fmt.Fprintf(&b, "row %d: %s: %s\n", e.Row, e.Column, e.Reason)
			}
			if err != nil {
				fmt.Fprintf(&b, "error: %v\n", err)
			}
		case "ls":
			list, _, err := d.Suppressions(Query{Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, x := range list {
				lines = append(lines, fmt.Sprintf("%s %s %s %s [%s] %s %s", x.Address, x.Scope, x.Reason, x.Source, x.Evidence, dayOrNone(x.Created), dayOrNone(x.Expires)))
			}
			slices.Sort(lines)
			return strings.Join(lines, "\n")
		case "export":
			if _, err := d.ExportSuppressions(context.Background(), SuppressionExport{Writer: &b, Format: arg("format"), Reason: arg("reason"), Scope: arg("scope")}); err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitAfter(b.String(), "\n")
			slices.Sort(lines[1:])
			return strings.Join(lines, "")
		default:
			t.Fatalf("unknown command %s", td.Cmd)
		}
		return b.String()
	})
}

func dayOrNone(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.Format(time.DateOnly)
}

// What is exported is imported again to the same list, whatever a spreadsheet would
// make of its cells.
func TestSuppressExportIsImportedAgain(t *testing.T) {
	d := mem(t)
	for i, x := range []Suppression{
		{Reason: ReasonManual, Evidence: "=HYPERLINK(\"http://evil.example\")"},
		{Scope: "stream:news", Reason: ReasonUnsubscribe, Expires: t0().Add(time.Hour)},
		{Scope: "list:weekly", Reason: ReasonComplaint, Evidence: "a \"quoted\",\nline"},
	} {
		if _, err := d.Suppress(addr(t, fmt.Sprintf("=u%d@dest.example", i)), x); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range []string{FormatCSV, FormatJSONL} {
		var out bytes.Buffer
		if n, err := d.ExportSuppressions(context.Background(), SuppressionExport{Writer: &out, Format: format}); err != nil || n != 3 {
			t.Fatalf("%d rows, %v", n, err)
		}
		if format == FormatCSV && (strings.Contains(out.String(), "\n=") || strings.Contains(out.String(), ",=")) {
			t.Errorf("a spreadsheet runs a cell of\n%s", &out)
		}
		other := mem(t)
		r, err := other.ImportSuppressions(context.Background(), SuppressionImport{Reader: &out, Name: "list." + format})
		if err != nil || r.Created != 3 || r.Rejected != 0 {
			t.Fatalf("%s: %+v, %v", format, r, err)
		}
		for i := range 3 {
			a := addr(t, fmt.Sprintf("=u%d@dest.example", i))
			was, e1 := d.SuppressionsOf(a)
			is, e2 := other.SuppressionsOf(a)
			if err := errors.Join(e1, e2); err != nil || len(is) != 1 || is[0].Scope != was[0].Scope || is[0].Reason != was[0].Reason || !is[0].Expires.Equal(was[0].Expires) {
				t.Errorf("%s: %+v became %+v, %v", format, was, is, err)
			}
		}
	}
}

// A large list is read in batches, and its bad rows go to their file.
func TestSuppressImportStreams(t *testing.T) {
	d := mem(t)
	r, w := io.Pipe()
	const rows = 2*importBatch + 10
	go func() {
		fmt.Fprintln(w, "email,reason")
		for i := range rows {
			fmt.Fprintf(w, "u%d@dest.example,%s\n", i, []string{"bounce", "=odd"}[i%2])
		}
		w.Close()
	}()
	var bad rejected
	res, err := d.ImportSuppressions(context.Background(), SuppressionImport{
		Reader: r, Rejected: func() (io.WriteCloser, error) { return &bad, nil },
	})
	if err != nil || res.Rows != rows || res.Created != rows/2 || res.Rejected != rows/2 || len(res.Errors) != MaxErrors {
		t.Fatalf("%+v, %v", res, err)
	}
	lines := strings.Split(strings.TrimSpace(bad.String()), "\n")
	if len(lines) != 1+rows/2 || lines[0] != "row,column,reason" || !strings.HasPrefix(lines[1], "3,reason,") {
		t.Errorf("%d lines: %v", len(lines), lines[:2])
	}
	if _, s, err := d.Check(0, addr(t, "u0@dest.example"), Mail{Stream: "transactional"}, t0()); err != nil || reasonOf(s) != ReasonHardBounce {
		t.Errorf("%v, %v", s, err)
	}
}

type rejected struct{ bytes.Buffer }

func (r *rejected) Close() error { return nil }

// FuzzSuppressionList reads any file without a panic, and what it takes is an address
// with a scope and a reason of ours.
func FuzzSuppressionList(f *testing.F) {
	for _, s := range []string{
		"email,created\na@b.example,1760000000\n", "address,code,error,created_at\na@b.example,550,\"x,y\",\n",
		"EmailAddress,SuppressionReason,Origin\na@b.example,HardBounce,\n", "a@b.example,2027-01-01,list:x\n",
		`{"EmailAddress":"a@b.example","Reason":"BOUNCE"}` + "\n", "address,tags,created_at\na@b.example,\"['x']\",\n", "\"a@b.example\n", "[1]\n",
	} {
		f.Add("", s)
		f.Add(ListGeneric, s)
	}
	f.Fuzz(func(t *testing.T, format, text string) {
		l, err := openList(strings.NewReader(text), "", format)
		if err != nil {
			return
		}
		for {
			err := l.next()
			if err == nil {
				var one listing
				if one, err = l.row.read(l.format); err == nil && (one.address.IsZero() || one.x.Reason != "" && !slices.Contains(listReasons(), one.x.Reason)) {
					t.Fatalf("%+v", one)
				}
			}
			if _, bad := errors.AsType[*fault](err); err != nil && !bad {
				return
			}
		}
	})
}
