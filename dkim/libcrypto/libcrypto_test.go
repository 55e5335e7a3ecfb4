// SPDX-License-Identifier: Apache-2.0

package libcrypto

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"sync"
	"testing"

	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/mta/mtatest/peer"
)

// open loads the library of this machine.
func open(t testing.TB) *Library {
	t.Helper()
	l, err := Open(Options{})
	if err != nil {
		peer.Missing(t, "libcrypto ("+err.Error()+")", "apt-get install libssl3")
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func newKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func digest(n int) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "message %d", n))
	return sum[:]
}

func sign(t testing.TB, s crypto.Signer, digest []byte) []byte {
	t.Helper()
	sig, err := s.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		t.Error(err)
	}
	return sig
}

// forms are the two ways in which a key stands in a PEM file.
func forms(t testing.TB, key *rsa.PrivateKey) map[string][]byte {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"PKCS #1": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		"PKCS #8": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
}

// PKCS #1 v1.5 has one signature for a key and a digest: two that know how agree on every byte.
func TestBothBackendsMakeTheSameSignature(t *testing.T) {
	t.Parallel()
	l := open(t)
	for _, bits := range []int{1024, 2048, 3072, 4096} {
		for form, text := range forms(t, newKey(t, bits)) {
			parsed, _, err := dkim.ParseKey(text)
			if err != nil {
				t.Fatal(err)
			}
			key := parsed.(*rsa.PrivateKey)
			fast, err := l.Signer(key)
			if err != nil {
				t.Fatalf("%d bits, %s: %v", bits, form, err)
			}
			if fast.Backend() != Name || !key.PublicKey.Equal(fast.Public()) {
				t.Errorf("%d bits, %s: backend %s, public key %v", bits, form, fast.Backend(), fast.Public())
			}
			for i := range 10 {
				random := make([]byte, sha256.Size)
				_, _ = rand.Read(random)
				// What the library makes, not what a Key makes of it after a fallback.
				got, err := fast.sign(random)
				if want := sign(t, key, random); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bits, %s, digest %d: %x, %v\nwant %x", bits, form, i, got, err, want)
				}
				if !bytes.Equal(sign(t, fast, random), got) {
					t.Errorf("%d bits, %s, digest %d: the key gives another signature", bits, form, i)
				}
			}
		}
	}
}

// What DKIM does not ask for is done by crypto/rsa.
func TestOtherSignaturesAreMadeByGo(t *testing.T) {
	t.Parallel()
	key := newKey(t, 1024)
	fast, err := open(t).Signer(key)
	if err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte{7}, crypto.SHA512.Size())
	sig, err := fast.Sign(rand.Reader, long, crypto.SHA512)
	if err == nil {
		err = rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA512, long, sig)
	}
	if err != nil {
		t.Errorf("SHA-512: %v", err)
	}
	sig, err = fast.Sign(rand.Reader, digest(1), &rsa.PSSOptions{Hash: crypto.SHA256})
	if err == nil {
		err = rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, digest(1), sig, nil)
	}
	if err != nil {
		t.Errorf("PSS: %v", err)
	}
	sig, err = fast.Sign(rand.Reader, digest(1), crypto.SHA512_256)
	if err == nil {
		err = rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA512_256, digest(1), sig)
	}
	if err != nil {
		t.Errorf("SHA-512/256: %v", err)
	}
	if _, err := fast.Sign(rand.Reader, digest(1)[:20], crypto.SHA256); err == nil {
		t.Error("a digest of 20 bytes was signed as SHA-256")
	}
	if fast.Backend() != Name {
		t.Error("that was the end of libcrypto")
	}
}

func TestKeysAreForManyGoroutines(t *testing.T) {
	t.Parallel()
	l := open(t)
	keys := []*rsa.PrivateKey{newKey(t, 1024), newKey(t, 1024)}
	var group sync.WaitGroup
	for _, key := range keys {
		fast, err := l.Signer(key)
		if err != nil {
			t.Fatal(err)
		}
		for g := range 16 {
			group.Go(func() {
				for i := range 20 {
					d := digest(100*g + i)
					if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, d, sign(t, fast, d)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	group.Wait()
	if l.out.Load() {
		t.Error("the library has been given up")
	}
}
