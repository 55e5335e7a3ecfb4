// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// ended is how a recorder leaves the function under test.
type ended struct{}

// A recorder is a test that notes how it ended instead of ending.
type recorder struct {
	testing.TB
	how string
}

func (r *recorder) Skipf(format string, args ...any) { r.end("skip: ", format, args) }

func (r *recorder) Fatalf(format string, args ...any) { r.end("fail: ", format, args) }

func (r *recorder) end(how, format string, args []any) {
	r.how = how + fmt.Sprintf(format, args...)
	panic(ended{})
}

// record runs f with a recorder and returns how it ended, "" if it went through.
func record(t *testing.T, f func(testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	func() {
		defer func() {
			if e := recover(); e != nil && e != (ended{}) {
				panic(e)
			}
		}()
		f(r)
	}()
	return r.how
}

func TestMissingPeerSkipsHereAndFailsInCI(t *testing.T) {
	asks := map[string]struct {
		f    func(testing.TB)
		want string
	}{
		"command": {
			func(t testing.TB) { Command(t, "no-such-command", "a-package") },
			"no-such-command is missing: run make deps, or apt-get install a-package",
		},
		"python": {
			func(t testing.TB) { Python(t, "no_such_module", "python3-x") },
			"the Python module no_such_module is missing: run make deps, or apt-get install python3-x",
		},
		"node": {
			func(t testing.TB) { _, _ = Node(t, "no-such-module") },
			"is missing: run make deps",
		},
		"package": {
			func(t testing.TB) { Package(t, "@none/no-such-package") },
			"the npm package @none/no-such-package is missing: run make deps",
		},
	}
	for name, ask := range asks {
		for ci, how := range map[string]string{"": "skip: ", "true": "fail: "} {
			t.Setenv("CI", ci)
			got := record(t, ask.f)
			if !strings.HasPrefix(got, how) || !strings.Contains(got, ask.want) {
				t.Errorf("%s with CI=%q: %q, want %s...%s", name, ci, got, how, ask.want)
			}
		}
	}
}

func TestPresentPeerIsFound(t *testing.T) {
	t.Setenv("CI", "true")
	var path string
	if how := record(t, func(t testing.TB) { path = Command(t, "sh", "dash") }); how != "" || !filepath.IsAbs(path) {
		t.Errorf("sh: %q, %q, want an absolute path", path, how)
	}
}

func TestDaemonsAreFoundOffThePath(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CI", "true")
	var path string
	if how := record(t, func(t testing.TB) { path = Command(t, "chroot", "coreutils") }); how != "" || path != "/usr/sbin/chroot" {
		t.Errorf("chroot: %q, %q, want /usr/sbin/chroot", path, how)
	}
}

func TestMissingPowersAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CI", "true")
	if how := record(t, func(t testing.TB) { Strace(t) }); !strings.HasPrefix(how, "fail: strace is missing: ") {
		t.Errorf("strace: %q", how)
	}
}
