// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/api"
)

// get fetches a page of the inside without a token.
func (w *world) get(path string) (int, string) {
	w.t.Helper()
	resp, err := http.Get("http://" + w.ip(1) + ":" + httpPort + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// metric is the sum of a metric over its labels.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	_, text := w.get("/metrics")
	sum := 0.0
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == ' ' || rest[0] == '{') {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
			if err != nil {
				w.t.Fatalf("%s: %v", line, err)
			}
			sum += v
		}
	}
	return sum
}

// members is how many contacts a segment has.
func (w *world) members(name string) int64 {
	w.t.Helper()
	d, err := w.api.Segment(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return d.Members
}

func TestAnImportSurvivesKill9AndLiftsNoSuppression(t *testing.T) {
	t.Parallel()
	const rows, bad = 50_000, 3
	w := newWorld(t)
	w.more = `
[[attribute]]
name = "contact.status"
type = "text"
[[segment]]
name = "everyone"
order = 10
where = 'contact.status == "trial" || contact.status == "paying"'
`
	w.start()
	w.must("suppression", "add", "c7@dest.example", "--reason", "legal", "--evidence", "ticket 7")
	var b strings.Builder
	b.WriteString("email,contact.status,account,consent_at\n")
	for i := range rows - bad {
		fmt.Fprintf(&b, "c%d@dest.example,%s,acct%d,2026-01-02\n", i, []string{"trial", "paying"}[i%2], i%500)
	}
	b.WriteString(strings.Repeat("nobody,trial,acct1,2026-01-02\n", bad))
	file := w.write("people.csv", b.String())

	importing := make(chan string, 1)
	go func() {
		stdout, stderr, code := w.segue("contact", "import", file)
		importing <- fmt.Sprintf("exit %d: %s%s", code, stdout, stderr)
	}()
	wait(t, "part of the import", func() bool { return w.members("everyone") > rows/10 })
	w.kill()
	if said := <-importing; !strings.Contains(said, "exit 1: segue: ") || !strings.Contains(said, "run the import again") {
		t.Errorf("the interrupted import ended with %s", said)
	}

	w.start()
	had := w.members("everyone")
	if had == 0 || had >= rows-bad {
		t.Fatalf("%d of %d contacts are there: the kill did not strike in the middle", had, rows)
	}
	var r api.Imported
	if err := json.Unmarshal([]byte(w.must("contact", "import", file, "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Rows != rows || r.Resumed == 0 || r.Rejected != bad || r.Created != rows-bad {
		t.Errorf("the second run: %+v", r)
	}
	if n := w.members("everyone"); n != rows-bad {
		t.Errorf("%d contacts, not %d", n, rows-bad)
	}
	rejected, err := os.ReadFile(file + ".rejected.csv")
	if err != nil || strings.Count(string(rejected), "\n") != bad+1 || !strings.Contains(string(rejected), "email") {
		t.Errorf("rejected rows: %v\n%s", err, rejected)
	}
	if got := w.suppressions(""); got != "c7@dest.example legal all" {
		t.Errorf("suppressions after the import: %s", got)
	}
	w.stop()
}
