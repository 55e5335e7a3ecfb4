// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/reputation/throttle"
)

// contentRule suspends the segment whose content a provider refuses.
const contentRule = `rule house-content
provider yahoo
text house says spam
when 1 in 10m suspend segment for 1h
next change what this segment is sent
yes 550 5.7.1 house says spam
no 550 5.7.1 something else
`

// ruled writes rules of the operator.
func (w *town) ruled(text string) string {
	w.t.Helper()
	file := filepath.Join(w.dir, "throttle.txt")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return "[throttle]\nrules_file = \"" + file + "\"\n"
}

// A file that is wrong changes nothing; a good one is in force for the next reply.
func TestAutomationReloadsRules(t *testing.T) {
	w := newTown(t, "mail : 450 house is full")
	const house = "rule house\ncode 450\ntext house is full\nwhen 1 in 10m slow rate 7/m for 30m\nnext wait\nyes 450 house is full\nno 450 yard is full\n"
	w.change = yahoo(w.ruled("# nothing yet\n"))
	w.run()
	w.submit("", "c0@dest.example")
	w.settle("a deferral", func() bool { return w.count("deferred") == 1 })
	w.ruled(strings.Replace(house, "450 yard", "450 house", 1))
	_, err := w.Methods().ReloadThrottleRules(t.Context())
	problem, ok := errors.AsType[*api.Error](err)
	if want := filepath.Join(w.dir, "throttle.txt") + `:1: bad throttle rules: rule "house": `; !ok || problem.Status != http.StatusConflict || !strings.HasPrefix(problem.Detail, want) {
		t.Errorf("a file that is wrong: %v", err)
	}
	w.ruled(house)
	if r, err := w.Methods().ReloadThrottleRules(t.Context()); err != nil || r.Rules < 30 || r.File == "" {
		t.Errorf("%+v, %v", r, err)
	}
	w.submit("", "c1@dest.example")
	w.settle("an act", func() bool { return w.count("throttled") == 1 })
	if l := w.limit("a1", "yahoo"); l.Text != "7/m" || l.Rule != "house" {
		t.Errorf("%+v", l)
	}
}

// segue check says where a rule is wrong, and which can never act.
func TestAutomationRulesAreChecked(t *testing.T) {
	w := newTown(t)
	for text, want := range map[string]string{
		"rule a\ncolour red\n":      `throttle.txt:2: bad throttle rules: unknown word "colour"`,
		contentRule + contentRule:   `throttle.txt:8: bad throttle rules: rule "house-content" occurs twice`,
		contentRule:                 `throttle.rules_file: warning: a rule is for provider "yahoo", which there is none of: it never acts`,
		"rate r\ncounts bounced\n":  `throttle.txt:1: bad throttle rules: rate "r": it has no minimum sample`,
		"# everything is all right": "",
	} {
		c, _ := config.Parse("segue.toml", []byte(fmt.Sprintf(testConfig, w.dir)+w.ruled(text)))
		var found []string
		for _, p := range Check(c) {
			if s := p.String(); strings.Contains(s, "throttle") {
				found = append(found, s)
			}
		}
		if want == "" && len(found) > 0 || want != "" && (len(found) != 1 || !strings.Contains(found[0], want)) {
			t.Errorf("%q: %q, want %q", text, found, want)
		}
	}
	c, _ := config.Parse("segue.toml", []byte(fmt.Sprintf(testConfig, w.dir)+"[throttle]\nrules_file = \"/nowhere/throttle.txt\"\n"))
	if list := checkThrottleRules(c); len(list) != 1 || !strings.Contains(list[0].String(), "/nowhere/throttle.txt cannot be read") {
		t.Errorf("%v", list)
	}
}

// The rules that the manual shows are rules.
func TestAutomationRulesOfTheManual(t *testing.T) {
	text, err := os.ReadFile("../deploy/manual/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "```\n")
	own := slices.IndexFunc(parts, func(s string) bool { return strings.HasPrefix(s, "rule ") })
	builtin, err := throttle.Builtin()
	if err != nil || own < 0 {
		t.Fatal(err, own)
	}
	if rules, err := builtin.Override("providers.md", parts[own]); err != nil || rules.Len() != builtin.Len()+2 {
		t.Error(err)
	}
}
