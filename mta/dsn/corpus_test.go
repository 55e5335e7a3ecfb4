// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A row is one line of feedback.tsv: what a message says about one recipient,
// by the labels of the corpus.
type row struct{ file, recipient, status, action string }

func readRows(t testing.TB, dir string) []row {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "feedback.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		cells := strings.Split(line, "\t")
		if i > 0 && len(cells) == 10 && cells[8] == "" { // complaints are another package's
			rows = append(rows, row{file: cells[0], recipient: cells[2], status: cells[3], action: cells[7]})
		}
	}
	return rows
}

type score struct{ rows, reports, found, statuses, right int }

// measure counts the rows whose recipient Parse finds, and of those whose label has
// a real status, how many have that status.
func measure(t *testing.T, dir string, rows []row) score {
	t.Helper()
	var s score
	for _, want := range rows {
		text, err := readMessage(dir, want.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s.rows++
		report, err := Parse(text)
		if err != nil {
			continue
		}
		s.reports++
		r, ok := find(report, want.recipient)
		if !ok {
			t.Logf("%s: %s is not among %d recipients", want.file, want.recipient, len(report.Recipients))
			continue
		}
		s.found++
		if want.status != "" && !strings.Contains(want.status, ".0.9") { // x.0.9yy is the labeller's own
			s.statuses++
			if got := r.Reply().Enhanced.String(); got == want.status {
				s.right++
			} else {
				t.Logf("%s: status %s, label %s", want.file, got, want.status)
			}
		}
	}
	return s
}

func readMessage(dir, name string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return os.ReadFile(filepath.Join(dir, "feedback", name))
	}
	return text, err
}

func find(report Report, recipient string) (Recipient, bool) {
	for _, r := range report.Recipients {
		if strings.EqualFold(r.Final, recipient) || strings.EqualFold(r.Original, recipient) {
			return r, true
		}
	}
	return Recipient{}, false
}

// TestCorpus reads real reports. SEGUE_CORPUS names the directory of a larger
// corpus to measure, for instance /work/shared/corpora: its figures are printed by
// -v and not judged.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("SEGUE_CORPUS")
	sample := dir == ""
	if sample {
		dir = filepath.Join("testdata", "corpus")
	}
	s := measure(t, dir, readRows(t, dir))
	t.Logf("%d rows, %d in an RFC 3464 report, %d recipients found, %d of %d statuses right",
		s.rows, s.reports, s.found, s.right, s.statuses)
	if want := (score{rows: 18, reports: 16, found: 16, statuses: 14, right: 14}); sample && s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}
