// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta"
	"github.com/seguemta/segue/mta/demo"
)

// TestDemo runs a small demo, the whole engine and the providers in this process,
// and compares what it prints with what the README shows.
func TestDemo(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	a := &app{ctx: t.Context(), in: strings.NewReader(""), out: &out, errors: &errs, now: time.Now}
	if status := run(a, []string{"demo", "--json", "--messages", "2000"}); status != 0 {
		t.Fatalf("status %d: %s\n%.3000s", status, errs.String(), out.String())
	}
	checkDemoJSON(t, out.Bytes())
	var report demo.Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if report.Accepted != 2000 || report.Delivered < 1000 || report.Bounced < 20 || report.Suppressed == 0 || report.Deferred == 0 {
		t.Errorf("the demo shows too little: %+v", report.Totals)
	}
	if report.Retries == 0 || report.Feedback.Bounces == 0 || report.Why == nil {
		t.Errorf("no retries, no feedback or nobody waits: %d %+v %v", report.Retries, report.Feedback, report.Why)
	}
	first := &report.First
	if first.Run.Recipients == 0 || first.Run.Recipients != first.Tier.Recipients || first.Run.Tiers["dead"] != 0 || first.Arrival.Tiers["dead"] == 0 {
		t.Errorf("the counterfactual has nothing to say: %+v", first)
	}
	text := report.Text()
	for line := range strings.Lines(text) {
		if n := len([]rune(line)); n > 101 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, found := strings.Cut(string(readme), "$ go run ./cmd/segue demo\n")
	shown, _, closed := strings.Cut(shown, "\n```")
	if !found || !closed {
		t.Fatal("README.md does not show `$ go run ./cmd/segue demo` with its output in a fenced block")
	}
	if got, want := shape(text), shape(shown); !slices.Equal(got, want) {
		t.Errorf("README.md does not show what the demo prints: copy its output\n--- README\n%s\n--- demo\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

// shape is a report without what differs from run to run: numbers, ids,
// providers, and how many lanes there are.
func shape(text string) []string {
	masks := []struct {
		what *regexp.Regexp
		with string
	}{
		{regexp.MustCompile(`queue why \S+`), "queue why ID"},
		{regexp.MustCompile(`\b(google|microsoft|yahoo|apple|mailhost|all providers)\b`), "PROVIDER"},
		{regexp.MustCompile(`·|[0-9]+([.:/ -][0-9]+)*`), "N"},
		{regexp.MustCompile(`(N\s+)+N`), "N"},
		{regexp.MustCompile(`^.*(active|warm|new|cooling|dormant|dead)\s+(prime|standard|reengage)\s+N$`), "LANE"},
		{regexp.MustCompile(`\s+`), " "},
	}
	// The sentence is wrapped, and so depends on the length of its numbers.
	text = regexp.MustCompile(`(?m)^  waits for [^\n]*(\n  \S[^\n]*)*`).ReplaceAllStringFunc(text, func(s string) string {
		return strings.Join(strings.Fields(s), " ")
	})
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		line = strings.TrimRight(line, "\n")
		for _, m := range masks {
			line = m.what.ReplaceAllString(line, m.with)
		}
		if line != "LANE" || !slices.Contains(lines, line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// checkDemoJSON holds the names that scripts rely on.
func checkDemoJSON(t *testing.T, text []byte) {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	need(t, "report", all, "accepted", "delivered", "bounced", "expired", "suppressed", "dropped", "held", "deferred", "seconds", "balanced", "lanes", "budgets", "sink")
	for _, x := range []struct {
		name string
		keys []string
	}{
		{"lanes", []string{"stream", "segment", "tier", "pool", "source", "provider", "accepted", "delivered", "bounced", "expired", "suppressed", "dropped", "held", "deferred"}},
		{"budgets", []string{"source", "provider", "day", "allowed", "used"}},
	} {
		list, _ := all[x.name].([]any)
		if len(list) == 0 {
			t.Errorf("%s: empty", x.name)
		}
		for _, e := range list {
			object, _ := e.(map[string]any)
			need(t, x.name, object, x.keys...)
		}
	}
	sink, _ := all["sink"].(map[string]any)
	need(t, "sink", sink, "received", "rejected", "by_source")
	if all["balanced"] != true {
		t.Errorf("balanced is %v: %v", all["balanced"], all["problem"])
	}
}

func need(t *testing.T, what string, object map[string]any, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if _, ok := object[k]; !ok {
			t.Errorf("%s: no %q in %v", what, k, object)
		}
	}
}

// TestReadmeConfiguration: the twelve lines of the README are a configuration, once
// the rest of one stands around them.
func TestReadmeConfiguration(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, lines, _ := strings.Cut(string(readme), "```toml\n")
	lines, _, _ = strings.Cut(lines, "```")
	if n := strings.Count(lines, "\n"); n != 12 {
		t.Errorf("%d lines, want 12", n)
	}
	file := filepath.Join(t.TempDir(), "segue.toml")
	text := "hostname = \"mta1.example.com\"\ndelivery = { pool = \"prime\" }\n" + lines + `
[[attribute]]
name = "contact.status"
type = "text"
[[attribute]]
name = "account.employees"
type = "number"
[[provider]]
name = "google"
mx = ["*.google.com"]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, problems := config.Load(file)
	for _, p := range append(problems, mta.Check(c)...) {
		if !p.Warning {
			t.Error(p)
		}
	}
}
