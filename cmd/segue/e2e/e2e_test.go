// SPDX-License-Identifier: Apache-2.0

// Package e2e runs the real binary. Each test builds nothing of its own into the
// engine: it writes a configuration, starts `segue serve` as a process, speaks SMTP
// and HTTP to it over real sockets, lets it deliver to real peers on loopback, kills
// it where the test says so, and looks at what the peers received.
//
// It is not where logic is tested; every rule has its own test beside its package.
// Here is what only the whole shows: nothing is lost between processes. Begin with
// newWorld, then world.start. TestSoak and TestDeepQueue are as long and as deep as the
// environment says (SOAK, SOAK_RATE; QUEUED, DOMAINS, SENT); -v prints their tables. The tests need Postfix, swaks and their like for peers;
// mta/mtatest/peer says which Debian package is missing.
package e2e

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// top is the repository, seen from this package.
const top = "../../.."

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// built is the binary, built once for all tests.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// program returns the path of the binary.
func program(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		// The test cache sees the files that a test opens, not those its
		// children open: without this a cached pass would hide a broken engine.
		if built.err = openSources(); built.err != nil {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "segue-e2e-"); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", filepath.Join(built.dir, "segue"), "./cmd/segue")
		cmd.Dir = top
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatalf("building the binary: %v", built.err)
	}
	return filepath.Join(built.dir, "segue")
}

func openSources() error {
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != top && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin"):
			return fs.SkipDir
		case d.IsDir(), strings.HasSuffix(name, "_test.go"):
			return nil
		case strings.HasSuffix(name, ".go"), name == "go.mod", name == "segue.example.toml":
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			return f.Close()
		}
		return nil
	})
}

// subnets hands out loopback networks: every world has 127.x.y.0/24 to itself,
// so that ports can be fixed and sources told apart by address.
var subnets struct {
	once sync.Once
	next atomic.Uint32
}

func subnet() netip.Addr {
	subnets.once.Do(func() {
		var b [4]byte
		_, _ = rand.Read(b[:])
		subnets.next.Store(binary.BigEndian.Uint32(b[:]))
	})
	n := subnets.next.Add(1)
	return netip.AddrFrom4([4]byte{127, 64 + byte(n>>8)&63, byte(n), 0})
}

// patience is how long a test waits for what must happen. It is only spent on
// failures.
const patience = 60 * time.Second

// wait polls until ok says yes.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	within(t, patience, what, ok)
}

// within is wait for what may take longer.
func within(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(d)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %s in vain for %s", d, what)
		}
	}
}
