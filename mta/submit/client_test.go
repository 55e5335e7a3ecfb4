// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/mtatest/peer"
	"github.com/seguemta/segue/mta/smtpserver"
)

// doors are three listeners on loopback with one admission: what the programs
// of others knock at.
type doors struct {
	ports map[string]string // by TLS mode
	ca    string            // file

	mu       sync.Mutex
	messages []*Envelope
}

func openDoors(t *testing.T) *doors {
	t.Helper()
	d := &doors{ports: map[string]string{}, ca: filepath.Join(t.TempDir(), "ca.pem")}
	cert, _, err := mtatest.Certificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	if err := os.WriteFile(d.ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	who, err := NewAccounts(AccountsOptions{Credentials: []Credential{
		{Name: "shop", PasswordHash: HashPassword([]byte("tulip")), Streams: []string{"marketing"}, Domains: []string{"example.com"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []smtpserver.TLSMode{smtpserver.TLSNone, smtpserver.TLSStart, smtpserver.TLSImplicit} {
		s, err := New(Options{
			Hostname: "mta1.example.net", TLS: mode, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
			Accounts: who, Admit: d.admit,
		})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, d.ports[string(mode)], _ = net.SplitHostPort(ln.Addr().String())
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, ln) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	return d
}

func (d *doors) admit(_ context.Context, e *Envelope) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.messages = append(d.messages, e)
	return "1", nil
}

// take returns what arrived since the last call, by subject.
func (d *doors) take() map[string]*Envelope {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := map[string]*Envelope{}
	for _, e := range d.messages {
		_, subject, _ := strings.Cut("\r\n"+string(e.Data), "\r\nSubject: ")
		subject, _, _ = strings.Cut(subject, "\r\n")
		m[subject] = e
	}
	d.messages = nil
	return m
}

// run starts a client and fails the test where it fails.
func run(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// expect checks one message by its subject: its protocol, its recipients, and
// that its text holds what was sent.
func expect(t *testing.T, got map[string]*Envelope, subject, protocol, text string) *Envelope {
	t.Helper()
	e := got[subject]
	if e == nil {
		t.Fatalf("no message %q among %d", subject, len(got))
	}
	if e.Protocol != protocol || e.Credential != "shop" || e.From.String() != "news@example.com" {
		t.Errorf("%s: %s as %s from %s", subject, e.Protocol, e.Credential, e.From)
	}
	if !strings.Contains(string(e.Data), text) {
		t.Errorf("%s: %q is not in %.300q", subject, text, e.Data)
	}
	return e
}

const pythonClient = `
import os, smtplib, ssl
from email.message import EmailMessage
ctx = ssl.create_default_context(cafile=os.environ["CA"])
def mail(subject, body="..dots\r\n.\r\nand .more", to="anna@customer.example"):
    m = EmailMessage()
    m["From"], m["To"], m["Subject"] = "news@example.com", to, subject
    m.set_content(body)
    return m

with smtplib.SMTP("localhost", int(os.environ["STARTTLS"])) as s:
    s.starttls(context=ctx)
    s.login("shop", "tulip")
    for i in range(3):
        s.send_message(mail("starttls %d" % i))
    s.send_message(mail("large", "0123456789abcdef\r\n" * 60000))
    s.send_message(mail("utf8", "Grüße", "jürgen@customer.example"), mail_options=["BODY=8BITMIME"])

with smtplib.SMTP_SSL("localhost", int(os.environ["IMPLICIT"]), context=ctx) as s:
    s.ehlo()
    s.user, s.password = "shop", "tulip"
    s.auth("LOGIN", s.auth_login)
    s.sendmail("news@example.com", ["a@c.example", "b@c.example"], "Subject: login\r\n\r\ntwo of you\r\n")

with smtplib.SMTP("127.0.0.1", int(os.environ["NONE"])) as s:
    s.login("shop", "tulip", initial_response_ok=False)
    s.sendmail("news@example.com", "a@c.example", "Subject: two steps\n\nplain\n")

with smtplib.SMTP_SSL("localhost", int(os.environ["IMPLICIT"]), context=ctx) as s:
    try:
        s.login("shop", "rose")
        raise SystemExit("a wrong password was right")
    except smtplib.SMTPAuthenticationError as e:
        assert e.smtp_code == 535, e
    try:
        s.sendmail("news@example.com", "a@c.example", "x")
        raise SystemExit("sent without a login")
    except smtplib.SMTPSenderRefused as e:
        assert e.smtp_code == 530, e
`

func TestPythonSmtplib(t *testing.T) {
	python := peer.Python(t, "smtplib", "python3")
	d := openDoors(t)
	run(t, d.env(), python, "-c", pythonClient)
	got := d.take()
	for _, subject := range []string{"starttls 0", "starttls 1", "starttls 2"} {
		expect(t, got, subject, "ESMTPSA", "\r\n\r\n..dots\r\n.\r\nand .more\r\n")
	}
	if e := expect(t, got, "large", "ESMTPSA", "0123456789abcdef"); len(e.Data) < 18*60000 {
		t.Errorf("large: %d octets", len(e.Data))
	}
	if e := expect(t, got, "utf8", "UTF8SMTPSA", ""); !e.UTF8 || e.To[0].String() != "jürgen@customer.example" {
		t.Errorf("utf8: %+v", e.To)
	}
	if e := expect(t, got, "login", "ESMTPSA", "two of you"); len(e.To) != 2 {
		t.Errorf("login: to %v", e.To)
	}
	expect(t, got, "two steps", "ESMTPA", "plain")
}

func (d *doors) env() []string {
	return []string{"CA=" + d.ca, "NONE=" + d.ports["none"], "STARTTLS=" + d.ports["starttls"], "IMPLICIT=" + d.ports["implicit"]}
}

func TestSwaks(t *testing.T) {
	swaks := peer.Command(t, "swaks", "swaks")
	d := openDoors(t)
	base := []string{
		"--server", "127.0.0.1", "--ehlo", "app.example", "--from", "news@example.com", "--to", "anna@customer.example,bert@customer.example",
		"--auth-user", "shop", "--auth-password", "tulip", "--body", "hi\\n.dot\\n",
	}
	swak := func(args ...string) { run(t, nil, swaks, append(args, base...)...) }
	swak("--port", d.ports["none"], "--auth", "PLAIN", "--header", "Subject: plain")
	swak("--port", d.ports["none"], "--auth", "LOGIN", "--pipeline", "--header", "Subject: pipelined")
	got := d.take()
	expect(t, got, "plain", "ESMTPA", ".dot")
	if e := expect(t, got, "pipelined", "ESMTPA", ".dot"); len(e.To) != 2 || e.HELO != "app.example" {
		t.Errorf("to %v at %s", e.To, e.HELO)
	}
	if err := exec.CommandContext(t.Context(), "perl", "-MNet::SSLeay", "-e", "1").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("swaks has no TLS: apt-get install libnet-ssleay-perl")
		}
		t.Skip("swaks has no TLS: apt-get install libnet-ssleay-perl")
	}
	swak("--port", d.ports["starttls"], "--tls", "--auth", "LOGIN", "--header", "Subject: starttls")
	swak("--port", d.ports["implicit"], "--tls-on-connect", "--auth", "PLAIN", "--header", "Subject: implicit")
	got = d.take()
	expect(t, got, "starttls", "ESMTPSA", ".dot")
	expect(t, got, "implicit", "ESMTPSA", ".dot")
}

const nodeClient = `
const nodemailer = require('nodemailer'), fs = require('fs')
const ca = fs.readFileSync(process.env.CA)
const auth = {user: 'shop', pass: 'tulip'}
const mail = (subject, more) => ({from: 'news@example.com', to: 'anna@customer.example', subject, text: '..dots\n.\nand .more', ...more})
async function main() {
  const pool = nodemailer.createTransport({host: 'localhost', port: +process.env.STARTTLS, requireTLS: true, tls: {ca}, auth, pool: true, maxConnections: 2})
  await Promise.all([0, 1, 2, 3].map(i => pool.sendMail(mail('pool ' + i))))
  await pool.sendMail(mail('dsn', {dsn: {id: 'camp-7', return: 'headers', notify: ['failure', 'delay'], recipient: 'anna@customer.example'}}))
  await pool.sendMail(mail('utf8', {to: 'jürgen@customer.example'}))
  pool.close()
  const tls = nodemailer.createTransport({host: 'localhost', port: +process.env.IMPLICIT, secure: true, tls: {ca}, auth, authMethod: 'LOGIN'})
  const info = await tls.sendMail(mail('login'))
  if (!/^250 2.0.0 queued as/.test(info.response)) throw new Error(info.response)
  const plain = nodemailer.createTransport({host: '127.0.0.1', port: +process.env.NONE, ignoreTLS: true, auth})
  await plain.sendMail(mail('none'))
  const wrong = nodemailer.createTransport({host: 'localhost', port: +process.env.IMPLICIT, secure: true, tls: {ca}, auth: {user: 'shop', pass: 'rose'}})
  const err = await wrong.sendMail(mail('wrong')).then(() => null, e => e)
  if (!err || err.responseCode !== 535) throw err || new Error('a wrong password was right')
}
main().catch(e => { console.error(e); process.exit(1) })
`

func TestNodemailer(t *testing.T) {
	node, modules := peer.Node(t, "nodemailer")
	d := openDoors(t)
	run(t, append(d.env(), "NODE_PATH="+modules), node, "-e", nodeClient)
	got := d.take()
	for _, subject := range []string{"pool 0", "pool 1", "pool 2", "pool 3"} {
		expect(t, got, subject, "ESMTPSA", "\r\n\r\n..dots\r\n.\r\nand .more\r\n")
	}
	expect(t, got, "dsn", "ESMTPSA", "dots") // DSN is not offered, so its parameters stay at home
	if e := expect(t, got, "utf8", "UTF8SMTPSA", ""); e.To[0].Local != "jürgen" {
		t.Errorf("utf8: to %v", e.To)
	}
	expect(t, got, "login", "ESMTPSA", "dots")
	expect(t, got, "none", "ESMTPA", "dots")
}
