// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/mtatest/peer"
)

// strike is how system calls of a running engine are made to fail by strace.
type strike struct {
	calls string   // strace's set of system calls
	how   string   // what is injected: error=EIO, delay_exit=1000000
	files []string // calls on these only; none = all
}

func (s *strike) args() []string {
	args := []string{"-f", "-y", "-e", "trace=" + s.calls, "-e", "inject=" + s.calls + ":" + s.how}
	for _, f := range s.files {
		args = append(args, "-P", f)
	}
	return args
}

// strike begins to make calls of the engine fail. What strace saw is in the
// file trace of the world's directory. The result ends it.
func (w *world) strike(s strike) (heal func()) {
	w.t.Helper()
	args := append(s.args(), "-o", filepath.Join(w.dir, "trace"), "-p", strconv.Itoa(w.cmd.Process.Pid))
	p := run(w.t, peer.Strace(w.t), args...)
	wait(w.t, "strace to attach", func() bool { return strings.Contains(p.log.String(), "attached") || !p.alive() })
	return func() {
		if p.alive() {
			_ = p.cmd.Process.Signal(os.Interrupt) // it may be ending with the engine
		}
		<-p.ended
	}
}

// stricken runs the engine under strace from its first instruction until it ends or
// is ready, and returns its exit status and what it said. -1 = a signal ended it, the test's own where it was ready.
func (w *world) stricken(s strike) (status int, said string) {
	w.t.Helper()
	// -D: strace is the grandchild, and the engine the process that is waited for.
	args := append(s.args(), "-D", "-o", filepath.Join(w.dir, "trace"), program(w.t), "serve", "--config", w.config())
	p := run(w.t, peer.Strace(w.t), args...)
	wait(w.t, "the engine to end or to be ready", func() bool {
		h, err := w.api.Health(w.t.Context())
		return err == nil && h.Ready || !p.alive()
	})
	p.kill()
	if e, ok := errors.AsType[*exec.ExitError](p.err); ok {
		return e.ExitCode(), p.log.String()
	}
	return 0, p.log.String()
}

// files are the files of a store whose names end in suffix: those that exist, and the next
// ones, for Pebble numbers all files of a store in one sequence.
func (w *world) files(store, suffix string) []string {
	w.t.Helper()
	dir := filepath.Join(w.dir, "data", store)
	entries, err := os.ReadDir(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	var list []string
	last := 0
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ".")
		if n, err := strconv.Atoi(name); err == nil {
			last = max(last, n)
		}
		if strings.HasSuffix(e.Name(), suffix) {
			list = append(list, filepath.Join(dir, e.Name()))
		}
	}
	for n := range 200 {
		list = append(list, filepath.Join(dir, fmt.Sprintf("%06d%s", last+1+n, suffix)))
	}
	return list
}

// falls waits until the engine has ended by itself and checks that it has said
// why, in one line for people and one record of its log, and not by a stack.
func (w *world) falls(words ...string) {
	w.t.Helper()
	wait(w.t, "the engine to end", func() bool { return !w.alive() })
	clear(w.t, w.log.String(), words...)
	if e, ok := errors.AsType[*exec.ExitError](w.err); !ok || e.ExitCode() != 74 {
		w.t.Errorf("the engine ended with %v, not with status 74", w.err)
	}
}

// clear checks that an engine said in its last line why it ended.
func clear(t testing.TB, said string, words ...string) {
	t.Helper()
	if strings.Contains(said, "goroutine ") || strings.Contains(said, "panic") {
		t.Errorf("the engine panicked:\n%s", tail(said))
	}
	lines := strings.Split(strings.TrimSpace(said), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "segue: ") {
		t.Errorf("the last line is %q", last)
	}
	for _, word := range words {
		if !strings.Contains(last, word) {
			t.Errorf("the last line does not say %q: %s", word, last)
		}
	}
	if n := strings.Count(said, "\nsegue: "); n > 1 {
		t.Errorf("the engine gave %d reasons:\n%s", n, tail(said))
	}
}
