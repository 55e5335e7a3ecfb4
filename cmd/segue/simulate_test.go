// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/rehearsal"
)

// simulate runs the command as somebody would who types it.
func simulate(t *testing.T, line string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	a := &app{ctx: t.Context(), in: strings.NewReader(""), out: &o, errors: &e, now: time.Now}
	status = run(a, strings.Fields(line))
	return status, o.String(), e.String()
}

var update = flag.Bool("update", false, "write the results of segue simulate into the manual")

// TestSimulate holds the manual true: each run that it shows is done again, and must print what
// stands there to the last figure. The first is long, and has nothing for the race detector,
// under which it would take minutes: there, only what is said of it is compared with what is
// shown. make generate does it, and so do CI, which lets nothing pass that generate changes,
// and row 17.simulate of testdata/accept/reputation.tsv.
func TestSimulate(t *testing.T) {
	t.Parallel()
	const file, begin = "../../deploy/manual/simulate.md", "```\n$ segue "
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), begin)
	if len(blocks) != 3 {
		t.Fatalf("the manual shows %d runs, want two", len(blocks)-1)
	}
	for i, b := range blocks[1:] {
		b, rest, _ := strings.Cut(b, "```")
		line, shown, _ := strings.Cut(b, "\n")
		if raced && i == 0 {
			checkSimulateProse(t, shown)
			continue
		}
		status, out, errs := simulate(t, line)
		if status != 0 {
			t.Fatalf("segue %s ends with %d: %s", line, status, errs)
		}
		for l := range strings.Lines(out) {
			if n := len([]rune(l)); n > 110 {
				t.Errorf("%d columns: %s", n, l)
			}
		}
		if out != shown && !*update {
			t.Errorf("segue %s prints another result: make generate copies it into %s; read whether what the page says of it still holds\n--- manual\n%s\n--- segue\n%s", line, file, shown, out)
		}
		if i == 0 {
			checkSimulateProse(t, out)
		}
		blocks[i+1] = line + "\n" + out + "```" + rest
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(blocks, begin)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// checkSimulateProse holds what the manual says of its first run in words.
func checkSimulateProse(t *testing.T, out string) {
	t.Helper()
	all, bad, _ := strings.Cut(out, "\n"+strings.ToUpper(rehearsal.Bad))
	row := func(table, arm string) []string {
		_, line, _ := strings.Cut(table, "\n"+arm)
		line, _, _ = strings.Cut(line, "\n")
		return strings.Fields(strings.ReplaceAll(line, ",", ""))
	}
	number := func(table, arm string, column int) int {
		cells := row(table, arm)
		if column >= len(cells) {
			t.Fatalf("no column %d of %s in\n%s", column, arm, out)
		}
		n, err := strconv.Atoi(cells[column])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	const inbox, bounced, stage, lost, expired, badBounced = 2, 3, 5, 6, 8, 2
	first := row(all, "all on")
	if got := row(all, "no breaker"); !slices.Equal(got, first) {
		t.Errorf("without the breaker it is not as with all: %v, %v", got, first)
	}
	for _, a := range rehearsal.Arms() {
		if n := number(all, a.Name, lost); n != 0 {
			t.Errorf("%s lost %d days", a.Name, n)
		}
	}
	for what, holds := range map[string]bool{
		"tier order brings more into the inbox":         number(all, "all on", inbox) > number(all, "no tier order", inbox)*5/4,
		"dormant and dead are not written to":           number(all, "all on", expired) > number(all, "no tier order", expired),
		"fewer bounce":                                  number(all, "all on", bounced)*5 < number(all, "plain warm-up", bounced),
		"the canary stops after about ten bounces":      number(bad, "all on", badBounced) <= 15,
		"it costs one message in a hundred at most":     number(all, "all on", 1)*101 > number(all, "no canary", 1)*100,
		"a breaker alone stops it, later":               number(bad, "no canary", badBounced) > 2*number(bad, "all on", badBounced),
		"and finds fewer dead addresses than there are": number(bad, "no canary", badBounced)*2 < number(bad, "neither of the two", badBounced),
		"a plain warm-up is no slower":                  number(all, "plain warm-up", stage) >= number(all, "all on", stage),
	} {
		if !holds {
			t.Errorf("the manual says that %s, and it does not hold:\n%s", what, out)
		}
	}
}

// TestSimulateJSON holds the names that scripts rely on, and that a seed decides everything.
func TestSimulateJSON(t *testing.T) {
	t.Parallel()
	const line = "simulate --json --days 7 --contacts 1000 --plan sparkpost --seed "
	status, out, errs := simulate(t, line+"3")
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	need(t, "result", all, "seed", "days", "contacts", "engaged", "plan", "bad", "imported", "dead", "arms")
	arms, _ := all["arms"].([]any)
	if len(arms) != len(rehearsal.Arms()) {
		t.Fatalf("%d arms", len(arms))
	}
	for _, x := range arms {
		arm, _ := x.(map[string]any)
		need(t, "arm", arm, "name", "tiers", "gates", "breaker", "canary", "all", "segments", "days_lost", "refused", "stage", "reputation", "acts")
		segments, _ := arm["segments"].(map[string]any)
		bad, _ := segments[rehearsal.Bad].(map[string]any)
		need(t, "segment", bad, "queued", "delivered", "inbox", "engaged", "engaged_inbox", "bounced", "complained", "unsubscribed", "deferred", "suppressed", "expired", "waiting", "held_days")
	}
	if _, again, _ := simulate(t, line+"3"); again != out {
		t.Error("the same seed gave another result")
	}
	if _, other, _ := simulate(t, line+"4"); other == out {
		t.Error("another seed gave the same result")
	}
}

func TestSimulateRefuses(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"simulate --days 0":       "0 days, 1 to 60 are possible",
		"simulate --contacts 10":  "10 contacts, 1000 to 50000 are possible",
		"simulate --plan nothing": "there is no plan nothing: published are sparkpost,",
	} {
		if status, _, errs := simulate(t, line); status != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("segue %s ends with %d: %s", line, status, errs)
		}
	}
}
