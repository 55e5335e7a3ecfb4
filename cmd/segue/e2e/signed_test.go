// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"testing"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest"
)

// public is the DNS record of the key that every world signs with.
func public(t testing.TB) string {
	t.Helper()
	block, _ := pem.Decode([]byte(signingKey(t)))
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public().(*rsa.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

// What leaves is signed so that another implementation verifies it, is encrypted
// where the other side can, and says who sends: address, name, return path.
func TestWhatLeavesIsSignedAndEncrypted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cert, _, err := mtatest.Certificate("mx50.test")
	if err != nil {
		t.Fatal(err)
	}
	// The first attempt is deferred: the retry must carry a signature as good.
	mx := &mtatest.Exchanger{
		Name: "mx50.test", TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		Rules: mtatest.Script("rcpt @1 : 451 4.7.1 greylisted"),
	}
	w.listen(mx, 50)
	w.mx(50, "dest.example")
	w.start()
	w.submitEach("dest.example", 3)
	w.empty()
	once(t, "the exchanger", received(mx.Messages()), 3)
	for _, m := range mx.Messages() {
		verified(t, m.Data)
		if !m.TLS || m.Hello != "a1.mail.example.net" || m.Remote.Addr().String() != w.ip(11) {
			t.Errorf("to %v: TLS %v, EHLO %s, from %s", m.To, m.TLS, m.Hello, m.Remote)
		}
	}
	if v := mx.Violations(); len(v) > 0 {
		t.Errorf("violations of the protocol: %q", v)
	}
	if kinds := w.balance(); kinds[event.Deferred] != 1 {
		t.Errorf("events: %v", kinds)
	}
	w.stop()
	w.verify()
}
