// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// process is a program under test.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	log   *buffer       // what it wrote to standard error
	ended chan struct{} // closed when it has ended
	err   error         // how; read after ended
}

// buffer collects what a process writes, while the test reads it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// run starts a program. At the end of the test it is killed if it still runs.
func run(t testing.TB, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), log: &buffer{}, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, tail(p.log.String()))
		}
	})
	return p
}

func tail(s string) string {
	const most = 8000
	if len(s) > most {
		return "...\n" + s[len(s)-most:]
	}
	return s
}

// kill is kill -9; it returns when the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// terminate asks the process to stop, as systemd does.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// alive reports whether the process has not ended.
func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop terminates and expects exit status 0.
func (p *process) stop() {
	p.t.Helper()
	p.terminate()
	p.ends()
}

// ends waits for the end of a process that was asked to stop.
func (p *process) ends() {
	p.t.Helper()
	wait(p.t, "the process to end", func() bool { return !p.alive() })
	if p.err != nil {
		p.t.Fatalf("the process ended with %v\n%s", p.err, tail(p.log.String()))
	}
}
