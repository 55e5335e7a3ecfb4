// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64) && !nolibcrypto

package libcrypto

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestAMissingLibraryIsNamed(t *testing.T) {
	t.Parallel()
	garbage := filepath.Join(t.TempDir(), soname)
	if err := os.WriteFile(garbage, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"libcrypto.so.none": "libcrypto.so.none: cannot open shared object file",
		garbage:             garbage + ": ",
		"libc.so.6":         "libc.so.6 has no ",
	} {
		for ops, err := range load([]string{path}) {
			if ops != nil || !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", path, err, want)
			}
		}
	}
	n := 0
	for range load([]string{"libcrypto.so.none", garbage}) {
		n++
	}
	if n != 2 {
		t.Errorf("%d of 2 paths were looked at", n)
	}
}

// What OpenSSL complains of is in the error, and not what it complained of before.
func TestErrorsOfOpenSSLAreTold(t *testing.T) {
	t.Parallel()
	ops := open(t).ops
	runtime.LockOSThread() // so that what one call leaves behind would be seen by the next
	defer runtime.UnlockOSThread()
	if _, err := ops.load([]byte("no key")); err == nil || !strings.Contains(err.Error(), "d2i_AutoPrivateKey: error:") {
		t.Errorf("loading garbage: %v", err)
	}
	h, err := ops.load(x509.MarshalPKCS1PrivateKey(newKey(t, 1024)))
	if err != nil {
		t.Fatal(err)
	}
	defer ops.free(h)
	for range 3 {
		if _, err := ops.load([]byte("no key")); err == nil {
			t.Error("garbage was loaded")
		}
		if err := ops.sign(h, make([]byte, 128), digest(1)[:31]); err == nil || !strings.Contains(err.Error(), "invalid digest length") {
			t.Errorf("signing 31 bytes: %v", err)
		}
		if err := ops.sign(h, make([]byte, 16), digest(1)); err == nil || !strings.Contains(err.Error(), "EVP_PKEY_sign: ") {
			t.Errorf("signing into 16 bytes: %v", err)
		}
		if err := ops.sign(h, make([]byte, 128), digest(1)); err != nil {
			t.Errorf("after an error: %v", err)
		}
	}
}
