// SPDX-License-Identifier: Apache-2.0

package deploy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/mtatest/peer"
)

// A prometheus is a running Prometheus that scrapes one page each second.
type prometheus struct {
	url string
}

// A sample is one series of an instant query's answer.
type sample struct {
	Labels map[string]string `json:"metric"`
	Value  [2]any            `json:"value"` // seconds, value as text
}

// number returns the value as Prometheus wrote it: "12", "NaN", "+Inf".
func (s sample) number() string { return fmt.Sprint(s.Value[1]) }

// runPrometheus starts Prometheus for the length of a test. It scrapes the
// page at target, given as host:port or as a URL, as the job "segue".
func runPrometheus(t *testing.T, target string) prometheus {
	t.Helper()
	command := peer.Command(t, "prometheus", "prometheus")
	dir := t.TempDir()
	host := strings.TrimSuffix(strings.TrimPrefix(target, "http://"), "/metrics")
	settings := fmt.Sprintf(`
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [%q]
scrape_configs:
  - job_name: segue
    static_configs: [{ targets: [%q] }]
`, absolute(t, "prometheus/alerts.yml"), host)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}

	cmd := exec.CommandContext(t.Context(), command, "--config.file="+file,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", command, err)
	}
	address, log := make(chan string, 1), make(chan string, 1)
	go func() { log <- watch(stderr, address) }()
	// The test's context ends before its cleanups, and takes the process along.
	t.Cleanup(func() {
		text := <-log
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus said:\n%s", text)
		}
	})
	select {
	case a := <-address:
		if a == "" {
			t.Fatal("prometheus ended before it listened")
		}
		p := prometheus{url: "http://" + a}
		p.await(t, "/-/ready")
		return p
	case <-time.After(30 * time.Second):
		t.Fatal("prometheus did not listen within 30 s")
	}
	return prometheus{}
}

// absolute returns the absolute path of a file of this directory.
func absolute(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// watch reads the log of Prometheus to its end and returns it. The address it
// listens on, which it chose itself, goes to address; "" if there was none.
func watch(log io.Reader, address chan<- string) string {
	var text strings.Builder
	found := false
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
		if _, a, ok := strings.Cut(lines.Text(), `msg="Listening on" address=`); ok && !found {
			found = true
			address <- strings.TrimSpace(a)
		}
	}
	if !found {
		address <- ""
	}
	return text.String()
}

// await asks for a page until it is answered with 200, for 30 s.
func (p prometheus) await(t *testing.T, page string) {
	t.Helper()
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+page, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", page, response.Status)
		}
		return nil
	})
}

// query evaluates an expression now.
func (p prometheus) query(ctx context.Context, expr string) ([]sample, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Type   string   `json:"resultType"`
			Result []sample `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("decoding the answer (%s): %w", response.Status, err)
	}
	if answer.Status != "success" || answer.Data.Type != "vector" {
		return nil, fmt.Errorf("%s: %s%s", answer.Status, answer.Error, answer.Data.Type)
	}
	return answer.Data.Result, nil
}

// eventually tries until f succeeds; after the limit it fails the test with
// what was wrong last. Prometheus runs on real time, so no bubble can hold it.
func eventually(t *testing.T, limit time.Duration, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Errorf("after %v: %v", limit, last)
			return
		}
	}
}
