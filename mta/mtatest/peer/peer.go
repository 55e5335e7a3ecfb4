// SPDX-License-Identifier: Apache-2.0

// Package peer finds the programs of others that tests run against: Postfix,
// swaks, Prometheus, a Python or Node.js module, a corpus of mail.
//
// A test that needs one begins with [Command], [Python], [Node] or [Package], one
// that needs the powers of root to mount or to make system calls fail with [Mount]
// or [Strace]; [Missing] is for anything else. Where the program is missing the
// test is skipped and the skip names the package to install; with CI=true in the
// environment it fails instead, so that a run cannot be green because it tested
// nothing. `make deps` installs everything.
// The package starts no process and is imported by tests only.
package peer

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// python is Debian's interpreter: the one that Debian's python3-* packages
// extend, whatever else is first on the path.
const python = "/usr/bin/python3"

// nodePrefix is where `make deps` puts npm packages, from the top of the
// repository.
const nodePrefix = ".cache/node"

// Command returns the path of a program, which the Debian package named pkg
// installs. Directories for daemons are searched as well.
func Command(t testing.TB, name, pkg string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return Missing(t, name, "run make deps, or apt-get install "+pkg)
}

// Python returns the path of the Python interpreter that can import module,
// which the Debian package named pkg installs.
func Python(t testing.TB, module, pkg string) string {
	t.Helper()
	// #nosec G204 -- the module is a constant of the calling test.
	if err := exec.CommandContext(t.Context(), python, "-c", "import "+module).Run(); err != nil {
		return Missing(t, "the Python module "+module, "run make deps, or apt-get install "+pkg)
	}
	return python
}

// Node returns the path of Node.js and the folder, for NODE_PATH, in which it
// finds the npm package named module.
func Node(t testing.TB, module string) (node, modules string) {
	t.Helper()
	node = Command(t, "node", "nodejs")
	Package(t, module)
	return node, filepath.Join(top(t), nodePrefix, "node_modules")
}

// Package returns the folder of the npm package named module.
func Package(t testing.TB, module string) string {
	t.Helper()
	dir := filepath.Join(top(t), nodePrefix, "node_modules", filepath.FromSlash(module))
	if _, err := os.Stat(filepath.Join(dir, "package.json")); err != nil {
		Missing(t, "the npm package "+module, "run make deps")
	}
	return dir
}

// Strace returns the path of strace on a machine that lets it attach to a
// process, which containers and the Yama module forbid.
func Strace(t testing.TB) string {
	t.Helper()
	path := Command(t, "strace", "strace")
	// #nosec G204 -- the path is strace's.
	if out, err := exec.CommandContext(t.Context(), path, "-f", "-o", os.DevNull, "-e", "trace=none", "true").CombinedOutput(); err != nil {
		return Missing(t, "the right to trace processes ("+strings.TrimSpace(string(out))+")", "run as root, in a container with CAP_SYS_PTRACE")
	}
	return path
}

// Mount makes an ext4 file system of size bytes in a file below dir and mounts
// it at target until the test ends.
func Mount(t testing.TB, dir, target string, size int64) {
	t.Helper()
	mkfs := Command(t, "mkfs.ext4", "e2fsprogs")
	image := filepath.Join(dir, "disk.img")
	if err := errors.Join(os.MkdirAll(target, 0o750), os.WriteFile(image, nil, 0o600), os.Truncate(image, size)); err != nil {
		t.Fatal(err)
	}
	// #nosec G204 -- the paths are the test's own.
	if out, err := exec.CommandContext(t.Context(), mkfs, "-q", "-F", "-m", "0", image).CombinedOutput(); err != nil {
		t.Fatalf("making a file system: %v: %s", err, out)
	}
	// #nosec G204 -- as above.
	if out, err := exec.CommandContext(t.Context(), Command(t, "mount", "mount"), "-o", "loop", image, target).CombinedOutput(); err != nil {
		Missing(t, "the right to mount a file ("+strings.TrimSpace(string(out))+")", "run as root, where there are loop devices")
	}
	t.Cleanup(func() {
		// #nosec G204 -- as above.
		if out, err := exec.CommandContext(context.Background(), "umount", target).CombinedOutput(); err != nil {
			t.Errorf("unmounting %s: %v: %s", target, err, out)
		}
	})
}

// Missing ends a test for want of something on this machine, and says what
// would help: it skips, or fails with CI=true. It returns "" only to satisfy
// the compiler.
func Missing(t testing.TB, what, remedy string) string {
	t.Helper()
	const text = "%s is missing: %s"
	if os.Getenv("CI") == "true" {
		t.Fatalf(text, what, remedy)
	}
	t.Skipf(text, what, remedy)
	return ""
}

// top returns the folder above the working directory that holds go.mod.
func top(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("finding the top of the repository: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("finding the top of the repository: no go.mod above the working directory")
		}
		dir = up
	}
}
