// SPDX-License-Identifier: Apache-2.0

package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/mtatest/peer"
)

// stories lists the files of promtool tests: steps of a minute, and of ten.
const stories = "alerts_test.yml alerts_days_test.yml"

// promtool runs promtool in a directory and returns what it printed and
// whether it was content.
func promtool(t *testing.T, dir string, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peer.Command(t, "promtool", "prometheus"), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func TestAlertRules(t *testing.T) {
	t.Parallel()
	if out, ok := promtool(t, "prometheus", "check", "rules", "alerts.yml"); !ok {
		t.Errorf("promtool check rules: %s", out)
	}
	for file := range strings.FieldsSeq(stories) {
		if out, ok := promtool(t, "prometheus", "test", "rules", file); !ok {
			t.Errorf("promtool test rules: %s", out)
		}
	}
}

// TestAlertStoriesCanFail breaks a condition at a time: the stories must notice.
func TestAlertStoriesCanFail(t *testing.T) {
	t.Parallel()
	rules := read(t, "prometheus/alerts.yml")
	for _, change := range [][3]string{
		{"alerts_test.yml", `up{job="segue"} == 0`, `up{job="segue"} < 0`},
		{"alerts_test.yml", `> 0.05`, `> 0.5`},
		{"alerts_test.yml", `state!="held"} offset`, `state="held"} offset`},
		{"alerts_test.yml", `delta(segue_warmup_used{job="segue"}[15m]) > 0`, `segue_warmup_used > 0`},
		{"alerts_days_test.yml", `> 0.001`, `> 0.0001`},
		{"alerts_days_test.yml", `> 3 * sum`, `> 0 * sum`},
	} {
		file, right, wrong := change[0], change[1], change[2]
		broken := strings.Replace(rules, right, wrong, 1)
		if broken == rules {
			t.Fatalf("alerts.yml has no %q", right)
		}
		dir := t.TempDir()
		for name, text := range map[string]string{"alerts.yml": broken, file: read(t, "prometheus/"+file)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if out, ok := promtool(t, dir, "test", "rules", file); ok {
			t.Errorf("%s passes with %q for %q: %s", file, wrong, right, out)
		}
	}
}

// TestAlertsAreTestedAndExplained: each alert has a story in which it fires
// and one in which it does not, and a heading in the manual that its runbook
// annotation points to.
func TestAlertsAreTestedAndExplained(t *testing.T) {
	t.Parallel()
	names := func(pattern, text string) []string {
		var found []string
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			found = append(found, match[1])
		}
		return found
	}
	rules, page, told := read(t, "prometheus/alerts.yml"), read(t, "manual/alerts.md"), ""
	for file := range strings.FieldsSeq(stories) {
		told += read(t, "prometheus/"+file)
	}
	alerts := names(`(?m)^ +- alert: (\w+)$`, rules)
	fired := names(`alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:\n`, told)
	headings := names(`(?m)^## (\w+)$`, page)
	runbooks := names(`runbook: deploy/manual/alerts\.md#(\w+)`, rules)
	if len(alerts) < 10 {
		t.Fatalf("only %d alerts found", len(alerts))
	}
	if !slices.Equal(alerts, headings) {
		t.Errorf("manual/alerts.md explains\n%q, want in this order\n%q", headings, alerts)
	}
	for i, alert := range alerts {
		if !slices.Contains(fired, alert) {
			t.Errorf("%s: no story in %s fires it", alert, stories)
		}
		if i >= len(runbooks) || runbooks[i] != strings.ToLower(alert) {
			t.Errorf("%s: its runbook is not deploy/manual/alerts.md#%s", alert, strings.ToLower(alert))
		}
	}
}
