// SPDX-License-Identifier: Apache-2.0

package deploy_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// enginePage runs the real program, which delivers some thousand messages of the
// demonstration meanwhile, and returns where its metrics are.
func enginePage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "segue")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/segue").CombinedOutput(); err != nil {
		t.Fatalf("building segue: %v\n%s", err, out)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "demo", "--keep", "--messages", "4000")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // interrupted: its status says nothing
		if t.Failed() {
			text, _ := os.ReadFile(output.Name())
			t.Logf("segue demo said:\n%s", text)
		}
		output.Close()
	})
	listening := regexp.MustCompile(`msg=listening purpose=http address=(\S+)`)
	address := ""
	eventually(t, 60*time.Second, func(context.Context) error {
		logs, err := filepath.Glob(filepath.Join(dir, "segue-demo*", "segue.log"))
		if err != nil || len(logs) == 0 {
			return errors.Join(errors.New("segue demo has not begun"), err)
		}
		text, err := os.ReadFile(logs[0])
		if err != nil {
			return err
		}
		m := listening.FindSubmatch(text)
		if m == nil {
			return errors.New("segue demo does not listen yet")
		}
		address = string(m[1])
		return nil
	})
	return address
}
