// SPDX-License-Identifier: Apache-2.0

package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	oracle "github.com/emersion/go-msgauth/dkim"
)

// signedAt is when the example of RFC 8463 was signed.
func signedAt() time.Time { return time.Unix(1528637909, 0) }

func readKey(t testing.TB, name string) crypto.Signer {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := ParseKey(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return key
}

// exampleEd25519 is the key of RFC 8463 appendix A.1.
func exampleEd25519(t testing.TB) crypto.Signer {
	t.Helper()
	seed, err := base64.StdEncoding.DecodeString("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
	if err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

func twoKeys(t testing.TB) []Key {
	return []Key{
		{Domain: "football.example.com", Selector: "test", Signer: readKey(t, "rsa2048.pem")},
		{Domain: "football.example.com", Selector: "brisbane", Signer: exampleEd25519(t)},
	}
}

func newSigner(t testing.TB, o Options) *Signer {
	t.Helper()
	s, err := NewSigner(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	exampleHeader = "From: Joe SixPack <joe@football.example.com>\r\n" +
		"To: Suzie Q <suzie@shopping.example.net>\r\n" +
		"Subject: Is dinner ready?\r\n" +
		"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n" +
		"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
	exampleBody = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
)

// TestRFC8463 rebuilds both signatures of appendix A.3 from the fields as they
// are printed there. Both algorithms are deterministic.
func TestRFC8463(t *testing.T) {
	hash := HashBody([]byte(exampleBody))
	const bh = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
	if got := base64.StdEncoding.EncodeToString(hash[:]); got != bh {
		t.Fatalf("body hash %s, the RFC has %s", got, bh)
	}
	for _, tt := range []struct {
		name, field, b string
		key            crypto.Signer
	}{
		{
			name: "ed25519", key: exampleEd25519(t),
			field: "v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n" +
				" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n" +
				" subject : date : message-id : from : subject : date;\r\n bh=" + bh + ";\r\n b=",
			b: "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==",
		},
		{
			name: "rsa", key: readKey(t, "rfc8463.pem"),
			field: "v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n" +
				" q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n" +
				" date : message-id : from : subject : date;\r\n bh=" + bh + ";\r\n b=",
			b: "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGda" +
				"SGsgeefOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fields, err := parseFields(nil, []byte(exampleHeader))
			if err != nil {
				t.Fatal(err)
			}
			var canon []byte
			for _, f := range fields { // in the order of h=; the repeated names sign nothing
				canon = appendRelaxed(canon, f)
			}
			// The order of h= is from, to, subject, date, message-id: that of the message.
			canon = appendRelaxed(canon, field{name: []byte("DKIM-Signature"), value: []byte(" " + tt.field)})
			digest := sha256.Sum256(bytes.TrimSuffix(canon, []byte("\r\n")))
			sk, err := newSigningKey(Key{Domain: "football.example.com", Selector: "x", Signer: tt.key})
			if err != nil {
				t.Fatal(err)
			}
			sig, err := tt.key.Sign(nil, digest[:], sk.opts)
			if err != nil {
				t.Fatal(err)
			}
			if got := base64.StdEncoding.EncodeToString(sig); got != tt.b {
				t.Errorf("b=%s\nthe RFC has %s", got, tt.b)
			}
		})
	}
}

// TestRecord compares with the records of RFC 8463 appendix A.2.
func TestRecord(t *testing.T) {
	for _, tt := range []struct {
		key  crypto.Signer
		want string
	}{
		{exampleEd25519(t), "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
		{readKey(t, "rfc8463.pem"), "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR" +
			"iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKr" +
			"M3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"},
	} {
		got, err := PublicRecord(tt.key)
		if err != nil || got != tt.want {
			t.Errorf("PublicRecord = %q, %v; want %q", got, err, tt.want)
		}
	}
}

// lookup serves the records of keys as DNS would.
func lookup(t testing.TB, keys []Key) func(string) ([]string, error) {
	records := make(map[string]string)
	for _, k := range keys {
		record, err := PublicRecord(k.Signer)
		if err != nil {
			t.Fatal(err)
		}
		records[k.Selector+"._domainkey."+k.Domain] = record
	}
	return func(name string) ([]string, error) {
		if r, ok := records[name]; ok {
			return []string{r}, nil
		}
		return nil, fmt.Errorf("no record %s", name)
	}
}

func verify(t testing.TB, message []byte, keys []Key) []error {
	t.Helper()
	vs, err := oracle.VerifyWithOptions(bytes.NewReader(message), &oracle.VerifyOptions{LookupTXT: lookup(t, keys)})
	if err != nil {
		t.Fatalf("verifying: %v\n%s", err, message)
	}
	if len(vs) != len(keys) {
		t.Fatalf("%d signatures found, want %d", len(vs), len(keys))
	}
	errs := make([]error, len(vs))
	for i, v := range vs {
		errs[i] = v.Err
	}
	return errs
}

func sign(t testing.TB, s *Signer, header, body string) []byte {
	t.Helper()
	field, err := s.Sign([]byte(header), HashBody([]byte(body)), signedAt())
	if err != nil {
		t.Fatalf("signing %q: %v", header, err)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(field), "\r\n"), "\r\n") {
		if len(line) > 78 || strings.TrimSpace(line) == "" {
			t.Errorf("signature line of %d octets: %q", len(line), line)
		}
	}
	return field
}

// TestVerifies has go-msgauth verify our signatures over ordinary and odd
// messages.
func TestVerifies(t *testing.T) {
	headers := map[string]string{
		"example": exampleHeader,
		"folded": "from:joe@football.example.com\r\nSubject :  a\r\n\tb \t c  \r\nTo: a@x.example,\r\n b@x.example,\r\n   c@x.example\r\n" +
			"Cc:\r\n d@x.example\r\nDATE: Fri, 11 Jul 2003 21:00:37 -0700\r\n",
		"empty values":   "From: joe@football.example.com\r\nSubject:\r\nReply-To: \t \r\nTo:\r\n \r\n",
		"repeated":       "From: a@football.example.com\r\nFrom: b@football.example.com\r\nTo: 1\r\nTo: 2\r\nX: y\r\nTo: 3\r\n",
		"semicolons":     "X;a=b: c\r\n;: d\r\nFrom:j@football.example.com\r\nSubject;: y\r\n",
		"no spaces":      "From:j@football.example.com\r\nTo:x\r\nSubject:y\r\n",
		"long and utf-8": "From: \"Jörg\" <j@football.example.com>\r\nSubject: " + strings.Repeat("größe ", 200) + "\r\n",
		"list": exampleHeader + "List-Unsubscribe: <https://u.example.com/u/x>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" +
			"Feedback-ID: a:b:c:d\r\nReferences: <a@b>\r\n <c@d>\r\nIn-Reply-To: <c@d>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n",
		"trace first": "Received: from x by y; Fri, 11 Jul 2003 21:00:37 -0700\r\nReturn-Path: <x@y>\r\n" + exampleHeader,
	}
	bodies := map[string]string{
		"example": exampleBody, "empty": "", "one line end": "\r\n", "only blank lines": "\r\n\r\n \t\r\n\r\n",
		"trailing blank lines": "a\r\n\r\n\r\n", "trailing blank with space": "a \r\n\t\r\n  \r\n",
		"no final line end": "a\r\nb", "space at the end": "a \t", "leading blank lines": "\r\n\r\n a\r\n",
		"tabs": "\ta\t\tb \t c\t\r\n", "long": strings.Repeat("0123456789 abc  def\t\r\n \r\n", 5000),
		"dots": ".\r\n..\r\n.a\r\n", "8bit": "gr\xc3\xb6\xc3\x9fe \xff\xfe\r\n",
	}
	keys := twoKeys(t)
	s := newSigner(t, Options{Keys: keys})
	for hn, h := range headers {
		for bn, b := range bodies {
			field := sign(t, s, h, b)
			for i, err := range verify(t, []byte(string(field)+h+"\r\n"+b), keys) {
				if err != nil {
					t.Errorf("%s/%s: signature %d: %v\n%s", hn, bn, i, err, field)
				}
			}
		}
	}
}

// TestTampering changes a signed message in ways that must break every signature.
func TestTampering(t *testing.T) {
	keys := twoKeys(t)
	s := newSigner(t, Options{Keys: keys})
	header := exampleHeader + "List-Unsubscribe: <https://u.example.com/u/x>\r\n"
	whole := string(sign(t, s, header, exampleBody)) + header + "\r\n" + exampleBody
	for name, change := range map[string][2]string{
		"body":            {"hungry", "angry"},
		"body appended":   {"Joe.\r\n", "Joe.\r\nP.S.\r\n"},
		"space removed":   {"lost the", "lostthe"},
		"subject":         {"dinner", "lunch"},
		"second from":     {"From: Joe", "From: mallory@example.org\r\nFrom: Joe"},
		"second subject":  {"Subject: Is", "Subject: x\r\nSubject: Is"},
		"cc added":        {"Subject: Is", "Cc: x@y.example\r\nSubject: Is"},
		"reply-to added":  {"Subject: Is", "Reply-To: x@y.example\r\nSubject: Is"},
		"type added":      {"Subject: Is", "Content-Type: text/html\r\nSubject: Is"},
		"unsubscribe":     {"/u/x", "/u/y"},
		"signing domain":  {"t=1528637909", "t=1528637910"},
		"subject removed": {"Subject: Is dinner ready?\r\n", ""},
	} {
		changed := strings.ReplaceAll(whole, change[0], change[1])
		if changed == whole {
			t.Fatalf("%s: nothing changed", name)
		}
		for i, err := range verify(t, []byte(changed), keys) {
			if err == nil {
				t.Errorf("%s: signature %d still verifies", name, i)
			}
		}
	}
	// What relays do and relaxed canonicalization forgives.
	for name, change := range map[string][2]string{
		"refolded":       {"To: Suzie Q ", "To:  Suzie\r\n\tQ  "},
		"name case":      {"Subject: Is", "SUBJECT: Is"},
		"trailing space": {"Hi.\r\n", "Hi.  \r\n"},
		"blank lines":    {"Joe.\r\n", "Joe.\r\n\r\n\r\n"},
		"trace added":    {"DKIM-Signature: v=1; a=rsa", "Received: x\r\nDKIM-Signature: v=1; a=rsa"},
	} {
		for i, err := range verify(t, []byte(strings.Replace(whole, change[0], change[1], 1)), keys) {
			if err != nil {
				t.Errorf("%s: signature %d: %v", name, i, err)
			}
		}
	}
}

func TestSignErrors(t *testing.T) {
	s := newSigner(t, Options{Keys: twoKeys(t)})
	for _, tt := range []struct {
		header string
		want   error
	}{
		{"", ErrNoFrom},
		{"Subject: x\r\n", ErrNoFrom},
		{"Subject: x\r\n\r\nFrom: a@b.example\r\n", ErrNoFrom},
		{"From a@b.example\r\n", ErrHeader},
		{" From: a@b.example\r\n", ErrHeader},
		{"From: a@b.example\nTo: x\r\n", ErrHeader},
		{"From: a@b.example\rTo: x\r\n", ErrHeader},
		{"From: a@b.example\r", ErrHeader},
		{": x\r\nFrom: a@b.example\r\n", ErrHeader},
		{"Fr om: a@b.example\r\n", ErrHeader},
	} {
		if _, err := s.Sign([]byte(tt.header), HashBody(nil), signedAt()); !errors.Is(err, tt.want) {
			t.Errorf("Sign(%q): %v, want %v", tt.header, err, tt.want)
		}
	}
	broken := newSigner(t, Options{Keys: []Key{{Domain: "a.example", Selector: "s", Signer: brokenKey{exampleEd25519(t)}}}})
	if field, err := broken.Sign([]byte(exampleHeader), HashBody(nil), signedAt()); !errors.Is(err, io.ErrClosedPipe) || field != nil {
		t.Errorf("a failing key gave %q, %v", field, err)
	}
}

type brokenKey struct{ crypto.Signer }

func (brokenKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, io.ErrClosedPipe
}

func TestNewSignerErrors(t *testing.T) {
	good := Key{Domain: "a.example", Selector: "s", Signer: exampleEd25519(t)}
	for name, o := range map[string]Options{
		"no key":       {},
		"no signer":    {Keys: []Key{{Domain: "a.example", Selector: "s"}}},
		"bad domain":   {Keys: []Key{{Domain: "a.example; x=1", Selector: "s", Signer: good.Signer}}},
		"no domain":    {Keys: []Key{{Selector: "s", Signer: good.Signer}}},
		"bad selector": {Keys: []Key{{Domain: "a.example", Selector: "s\r\n", Signer: good.Signer}}},
		"bad header":   {Keys: []Key{good}, Headers: []string{"To:"}},
		"bad oversign": {Keys: []Key{good}, Oversign: []string{"To;"}},
	} {
		if _, err := NewSigner(o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v, want ErrOptions", name, err)
		}
	}
	ec := Key{Domain: "a.example", Selector: "s", Signer: otherKey{}}
	if _, err := NewSigner(Options{Keys: []Key{ec}}); !errors.Is(err, ErrKeyType) {
		t.Errorf("a key of another type: %v, want ErrKeyType", err)
	}
}

type otherKey struct{ crypto.Signer }

func (otherKey) Public() crypto.PublicKey { return "none" }

// TestChosenHeaders signs with a list of our own.
func TestChosenHeaders(t *testing.T) {
	keys := twoKeys(t)[1:]
	s := newSigner(t, Options{Keys: keys, Headers: []string{"subject", "X-Absent"}, Oversign: []string{"Subject", "Cc"}})
	field := string(sign(t, s, exampleHeader, ""))
	if !strings.Contains(field, "h=From:subject:subject:Cc;") {
		t.Errorf("wrong h= in %s", field)
	}
}

func TestParseKey(t *testing.T) {
	for _, tt := range []struct {
		file string
		info KeyInfo
		err  error
	}{
		{file: "rsa2048.pem", info: KeyInfo{Algorithm: RSA, Bits: 2048}},
		{file: "ed25519.pem", info: KeyInfo{Algorithm: Ed25519, Bits: 256}},
		{file: "rfc8463.pem", info: KeyInfo{Algorithm: RSA, Bits: 1024, Warning: "rsa key of 1024 bits: RFC 8301 recommends at least 2048"}},
		{file: "rsa512.pem", err: ErrWeakKey},
		{file: "rsa512-pkcs8.pem", err: ErrWeakKey},
		{file: "ecdsa.pem", err: ErrKeyType},
		{file: "encrypted-pkcs1.pem", err: ErrKey},
		{file: "encrypted-pkcs8.pem", err: ErrKey},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", tt.file))
		if err != nil {
			t.Fatal(err)
		}
		key, info, err := ParseKey(text)
		if !errors.Is(err, tt.err) || info != tt.info || (key == nil) != (tt.err != nil) {
			t.Errorf("%s: %+v, %v; want %+v, %v", tt.file, info, err, tt.info, tt.err)
		}
		if tt.err == nil { // a certificate or parameters before the key do no harm
			text = append([]byte("-----BEGIN X-----\nAAAA\n-----END X-----\n"), text...)
			if _, _, err := ParseKey(text); err != nil {
				t.Errorf("%s after another block: %v", tt.file, err)
			}
		}
	}
	for _, text := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, _, err := ParseKey([]byte(text)); !errors.Is(err, ErrKey) {
			t.Errorf("ParseKey(%q): %v, want ErrKey", text, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, name := range []string{"rsa512.pem", "ed25519.pem", "ecdsa.pem", "rfc8463.pem"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		key, info, err := ParseKey(text)
		if err != nil {
			return
		}
		if _, err := PublicRecord(key); err != nil {
			t.Errorf("a key that parses has no record: %v", err)
		}
		if pub, ok := key.Public().(*rsa.PublicKey); ok && pub.N.BitLen() != info.Bits {
			t.Errorf("%d bits reported, %d there", info.Bits, pub.N.BitLen())
		}
	})
}
