// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/mtatest/peer"
)

// oldLibrary is a libcrypto of OpenSSL 3.0.4 that can nothing but say so.
const oldLibrary = `
unsigned long OpenSSL_version_num(void) { return 0x30000040UL; }
#define NONE(f) void *f(void) { return 0; }
NONE(d2i_AutoPrivateKey) NONE(EVP_PKEY_free) NONE(EVP_PKEY_CTX_new) NONE(EVP_PKEY_CTX_free) NONE(EVP_PKEY_sign_init)
NONE(EVP_PKEY_CTX_set_signature_md) NONE(EVP_PKEY_CTX_set_rsa_padding) NONE(EVP_PKEY_sign) NONE(EVP_sha256)
NONE(ERR_get_error) NONE(ERR_error_string_n) NONE(ERR_clear_error)
`

// What signs is said once at the start and with each signature's time.
func TestTheSigningBackendIsShown(t *testing.T) {
	t.Parallel()
	unused := func(*testing.T, *world) string { return "" }
	for _, c := range []struct {
		name, config string
		libraries    func(*testing.T, *world) string // a directory that the loader looks into first
		log, backend string
	}{
		{"libcrypto", "", installedLibrary, `backend=libcrypto version=3\.\d+\.\d+$`, "libcrypto"},
		{"Go by configuration", `signer = "go"`, unused, `backend=crypto/rsa reason="delivery.signer = \\"go\\""$`, "crypto/rsa"},
		{"broken", "", brokenLibrary, `backend=crypto/rsa reason="libcrypto cannot be loaded: .*libcrypto\.so\.3: .+"$`, "crypto/rsa"},
		{"old", "", compileOldLibrary, `backend=crypto/rsa reason="libcrypto is older than OpenSSL 3\.0\.5: it is 3\.0\.4"$`, "crypto/rsa"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			mx := w.exchanger(50, []string{"dest.example"})
			path := w.config()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			w.write("segue.toml", strings.Replace(string(text), "[delivery]\n", "[delivery]\n"+c.config+"\n", 1))
			w.process = run(t, "env", "LD_LIBRARY_PATH="+c.libraries(t, w), program(t), "serve", "--config", path)
			w.ready()
			if lines := regexp.MustCompile(`(?m)^.* msg="rsa signatures" .*$`).FindAllString(w.log.String(), -1); len(lines) != 1 || !regexp.MustCompile(c.log).MatchString(lines[0]) {
				t.Errorf("the log says %q, want one line like %s", lines, c.log)
			}
			other := map[string]string{"libcrypto": "crypto/rsa", "crypto/rsa": "libcrypto"}[c.backend]
			count := func(backend string) string { return `segue_sign_seconds_count{backend="` + backend + `"}` }
			if _, text := w.get("/metrics"); !strings.Contains(text, count(c.backend)+" 0\n") || strings.Contains(text, count(other)) {
				t.Errorf("before the first message /metrics has not the one backend %s", c.backend)
			}
			w.submitEach("dest.example", 5)
			w.empty()
			once(t, "the exchanger", received(mx.Messages()), 5)
			if _, text := w.get("/metrics"); !strings.Contains(text, count(c.backend)+" 5\n") || strings.Contains(text, count(other)) {
				t.Errorf("after 5 messages /metrics has not 5 signatures of %s", c.backend)
			}
			for _, m := range mx.Messages() {
				verified(t, m.Data)
			}
			w.stop()
		})
	}
}

// installedLibrary lets the loader find what openssl depends on.
func installedLibrary(t *testing.T, _ *world) string {
	t.Helper()
	peer.Command(t, "openssl", "openssl")
	return ""
}

func brokenLibrary(t *testing.T, w *world) string {
	t.Helper()
	return filepath.Dir(w.write("lib/libcrypto.so.3", "not a library"))
}

func compileOldLibrary(t *testing.T, w *world) string {
	t.Helper()
	source := w.write("lib/old.c", oldLibrary)
	dir := filepath.Dir(source)
	out, err := exec.Command(peer.Command(t, "gcc", "gcc"), "-shared", "-fPIC", "-o", filepath.Join(dir, "libcrypto.so.3"), source).CombinedOutput()
	if err != nil {
		t.Fatalf("compiling an old libcrypto: %v\n%s", err, out)
	}
	return dir
}
