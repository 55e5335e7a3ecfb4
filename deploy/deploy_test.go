// SPDX-License-Identifier: Apache-2.0

// Package deploy_test checks what an operator installs beside the engine: the
// systemd unit, the alerts, the dashboard and the pages that explain them.
//
// Each file is given to the program that will read it: systemd-analyze,
// promtool, and a Prometheus that scrapes a live metrics page and must answer
// every query of the dashboard with data. [TestDashboardHasData] is the place
// to plug in another page to scrape.
package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/mtatest/peer"
)

// exposureLimit is the highest exposure that systemd-analyze may find in the
// unit, in tenths. It finds 1.7; the rest is what a mail server needs: the
// network, one capability, /proc/stat.
const exposureLimit = "20"

// read returns the text of a file of this directory.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// installed writes the unit as if its program were installed, and returns its
// path: systemd-analyze asks for a file that can be executed.
func installed(t *testing.T, unit string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "segue.service")
	unit = strings.ReplaceAll(unit, "/usr/bin/segue ", "/bin/true ")
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// analyze runs systemd-analyze and returns what it printed and whether it was
// content.
func analyze(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	command := peer.Command(t, "systemd-analyze", "systemd")
	out, err := exec.CommandContext(t.Context(), command, args...).CombinedOutput()
	return string(out), err == nil
}

func TestUnitIsUnderstood(t *testing.T) {
	t.Parallel()
	unit := read(t, "segue.service")
	// verify ends zero even where it ignores a line, so silence is what counts.
	if out, ok := analyze(t, "verify", installed(t, unit)); !ok || out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	bad := strings.Replace(unit, "ProtectHome=", "ProtectHouse=", 1)
	if out, _ := analyze(t, "verify", installed(t, bad)); !strings.Contains(out, "ProtectHouse") {
		t.Errorf("systemd-analyze verify does not see an unknown key: %q", out)
	}
}

func TestUnitIsHardened(t *testing.T) {
	t.Parallel()
	unit := read(t, "segue.service")
	security := func(unit string) (string, bool) {
		return analyze(t, "security", "--offline=true", "--no-pager", "--threshold="+exposureLimit, installed(t, unit))
	}
	if out, ok := security(unit); !ok {
		t.Errorf("the unit is more exposed than %s tenths:\n%s", exposureLimit, out)
	}
	if out, ok := security(strings.Replace(unit, "\nCapabilityBoundingSet=", "\n#", 1)); ok {
		t.Errorf("a unit with every capability passes:\n%s", out)
	}
}
