// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/mtatest/peer"
)

// certificate makes a self-signed certificate for an address.
func certificate(t testing.TB, ip string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mta1.mail.example.net"},
		IPAddresses: []net.IP{net.ParseIP(ip)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 90),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return text("CERTIFICATE", der), text("PRIVATE KEY", private)
}

// login adds a listener with STARTTLS and AUTH, made with `segue check --hash`.
func (w *world) login() {
	w.t.Helper()
	cert, key := certificate(w.t, w.ip(1))
	w.write("cert.pem", cert)
	w.write("key.pem", key)
	hash := exec.Command(program(w.t), "check", "--hash")
	hash.Stdin = strings.NewReader("tulip\n")
	out, err := hash.Output()
	if err != nil {
		w.t.Fatalf("segue check --hash: %v", err)
	}
	w.more += fmt.Sprintf(`
[[listener]]
purpose = "submission"
address = "%s:1587"
tls = "starttls"
cert_file = "%s/cert.pem"
key_file = "%s/key.pem"
[[credential]]
name = "shop"
password_hash = %q
domains = ["example.com"]
`, w.ip(1), w.dir, w.dir, strings.TrimSpace(string(out)))
}

const pythonClient = `
import os, smtplib, ssl
with smtplib.SMTP(os.environ["HOST"], 1587) as s:
    s.starttls(context=ssl.create_default_context(cafile=os.environ["CA"]))
    s.login("shop", "tulip")
    s.sendmail("news@example.com", "python@dest.example", "From: news@example.com\r\nSubject: x\r\n\r\n.from Python\r\n")
    try:
        s.sendmail("news@other.example", "python@dest.example", "From: news@other.example\r\n\r\nx\r\n")
        raise SystemExit("sent as a domain that is not ours")
    except smtplib.SMTPSenderRefused:
        pass
with smtplib.SMTP(os.environ["HOST"], 1587) as s:
    s.starttls(context=ssl.create_default_context(cafile=os.environ["CA"]))
    try:
        s.login("shop", "rose")
        raise SystemExit("a wrong password was right")
    except smtplib.SMTPAuthenticationError as e:
        assert e.smtp_code == 535, e
`

const nodeClient = `
const nodemailer = require('nodemailer'), fs = require('fs')
const t = nodemailer.createTransport({host: process.env.HOST, port: 1587, requireTLS: true, tls: {ca: fs.readFileSync(process.env.CA)}, auth: {user: 'shop', pass: 'tulip'}})
t.sendMail({from: 'news@example.com', to: 'node@dest.example', subject: 'x', text: '.from Node\n'}).catch(e => { console.error(e); process.exit(1) })
`

func TestProgramsOfOthersSubmitWithPasswords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example"})
	w.login()
	w.start()
	env := append(os.Environ(), "HOST="+w.ip(1), "CA="+w.dir+"/cert.pem")
	do := func(more []string, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(env, more...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	do(nil, peer.Python(t, "smtplib", "python3"), "-c", pythonClient)
	do(nil, peer.Command(t, "swaks", "swaks"), "--server", w.ip(1), "--port", "1587", "--tls", "--auth", "LOGIN", "--auth-user", "shop",
		"--auth-password", "tulip", "--from", "news@example.com", "--to", "swaks@dest.example", "--body", ".from swaks\\n")
	node, modules := peer.Node(t, "nodemailer")
	do([]string{"NODE_PATH=" + modules}, node, "-e", nodeClient)

	wait(t, "three messages", func() bool { return len(mx.Messages()) >= 3 })
	w.empty()
	once(t, "the exchanger", received(mx.Messages()), 3)
	want := map[string]string{"python@dest.example": ".from Python", "swaks@dest.example": ".from swaks", "node@dest.example": ".from Node"}
	for _, m := range mx.Messages() {
		if text := string(m.Data); !strings.Contains(text, "\r\n\r\n"+want[m.To[0]]) || !strings.Contains(text, "ESMTPSA") {
			t.Errorf("to %s arrived:\n%s", m.To[0], text)
		}
	}
}

func TestARouteSendsADomainToASmarthostAndOthersGoByMX(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.exchanger(50, []string{"dest.example", "corp.example"})
	smarthost := w.exchanger(51, nil)
	w.mx(50, "dest.example", "corp.example")
	w.more = fmt.Sprintf("[[route]]\ndomain = \"corp.example\"\nvia = \"%s:%s\"\n", w.ip(51), mailPort)
	w.start()
	w.submitEach("corp.example", 5)
	w.submitEach("dest.example", 7)
	w.empty()
	w.balance()
	once(t, "the smarthost", received(smarthost.Messages()), 5)
	once(t, "the exchanger", received(mx.Messages()), 7)
	for to := range received(smarthost.Messages()) {
		if !strings.HasSuffix(to, "@corp.example") {
			t.Errorf("%s went to the smarthost", to)
		}
	}
}
