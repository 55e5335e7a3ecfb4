// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/mtatest/peer"
)

// postfixMain is main.cf of a Postfix that hands everything to one host. %[1]s is
// its directory, %[2]s that host, %[3]s is more of it.
const postfixMain = `
compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
myhostname = app.example.com
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
relayhost = %[2]s
smtp_tls_security_level = none
smtp_dns_support_level = disabled
alias_maps =
alias_database =
%[3]s
`

// postfixMaster is master.cf, without what a null client does not need.
const postfixMaster = `
%[1]s:2500 inet n - n - - smtpd
pickup     unix n - n 60 1 pickup
cleanup    unix n - n - 0 cleanup
qmgr       unix n - n 300 1 qmgr
rewrite    unix - - n - - trivial-rewrite
bounce     unix - - n - 0 bounce
defer      unix - - n - 0 bounce
trace      unix - - n - 0 bounce
proxymap   unix - - n - - proxymap
smtp       unix - - n - - smtp
error      unix - - n - - error
retry      unix - - n - - error
discard    unix - - n - - discard
anvil      unix - - n - 1 anvil
flush      unix n - n 1000? 0 flush
postlog    unix-dgram n - n - 1 postlogd
`

// startPostfix runs a Postfix of its own at the nth address, which gives all mail
// to a port of the engine; more is more of its main.cf.
func startPostfix(w *world, n int, port, more string) (dir string) {
	w.t.Helper()
	postfix := peer.Command(w.t, "postfix", "postfix")
	if os.Getuid() != 0 {
		peer.Missing(w.t, "root", "Postfix starts as root only")
	}
	dir = filepath.Join(w.dir, "postfix")
	for _, d := range []string{"", "/spool", "/data"} {
		if err := os.MkdirAll(dir+d, 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "postfix", dir+"/data").CombinedOutput(); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	for name, text := range map[string]string{
		"main.cf":   fmt.Sprintf(postfixMain, dir, "["+w.ip(1)+"]:"+port, more),
		"master.cf": fmt.Sprintf(postfixMaster, w.ip(n)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	control := func(verb string) ([]byte, error) { return exec.Command(postfix, "-c", dir, verb).CombinedOutput() }
	logged := func() string {
		text, _ := os.ReadFile(dir + "/log")
		return string(text)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("Postfix wrote:\n%s", tail(logged()))
		}
		_, _ = control("stop")
	})
	if out, err := control("start"); err != nil {
		w.t.Fatalf("starting Postfix: %v\n%s%s", err, out, logged())
	}
	wait(w.t, "Postfix to listen", func() bool {
		c, err := dial(w.ip(n) + ":" + mailPort)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return dir
}

// A real Postfix with relayhost = [..]:2587, as a platform would have it.
func TestPostfixRelaysThroughSegue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	w.start()
	dir := startPostfix(w, 60, submissionPort, "")

	// Locally, by the sendmail command.
	cmd := exec.Command(peer.Command(t, "sendmail", "postfix"), "-C", dir, "-f", "news@example.com", "local@dest.example")
	cmd.Stdin = strings.NewReader(letter("") + ".dot\n..dots\nmore\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	// And over SMTP, two recipients in one transaction.
	c, err := dial(w.ip(60) + ":" + mailPort)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.send("news@example.com", letter(""), "one@dest.example", "two@dest.example"); err != nil {
		t.Fatal(err)
	}

	wait(t, "three messages", func() bool { return len(mx.Messages()) >= 3 })
	w.empty()
	for _, m := range mx.Messages() {
		text := string(m.Data)
		if m.To[0] == "local@dest.example" && !strings.HasSuffix(text, "\r\n.dot\r\n..dots\r\nmore\r\n") {
			t.Errorf("the dots suffered: %q", text)
		}
		if !strings.Contains(text, "(Postfix") || !strings.Contains(text, "by mta1.mail.example.net") || !strings.Contains(text, "DKIM-Signature:") {
			t.Errorf("the message did not go through both:\n%s", text)
		}
		if !strings.HasSuffix(m.From, "@bounce.example.com") {
			t.Errorf("return path %s", m.From)
		}
	}
	once(t, "the exchanger", received(mx.Messages()), 3)
}
