// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/netx"
	"github.com/seguemta/segue/queue/store"
)

// token guards the API of every world.
const token = "correct-horse-battery-staple"

// Ports on the world's own addresses.
const (
	submissionPort = "2587"
	feedbackPort   = "2525"
	httpPort       = "8025"
	mailPort       = "2500"
)

// base is the configuration that every world begins with. %[1]s is the world's
// directory, %[2]s the address of the engine, %[3]s the DNS server, %[4]s the
// first three bytes of the world's addresses. More is appended.
const base = `
hostname = "mta1.mail.example.net"
data_dir = "%[1]s/data"
secrets_dir = "%[1]s/secrets"
%[5]s
[queue]
memtable_size = "%[7]s"
min_free = "%[6]s"
[dns]
servers = ["%[3]s"]
[rehearsal]
private_targets = ["127.0.0.0/8"]
[delivery]
port = 2500
pool = "standard"
retry = ["1s"]
[http]
address = "%[2]s:8025"
token_file = "%[1]s/token"
[public]
address = "%[2]s:8080"
url = "https://u.example.com"
[[listener]]
purpose = "submission"
address = "%[2]s:2587"
trust = ["127.0.0.0/8"]
trust_as = "local"
[[listener]]
purpose = "feedback"
address = "%[2]s:2525"
[[credential]]
name = "local"
streams = ["marketing", "transactional"]
domains = ["example.com"]
[[domain]]
name = "example.com"
return_path = "bounce.example.com"
[[domain.dkim]]
selector = "s1"
key_file = "%[1]s/dkim.pem"
[[source]]
name = "a1"
addresses = ["%[4]s.11"]
hostname = "a1.mail.example.net"
[[pool]]
name = "standard"
[[pool.member]]
source = "a1"
`

// world is one engine with the loopback network, the zones and the exchangers
// around it. Set top and more before start.
type world struct {
	t     testing.TB
	dir   string // readable by other users: Postfix is one
	net   string // "127.x.y"
	zones *mtatest.Zones
	dns   netip.AddrPort
	api   *api.Client

	head    string // keys for the top of the configuration
	more    string // tables for its end
	minFree string

	memtable string // small by default: many worlds run at once

	*process
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "segue-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	n := subnet().As4()
	w := &world{t: t, dir: dir, net: fmt.Sprintf("127.%d.%d", n[1], n[2]), zones: mtatest.NewZones(""), minFree: "1MiB", memtable: "8MiB"}
	var stop func()
	if w.dns, stop, err = w.zones.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	w.write("token", token+"\n")
	w.write("dkim.pem", signingKey(t))
	if w.api, err = api.NewClient(w.ip(1)+":"+httpPort, token); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.api.Close)
	return w
}

// ip is the nth address of the world; 1 is the engine's.
func (w *world) ip(n int) string { return fmt.Sprintf("%s.%d", w.net, n) }

func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// config writes the configuration and returns its path.
func (w *world) config() string {
	return w.write("segue.toml", fmt.Sprintf(base, w.dir, w.ip(1), w.dns, w.net, w.head, w.minFree, w.memtable)+w.more)
}

// exchanger starts a mail server at the nth address and makes it the MX of the
// domains. Rules are those of mtatest.Script.
func (w *world) exchanger(n int, domains []string, rules ...string) *mtatest.Exchanger {
	w.t.Helper()
	e := &mtatest.Exchanger{Name: fmt.Sprintf("mx%d.test", n), Rules: mtatest.Script(rules...)}
	w.listen(e, n)
	w.mx(n, domains...)
	return e
}

func (w *world) listen(e *mtatest.Exchanger, n int) {
	w.t.Helper()
	if err := e.Start(netx.System{}, w.ip(n)+":"+mailPort); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = e.Close() })
}

// mx makes the nth address the exchanger of the domains, and of no other ones.
func (w *world) mx(n int, domains ...string) { w.zones.Replace(w.zone(n, domains...)) }

func (w *world) zone(n int, domains ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "mx%d.test. 300 IN A %s\n", n, w.ip(n))
	for _, d := range domains {
		fmt.Fprintf(&b, "%s. 300 IN MX 10 mx%d.test.\n", d, n)
	}
	return b.String()
}

// start runs `segue serve` and waits until it is ready.
func (w *world) start() {
	w.t.Helper()
	w.startWithin(patience)
}

// startWithin is start for an engine that has much to read.
func (w *world) startWithin(d time.Duration) {
	w.t.Helper()
	w.process = run(w.t, program(w.t), "serve", "--config", w.config())
	w.readyWithin(d)
}

// ready waits until the engine takes mail.
func (w *world) ready() {
	w.t.Helper()
	w.readyWithin(patience)
}

func (w *world) readyWithin(d time.Duration) {
	w.t.Helper()
	within(w.t, d, "the engine to be ready", func() bool {
		select {
		case <-w.ended:
			w.t.Fatalf("the engine ended: %v\n%s", w.err, w.log.String())
		default:
		}
		h, err := w.api.Health(w.t.Context())
		return err == nil && (h.Ready || w.minFree != "1MiB")
	})
}

// segue runs a command of the binary against the engine and returns what it printed.
func (w *world) segue(args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(w.t), args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "SEGUE_ADDR="+w.ip(1)+":"+httpPort, "SEGUE_TOKEN="+token)
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must is segue where only success will do.
func (w *world) must(args ...string) string {
	w.t.Helper()
	stdout, stderr, code := w.segue(args...)
	if code != 0 {
		w.t.Fatalf("segue %s: exit %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// summary is the queue in numbers.
func (w *world) summary() api.QueueSummary {
	w.t.Helper()
	s, err := w.api.QueueSummary(w.t.Context())
	if err != nil {
		w.t.Fatalf("asking for the queue: %v\n%s", err, w.log.String())
	}
	return s
}

// empty waits until nothing is left in the queue.
func (w *world) empty() {
	w.t.Helper()
	ended := false
	defer func() {
		if !ended && w.alive() { // what it says it waits for
			w.t.Log(w.segue("queue", "ls"))
			if list, err := w.api.Queue(w.t.Context(), api.QueueQuery{Limit: 1}); err == nil && len(list.Entries) > 0 {
				w.t.Log(w.segue("queue", "why", list.Entries[0].ID))
			}
			w.t.Log(w.segue("health", "--all"))
		}
	}()
	wait(w.t, "an empty queue", func() bool {
		s := w.summary()
		return s.Waiting+s.Held+s.InFlight == 0
	})
	ended = true
}

// verify opens the queue's store, after the engine has ended, and checks it.
func (w *world) verify() {
	w.t.Helper()
	s, err := store.Open(store.Options{Dir: filepath.Join(w.dir, "data", "queue")})
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	list, err := store.Verify(s)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, v := range list {
		w.t.Errorf("violation: %s", v)
	}
}

// noon is a time zone in which it is around noon: no test sees a day of budget end.
func noon() string {
	// POSIX zones are named by what has to be added to reach UTC.
	if h := time.Now().UTC().Hour() - 12; h > 0 {
		return fmt.Sprintf("Etc/GMT+%d", h)
	} else if h < 0 {
		return fmt.Sprintf("Etc/GMT%d", h)
	}
	return "UTC"
}
