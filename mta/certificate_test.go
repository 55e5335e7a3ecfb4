// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/mtatest"
)

// writeCertificate puts a new certificate into a directory and returns what trusts it.
func writeCertificate(t *testing.T, dir string, written time.Time) *x509.CertPool {
	t.Helper()
	pair, pool, err := mtatest.Certificate("u.example.com")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "cert.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		writeAt(t, filepath.Join(dir, name), string(pem.EncodeToMemory(block)), written)
	}
	return pool
}

// writeAt writes a file as if it were done at a time.
func writeAt(t *testing.T, path, text string, written time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
}

// TestPublicEndsTLS: with a certificate of its own the outside speaks TLS and nothing else.
func TestPublicEndsTLS(t *testing.T) {
	w := newTown(t)
	pool := writeCertificate(t, w.dir, time.Now())
	w.change = strings.NewReplacer("[public]\n", "[public]\ncert_file = \""+w.dir+"/cert.pem\"\nkey_file = \""+w.dir+"/cert.key\"\n")
	w.run()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return w.net.Dial(ctx, netip.Addr{}, netip.MustParseAddrPort("127.0.0.1:8080"))
	}
	get := func(url string) (int, error) {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
		r, err := c.Get(url)
		if err != nil {
			return 0, err
		}
		return r.StatusCode, r.Body.Close()
	}
	if code, err := get("https://u.example.com/u/nothing"); code != http.StatusNotFound || err != nil {
		t.Errorf("over TLS: %d %v", code, err)
	}
	if code, err := get("http://u.example.com/u/nothing"); code == http.StatusNotFound || code == http.StatusOK {
		t.Errorf("in the clear: %d %v", code, err)
	}
}

// TestCertificateIsRenewed: files written anew are used within a minute, files that do
// not belong together are not used.
func TestCertificateIsRenewed(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	writeCertificate(t, dir, now)
	c, err := newCertificate(config.Path(dir+"/cert.pem"), config.Path(dir+"/cert.key"), func() time.Time { return now }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	inUse := func() *x509.Certificate {
		t.Helper()
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf
	}
	first := inUse()
	writeCertificate(t, dir, now.Add(time.Second))
	if now = now.Add(certificateEvery / 2); !inUse().Equal(first) {
		t.Error("the files are read more often than said")
	}
	now = now.Add(certificateEvery)
	second := inUse()
	if second.Equal(first) {
		t.Error("the new certificate is not used")
	}
	writeAt(t, filepath.Join(dir, "cert.pem"), "half of a certif", now)
	if now = now.Add(certificateEvery); !inUse().Equal(second) {
		t.Error("a torn file is used")
	}
	writeCertificate(t, dir, now.Add(time.Second))
	if now = now.Add(certificateEvery); inUse().Equal(second) {
		t.Error("after a torn file no new certificate is used")
	}
}

// TestCheckCertificates: what is wrong with a certificate is said before it is needed.
func TestCheckCertificates(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, time.Now())
	writeAt(t, filepath.Join(dir, "other.key"), rsaPEM(t, 1024), time.Now())
	for files, want := range map[string]string{
		"cert_file = \"cert.pem\"\nkey_file = \"cert.key\"":  "",
		"cert_file = \"gone.pem\"\nkey_file = \"cert.key\"":  "segue.toml:4: public.cert_file: gone.pem cannot be read: no such file or directory (the file must exist and be readable by the user that segue runs as)",
		"cert_file = \"cert.pem\"\nkey_file = \"other.key\"": "segue.toml:4: public.cert_file: tls: private key type does not match public key type (cert_file and key_file must be a PEM certificate chain and its key)",
	} {
		path := filepath.Join(dir, "segue.toml")
		writeAt(t, path, "[public]\naddress = \":8080\"\nurl = \"https://u.example.com\"\n"+files+"\n", time.Now())
		c, _ := config.Load(path)
		var got []string
		for _, p := range checkCertificate(c, "public", c.Public.CertFile, c.Public.KeyFile) {
			got = append(got, strings.ReplaceAll(p.String(), dir+"/", ""))
		}
		if text := strings.Join(got, "\n"); text != want {
			t.Errorf("%s:\n  %s\nwant\n  %s", files, text, want)
		}
	}
}

// TestCertificateLifetime: one that ends is warned of before it does.
func TestCertificateLifetime(t *testing.T) {
	end := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	for now, want := range map[time.Time]string{
		end.AddDate(0, 0, -15): "", end.AddDate(0, 0, -13): "expires on 2027-01-31", end.Add(time.Second): "expired on 2027-01-31",
	} {
		got := ""
		for _, p := range lifetime(&config.Config{}, "public.cert_file", end, now) {
			got = p.String()
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("at %v: %q, want %q", now, got, want)
		}
	}
}

// TestCertificateIsReadOnceItCanBe: what keeps a file from being read, such as its mode,
// can be put right without writing it again.
func TestCertificateIsReadOnceItCanBe(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	writeCertificate(t, dir, now)
	c, err := newCertificate(config.Path(dir+"/cert.pem"), config.Path(dir+"/cert.key"), func() time.Time { return now }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first, renewed := c.current, now.Add(time.Second)
	writeCertificate(t, dir, renewed)
	key, err := os.ReadFile(dir + "/cert.key")
	if err != nil {
		t.Fatal(err)
	}
	writeAt(t, filepath.Join(dir, "cert.key"), "", renewed) // as good as a file that is not for us to read
	if now = now.Add(certificateEvery); mustGet(t, c) != first {
		t.Error("a certificate without its key is used")
	}
	writeAt(t, filepath.Join(dir, "cert.key"), string(key), renewed)
	if now = now.Add(certificateEvery); mustGet(t, c) == first {
		t.Error("the renewed certificate is not used, although it can be read by now")
	}
}

func mustGet(t *testing.T, c *certificate) *tls.Certificate {
	t.Helper()
	pair, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
