// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/mtatest/peer"
)

// Real mail goes through the whole engine with every byte kept, is signed with both
// algorithms, and is verified by programs that share no line with it. What was
// changed on the way is not.
func TestOutsidersVerifyWhatWeSign(t *testing.T) {
	t.Parallel()
	const messages, tampered = 1000, 60
	python := peer.Python(t, "dkim", "python3-dkim")
	peer.Command(t, "opendkim-testmsg", "opendkim-tools")
	peer.Command(t, "dnsmasq", "dnsmasq-base")
	if os.Geteuid() != 0 {
		peer.Missing(t, "the right to make network namespaces", "run as root")
	}
	sound, flawed := corpus(t, messages)

	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	records := map[string]string{"s1._domainkey.example.com": public(t), "s2._domainkey.example.com": w.ed25519()}
	w.start()
	w.submitAll(sound)
	w.refuseAll(flawed)
	w.empty()
	once(t, "the exchanger", received(mx.Messages()), messages)
	w.stop()

	dir := filepath.Join(w.dir, "mail")
	want := map[string]bool{} // by file and algorithm: it verifies
	expect := func(file string, text []byte, verifies bool) {
		w.write("mail/"+file, string(text))
		want[file+" rsa"], want[file+" ed25519"] = verifies, verifies
	}
	spoiled := 0
	for _, m := range mx.Messages() {
		var i int
		if _, err := fmt.Sscanf(m.To[0], "r%d@", &i); err != nil {
			t.Fatal(err)
		}
		checkKept(t, sound[i], m.Data)
		expect(fmt.Sprintf("%04d.eml", i), m.Data, true)
		if i%(messages/tampered) != 0 {
			continue
		}
		for name, text := range tamper(m.Data) {
			expect(fmt.Sprintf("%04d.%s.eml", i, name), text, name == harmless)
			spoiled++
		}
	}
	t.Logf("%d messages, %d changed copies, %d refused", messages, spoiled, len(flawed))
	table, err := json.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	txt := w.write("records.json", string(table))
	judge{"dkimpy", 2, []string{python, "testdata/outside/dkimpy.py", txt, dir}}.compare(t, want)
	judge{"opendkim-testmsg", 1, []string{
		peer.Command(t, "unshare", "util-linux"), "--net", "--mount", "--pid", "--fork", "--kill-child",
		python, "testdata/outside/opendkim.py", txt, dir,
	}}.compare(t, want)
}

// ed25519 gives the domain a second key and returns its record.
func (w *world) ed25519() string {
	w.t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	path := w.write("ed25519.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	w.more += fmt.Sprintf("[[domain.dkim]]\nselector = \"s2\"\nkey_file = %q\n", path)
	return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)
}

// asItIs puts mail into the stream whose header is left as it is: marketing mail gets its
// way out replaced where it is not whole.
const asItIs = "X-Segue-Stream: transactional\r\n"

// submitAll sends each message to a recipient of its own over a few connections.
func (w *world) submitAll(list []real) {
	w.t.Helper()
	const connections = 4
	var group sync.WaitGroup
	for first := range connections {
		group.Go(func() {
			c, err := dial(w.ip(1) + ":" + submissionPort)
			if err != nil {
				w.t.Error(err)
				return
			}
			defer c.Close()
			for i := first; i < len(list); i += connections {
				if _, err := c.send("news@example.com", asItIs+string(list[i].text), fmt.Sprintf("r%d@dest.example", i)); err != nil {
					w.t.Errorf("%s: %v", list[i].name, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// refuseAll submits what has to be refused. Some flaws end the connection.
func (w *world) refuseAll(list []real) {
	w.t.Helper()
	for _, m := range list {
		c, err := dial(w.ip(1) + ":" + submissionPort)
		if err != nil {
			w.t.Fatal(err)
		}
		_, err = c.send("news@example.com", string(m.text), "refused@dest.example")
		var reply *textproto.Error
		if !errors.As(err, &reply) || !strings.HasPrefix(fmt.Sprintf("%d %s", reply.Code, reply.Msg), m.flaw) {
			w.t.Errorf("%s: %v, want a refusal with %q", m.name, err, m.flaw)
		}
		w.t.Logf("%s is refused: %v", m.name, err)
		_ = c.Close()
	}
}

// ours matches what a message gets on top.
var ours = regexp.MustCompile(`^DKIM-Signature: v=1; a=rsa-sha256;(?:[^\r]|\r\n\t)*\r\nDKIM-Signature: v=1; a=ed25519-sha256;(?:[^\r]|\r\n\t)*\r\n` +
	`X-Segue-Ref: \S+\r\nReceived: by mta1\.mail\.example\.net \(Segue\) with ESMTP;\r\n\t[^\r]+\r\n`)

// checkKept compares what arrived with what was submitted: the body is the
// same, and the header but for the fields that do not travel and those that every message must have.
func checkKept(t *testing.T, m real, got []byte) {
	t.Helper()
	header, body := divide(m.text)
	var want []byte
	has := map[string]bool{}
	for _, f := range header {
		if is(f, "Return-Path") || is(f, "Bcc") {
			continue
		}
		want = append(want, f...)
		for _, name := range []string{"Date", "Message-ID"} {
			has[name] = has[name] || is(f, name)
		}
	}
	top := ours.Find(got)
	rest, kept := bytes.CutPrefix(got[len(top):], want)
	for _, name := range []string{"Date", "Message-ID"} {
		if !has[name] && bytes.HasPrefix(rest, []byte(name+": ")) {
			_, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		}
	}
	if !bytes.HasSuffix(body, []byte("\r\n")) && len(body) > 0 {
		body = append(body, "\r\n"...) // DATA ends with a whole line
	}
	if len(top) == 0 || !kept || !bytes.Equal(rest, append([]byte("\r\n"), body...)) {
		t.Errorf("%s: what arrived is not what was submitted: our fields on top %v, header kept %v\n%.3000q", m.name, len(top) > 0, kept, got)
	}
}

// harmless is a change that no signature is about: it shows that the others fail for what they change.
const harmless = "trace"

// tamper returns changed copies of a signed message by the kind of the change.
func tamper(text []byte) map[string][]byte {
	list := map[string][]byte{harmless: append([]byte("Received: from a.example by b.example; Mon, 23 Nov 2026 09:00:00 +0000\r\n"), text...)}
	header, body := divide(text)
	build := func(change func(f []byte) []byte, body []byte) []byte {
		var b []byte
		for _, f := range header {
			b = append(b, change(bytes.Clone(f))...)
		}
		return append(append(b, "\r\n"...), body...)
	}
	same := func(f []byte) []byte { return f }
	if at := bytes.IndexFunc(body, isLetter); at >= 0 {
		changed := bytes.Clone(body)
		changed[at] ^= 1
		list["body"] = build(same, changed)
	}
	list["appended"] = build(same, append(bytes.Clone(body), "P.S.\r\n"...))
	list["header"] = build(func(f []byte) []byte {
		if is(f, "From") {
			return bytes.Replace(f, []byte("A. Sender"), []byte("B. Sender"), 1)
		}
		return f
	}, body)
	list["second-from"] = build(func(f []byte) []byte {
		if is(f, "From") {
			return append([]byte("From: Mallory <mallory@example.org>\r\n"), f...)
		}
		return f
	}, body)
	if !slices.ContainsFunc(header, func(f []byte) bool { return is(f, "Reply-To") }) {
		list["added"] = append([]byte("Reply-To: Mallory <mallory@example.org>\r\n"), text...)
	}
	list["removed"] = build(func(f []byte) []byte {
		if is(f, "Message-ID") {
			return nil
		}
		return f
	}, body)
	return list
}

func isLetter(c rune) bool { return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }

// judge is a verifier. Its command prints file, algorithm, pass or fail, and why.
type judge struct {
	name       string
	algorithms int // that it knows: rsa, ed25519
	command    []string
}

// compare holds a verifier to what is wanted of each file and algorithm.
func (j judge) compare(t *testing.T, want map[string]bool) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, j.command[0], j.command[1:]...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", j.name, err, tail(errs.String()))
	}
	judged, passed := 0, 0
	for line := range strings.Lines(out.String()) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), "\t", 4)
		verifies, known := want[f[0]+" "+f[1]]
		if !known || (f[2] == "pass") != verifies {
			t.Errorf("%s: %s, want pass: %v", j.name, line, verifies)
		}
		judged++
		if f[2] == "pass" {
			passed++
		}
	}
	if all := len(want) / 2 * j.algorithms; judged != all {
		t.Errorf("%s judged %d signatures, not %d\n%s", j.name, judged, all, tail(errs.String()))
	}
	t.Logf("%s: %d signatures verify, %d do not (%s)", j.name, passed, judged-passed, time.Since(began).Round(time.Millisecond))
}
