// SPDX-License-Identifier: Apache-2.0

package libcrypto

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// verifyEvery is how many signatures of a key are made for each one that is
// verified. Verifying takes a seventh of the time of signing.
const verifyEvery = 128

// Key signs with one private key, by libcrypto while that is trusted and by
// crypto/rsa else. It is safe for concurrent use. Make it with [Library.Signer].
type Key struct {
	lib    *Library
	key    *rsa.PrivateKey
	h      handle
	signed atomic.Uint32
}

// Public implements [crypto.Signer]; the result is an [*rsa.PublicKey].
func (k *Key) Public() crypto.PublicKey { return k.key.Public() }

// Backend is the name of what makes the next signature: [Name] or [GoName].
func (k *Key) Backend() string {
	if k.lib.out.Load() {
		return GoName
	}
	return Name
}

// Sign implements [crypto.Signer]. It waits for its turn, in the order of the calls.
func (k *Key) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, pss := opts.(*rsa.PSSOptions); pss || opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size || !k.lib.enter() {
		return k.key.Sign(random, digest, opts)
	}
	defer k.lib.leave()
	sig, err := k.sign(digest)
	if err == nil && k.signed.Add(1)%verifyEvery == 0 {
		err = k.verify(digest, sig)
	}
	if err != nil {
		k.lib.retire(err) // before the next one gets the slot
		return k.key.Sign(random, digest, opts)
	}
	return sig, nil
}

// try makes the first signature.
func (k *Key) try() error {
	digest := sha256.Sum256([]byte("the first signature of a key"))
	sig, err := k.sign(digest[:])
	if err != nil {
		return err
	}
	return k.verify(digest[:], sig)
}

// sign asks the library; the caller has a slot.
func (k *Key) sign(digest []byte) ([]byte, error) {
	sig := make([]byte, k.key.Size())
	return sig, k.lib.ops.sign(k.h, sig, digest)
}

var errWrong = errors.New("the signature is wrong")

func (k *Key) verify(digest, sig []byte) error {
	if err := rsa.VerifyPKCS1v15(&k.key.PublicKey, crypto.SHA256, digest, sig); err != nil {
		return fmt.Errorf("%w: %w", errWrong, err)
	}
	return nil
}
