// SPDX-License-Identifier: Apache-2.0

package libcrypto

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// double is a library that signs by Go and misbehaves on demand.
type double struct {
	number uint64
	do     func(sig []byte) error // after a signature; nil = nothing

	mu   sync.Mutex
	keys map[handle]*rsa.PrivateKey
	made int // signatures
	done int // freed keys
}

func (d *double) version() uint64 { return d.number }

func (d *double) load(der []byte) (handle, error) {
	key, err := x509.ParsePKCS1PrivateKey(der)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys == nil {
		d.keys = map[handle]*rsa.PrivateKey{}
	}
	h := handle(len(d.keys) + 1)
	d.keys[h] = key
	return h, err
}

func (d *double) sign(h handle, sig, digest []byte) error {
	d.mu.Lock()
	key, do := d.keys[h], d.do
	d.made++
	d.mu.Unlock()
	made, err := key.Sign(nil, digest, crypto.SHA256)
	copy(sig, made)
	if err == nil && do != nil {
		err = do(sig)
	}
	return err
}

func (d *double) free(h handle) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.keys, h)
	d.done++
}

func newDouble(t testing.TB, d *double, o Options) *Library {
	t.Helper()
	if d.number == 0 {
		d.number = oldest
	}
	l, err := newLibrary(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var errBroken = errors.New("provider is out of order")

// faults are what a broken library does.
func faults() map[string]func([]byte) error {
	return map[string]func([]byte) error{
		"one bit is wrong": func(sig []byte) error { sig[len(sig)/2] ^= 4; return nil },
		"nothing is there": func(sig []byte) error { clear(sig); return nil },
		"an error":         func([]byte) error { return errBroken },
	}
}

func TestAKeyThatSignsWronglyAtFirstIsRefused(t *testing.T) {
	t.Parallel()
	for name, fault := range faults() {
		d := &double{do: fault}
		l := newDouble(t, d, Options{})
		if k, err := l.Signer(newKey(t, 1024)); k != nil || !errors.Is(err, errWrong) && !errors.Is(err, errBroken) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
		if d.made != 1 || d.done != 1 || len(d.keys) != 0 {
			t.Errorf("%s: %d signatures, %d keys freed, %d left", name, d.made, d.done, len(d.keys))
		}
		// It may be this key only: a policy that forbids 1024 bits.
		d.do = nil
		if _, err := l.Signer(newKey(t, 1024)); err != nil {
			t.Errorf("%s: the next key: %v", name, err)
		}
	}
}

// A library that breaks later is found out by the sample at the latest, and never asked again.
func TestALibraryThatBreaksIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, fault := range faults() {
		var log bytes.Buffer
		d, registry := &double{}, prometheus.NewRegistry()
		l := newDouble(t, d, Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Registry: registry})
		key := newKey(t, 1024)
		k, err := l.Signer(key)
		if err != nil {
			t.Fatal(err)
		}
		other, err := l.Signer(newKey(t, 1024))
		if err != nil {
			t.Fatal(err)
		}
		for i := range verifyEvery - 1 {
			sign(t, k, digest(i))
		}
		d.do = fault
		if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest(0), sign(t, k, digest(0))); err != nil {
			t.Errorf("%s: a wrong signature left the house: %v", name, err)
		}
		made := d.made
		sign(t, k, digest(1))
		sign(t, other, digest(1))
		if d.made != made || k.Backend() != GoName || other.Backend() != GoName {
			t.Errorf("%s: %d signatures after it was found out, backends %s and %s", name, d.made-made, k.Backend(), other.Backend())
		}
		if _, err := l.Signer(key); !errors.Is(err, errRetired) {
			t.Errorf("%s: it takes a new key: %v", name, err)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "crypto/rsa until the next start") {
			t.Errorf("%s: the log has %d lines:\n%s", name, n, log.String())
		}
		if n := testutil.ToFloat64(l.retired); n != 1 {
			t.Errorf("%s: segue_sign_fallbacks_total is %v", name, n)
		}
	}
}

// Those who wait while the library is given up do not ask it any more, and it is given up once.
func TestManyFindOutAtOnce(t *testing.T) {
	t.Parallel()
	key := newKey(t, 1024)
	synctest.Test(t, func(t *testing.T) {
		const signings, connections = 2, 9
		gate := make(chan struct{})
		d := &double{}
		l := newDouble(t, d, Options{Signings: signings})
		k, err := l.Signer(key)
		if err != nil {
			t.Fatal(err)
		}
		d.do = func([]byte) error { <-gate; return errBroken }
		for i := range connections {
			go func() {
				if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest(i), sign(t, k, digest(i))); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			}()
		}
		synctest.Wait()
		made := d.made
		close(gate)
		synctest.Wait()
		if d.made != made || testutil.ToFloat64(l.retired) != 1 {
			t.Errorf("%d more signatures were asked for, and it was given up %v times", d.made-made, testutil.ToFloat64(l.retired))
		}
	})
}

func TestOldLibrariesAreRefused(t *testing.T) {
	t.Parallel()
	for number, want := range map[uint64]string{
		0x30000040: "3.0.4", 0x30000000: "3.0.0", 0x1010117f: "1.1.23", 0x20000000: "2.0.0", 0: "0.0.0",
	} {
		if _, err := newLibrary(&double{number: number}, Options{}); !errors.Is(err, ErrOld) || !strings.HasSuffix(err.Error(), "it is "+want) {
			t.Errorf("%#x: %v", number, err)
		}
	}
	for number, want := range map[uint64]string{0x30000050: "3.0.5", 0x30000130: "3.0.19", 0x30500000: "3.5.0", 0x40000010: "4.0.1"} {
		if l, err := newLibrary(&double{number: number}, Options{}); err != nil || l.Version() != want {
			t.Errorf("%#x: %v", number, err)
		}
	}
	if err := worst([]error{ErrMissing, fmt.Errorf("%w: it is 3.0.2", ErrOld), ErrMissing}); !errors.Is(err, ErrOld) {
		t.Errorf("told is %v, not that there is an old one", err)
	}
}

// Connections are many, threads must not be.
func TestSigningIsBoundedAndInOrder(t *testing.T) {
	t.Parallel()
	key := newKey(t, 1024)
	synctest.Test(t, func(t *testing.T) {
		const signings, connections = 3, 500
		gate := make(chan struct{})
		d := &double{}
		l := newDouble(t, d, Options{Signings: signings})
		k, err := l.Signer(key)
		if err != nil {
			t.Fatal(err)
		}
		d.do = func([]byte) error { <-gate; return nil }
		var mu sync.Mutex
		var order []int
		for i := range connections {
			go func() {
				sign(t, k, digest(i))
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			}()
			synctest.Wait() // until it signs or waits
		}
		for n := range connections {
			if under := d.made - 1 - n; under != min(signings, connections-n) {
				t.Fatalf("%d signatures are under way, %d are done", under, n)
			}
			gate <- struct{}{}
			synctest.Wait()
		}
		// Those under way end in any order; nobody passes more than these.
		if len(order) != connections {
			t.Errorf("%d signatures", len(order))
		}
		for at, i := range order {
			if at-i >= signings || i-at >= signings {
				t.Errorf("connection %d was served as number %d", i, at)
			}
		}
	})
}

func TestCloseFreesTheKeys(t *testing.T) {
	t.Parallel()
	keys := []*rsa.PrivateKey{newKey(t, 1024), newKey(t, 1024)}
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		d := &double{}
		l := newDouble(t, d, Options{Signings: 3})
		var fast []*Key
		for _, key := range keys {
			k, err := l.Signer(key)
			if err != nil {
				t.Fatal(err)
			}
			fast = append(fast, k)
		}
		d.do = func([]byte) error { <-gate; return nil }
		go sign(t, fast[0], digest(0))
		go sign(t, fast[1], digest(0))
		synctest.Wait()
		var closed atomic.Int32
		for range 2 {
			go func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				closed.Add(1)
			}()
			synctest.Wait()
		}
		if closed.Load() > 0 || d.done != 0 {
			t.Errorf("%d closed, %d keys freed while two sign", closed.Load(), d.done)
		}
		close(gate)
		synctest.Wait()
		if closed.Load() != 2 || d.done != 2 || len(d.keys) != 0 {
			t.Errorf("%d closed, %d keys freed, %d left", closed.Load(), d.done, len(d.keys))
		}
		made := d.made
		for i, k := range fast {
			if err := rsa.VerifyPKCS1v15(&keys[i].PublicKey, crypto.SHA256, digest(1), sign(t, k, digest(1))); err != nil {
				t.Errorf("after the end: %v", err)
			}
		}
		if err := l.Close(); err != nil || d.made != made || d.done != 2 || testutil.ToFloat64(l.retired) != 0 {
			t.Errorf("a second Close: %v, %d signatures, %d keys freed", err, d.made-made, d.done)
		}
	})
}
