// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"log/slog"
	"testing"

	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/dkim/libcrypto"
	"github.com/seguemta/segue/mta/mtatest/peer"
)

// The metric names what takes the time: crypto/rsa if one key is left to it.
func TestTheBackendOfADomainIsItsSlowestKey(t *testing.T) {
	t.Parallel()
	lib, err := libcrypto.Open(libcrypto.Options{})
	if err != nil {
		peer.Missing(t, "libcrypto ("+err.Error()+")", "apt-get install libssl3")
	}
	slow, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := []dkim.Key{{Domain: "example.com", Selector: "r", Signer: slow}, {Domain: "example.com", Selector: "e", Signer: ed}}
	accelerate(lib, keys, slog.New(slog.DiscardHandler))
	fast := keys[0].Signer
	if _, ok := fast.(*libcrypto.Key); !ok || !ed.Equal(keys[1].Signer) {
		t.Fatalf("the keys became %T and %T", fast, keys[1].Signer)
	}
	domain := func(signers ...crypto.Signer) func() string {
		var list []dkim.Key
		for _, s := range signers {
			list = append(list, dkim.Key{Signer: s})
		}
		return backend(list)
	}
	both := domain(fast, ed)
	for _, c := range []struct {
		got, want string
	}{
		{both(), "libcrypto"},
		{domain(ed)(), "crypto/ed25519"},
		{domain(slow, ed)(), "crypto/rsa"},
		{domain(fast, slow)(), "crypto/rsa"},
	} {
		if c.got != c.want {
			t.Errorf("backend %s, want %s", c.got, c.want)
		}
	}
	if err := lib.Close(); err != nil {
		t.Fatal(err)
	}
	if got := both(); got != "crypto/rsa" {
		t.Errorf("after the library is closed: backend %s", got)
	}
	// A library that takes no key leaves it as it is.
	keys[0].Signer = slow
	if accelerate(lib, keys, slog.New(slog.DiscardHandler)); keys[0].Signer != crypto.Signer(slow) {
		t.Errorf("the key became %T", keys[0].Signer)
	}
}

// What admission takes has to leave: of a field that cannot be signed nobody hears
// before the message has expired.
func TestEveryFieldNameOfRFC5322Leaves(t *testing.T) {
	w := newTown(t)
	w.run()
	for c := '!'; c <= '~'; c++ {
		if c == ':' {
			continue
		}
		if r := w.submit(fmt.Sprintf("X%cName: 1\r\n", c), fmt.Sprintf("a%d@dest.example", c)); r.Code != 250 {
			t.Fatalf("%c: %s", c, r)
		}
	}
	w.settle("all deliveries", func() bool { return w.tally("delivered") == '~'-'!' })
}
