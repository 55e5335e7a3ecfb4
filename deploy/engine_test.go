// SPDX-License-Identifier: Apache-2.0

package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// sender is the sending domain of the demonstration.
const sender = "shop.example"

// enginePage runs the real program with the mail of the demonstration and a
// steady trickle after it, and returns where its metrics are.
func enginePage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "segue")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/segue").CombinedOutput(); err != nil {
		t.Fatalf("building segue: %v\n%s", err, out)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "demo", "--keep", "--messages", "2000")
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
	listening := regexp.MustCompile(`msg=listening purpose=(\S+) address=(\S+)`)
	at := map[string]string{}
	eventually(t, 90*time.Second, func(context.Context) error {
		logs, err := filepath.Glob(filepath.Join(dir, "segue-demo*", "segue.log"))
		if err != nil || len(logs) == 0 {
			return errors.Join(errors.New("segue demo has not begun"), err)
		}
		text, err := os.ReadFile(logs[0])
		if err != nil {
			return err
		}
		for _, m := range listening.FindAllStringSubmatch(string(text), -1) {
			at[m[1]] = m[2]
		}
		said, err := os.ReadFile(output.Name())
		if err != nil {
			return err
		}
		if len(at) < 3 || !strings.Contains(string(said), "It is still running") {
			return errors.New("segue demo has not come to its end") // what comes in earlier it would miss in its sums
		}
		return nil
	})
	trickle(t, at["submission"])
	return at["http"]
}

// trickle submits a message every now and then until the test ends, so that
// rates have something to show however fast the demonstration was.
func trickle(t *testing.T, submission string) {
	t.Helper()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(func() {
		close(stop)
		wg.Wait()
	})
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			// To all in turn: one that hangs up is left alone for a minute.
			providers := []string{"google", "outlook", "yahoo", "icloud", "mailhost"}
			to := fmt.Sprintf("reader%d@%s.test", n, providers[n%len(providers)])
			text := "From: news@" + sender + "\r\nTo: " + to + "\r\nSubject: more\r\n\r\nmore\r\n"
			if err := smtp.SendMail(submission, nil, "news@"+sender, []string{to}, []byte(text)); err != nil {
				select {
				case <-stop: // the program ends with the test
				default:
					t.Errorf("submitting: %v", err)
				}
				return
			}
		}
	})
}
