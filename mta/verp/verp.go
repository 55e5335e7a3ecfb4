// SPDX-License-Identifier: Apache-2.0

// Package verp makes and reads the signed tokens by which feedback finds the
// recipient it is about: the local part of a return path (variable envelope
// return path), the X-Segue-Ref header that complaint reports carry back, and
// the unsubscribe token: the last part of an unsubscribe link and the local part of
// the address for unsubscribe mail.
//
// A token names a message and one of its recipients and is signed by
// HMAC-SHA256, cut to 88 bits: whoever does not hold the key can neither make a
// token for another recipient nor turn one kind into another, so forged bounces,
// complaints and unsubscribes change nothing. It is letters and digits only, and
// means the same in upper, lower or mixed case, because mail comes back through
// systems that fold local parts. A token is not secret: it does not hide the numbers
// it carries and whoever received the mail has it.
//
// Return paths and references have 40 octets ([Ring.Encode], [Ring.Decode]). What
// they name must be remembered for as long as they are honoured. An unsubscribe token
// never expires, so it stands by itself: it carries what is needed to suppress an address
// years later, when nothing else is known of the mail ([Ring.EncodeUnsubscribe],
// [Ring.DecodeUnsubscribe]). It has 64 octets, as many as a local part may have.
//
// The last letter of a token carries its version, in the three bits that its
// base32 has to spare. This package makes and reads version 0, and tells a later one
// from a forged one ([ErrVersion]): after a downgrade that is no attack.
//
// Start with [Generate] or [ParseRing]. [Ring.Rotate] adds a new key that signs, also
// while the ring is in use; the keys before it still verify. The package has no clock and
// no disk: [Ring.Text] is what its owner writes to a file, and how long a token is
// honoured is the owner's decision.
package verp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of [Ring.Decode].
var (
	// ErrMalformed means that the text is not a token of this kind at all:
	// other mail to the address, not an attack.
	ErrMalformed = errors.New("not a token")
	// ErrForged means that the text has the form of a token and its signature is wrong.
	ErrForged = errors.New("token signature is wrong")
	// ErrUnknownKey means that the text has the form of a token and names a key that the ring
	// does not hold: forged, or made before a key was thrown away.
	ErrUnknownKey = errors.New("token was signed by an unknown key")
	// ErrVersion means that the text has the form of a token of a later version: made
	// before a downgrade, or made up. Nobody here can tell.
	ErrVersion = errors.New("token is of a later version")
)

// Kind is what a token is for. It is the token's first letter, and part of what
// is signed.
type Kind byte

// The kinds of tokens.
const (
	ReturnPath  Kind = 'b' // local part of the envelope sender
	Reference   Kind = 'r' // X-Segue-Ref
	Unsubscribe Kind = 'u' // last part of an unsubscribe link, local part for unsubscribe mail
)

// Lengths of tokens in octets.
const (
	Size            = 1 + 39 // a return path, a reference
	UnsubscribeSize = 1 + 63
)

const (
	macSize  = 11
	bodySize = 1 + 8 + 4 // key id, message, recipient
)

// Encode makes the token of one recipient of a message, signed by the ring's
// first key, in lower case. Kind is ReturnPath or Reference.
func (r *Ring) Encode(kind Kind, message uint64, recipient uint32) string {
	var raw [bodySize + macSize]byte
	binary.BigEndian.PutUint64(raw[1:], message)
	binary.BigEndian.PutUint32(raw[9:], recipient)
	return r.seal(kind, raw[:], Size)
}

// Decode reads a return path or a reference in any case. The error wraps
// [ErrMalformed], [ErrForged], [ErrUnknownKey] or [ErrVersion]; with an error the
// numbers are 0.
func (r *Ring) Decode(kind Kind, token string) (message uint64, recipient uint32, err error) {
	var raw [bodySize + macSize]byte
	if err := r.open(kind, raw[:], token, Size); err != nil {
		return 0, 0, err
	}
	return binary.BigEndian.Uint64(raw[1:]), binary.BigEndian.Uint32(raw[9:]), nil
}

// seal signs raw, of which key id and signature are not yet filled in.
func (r *Ring) seal(kind Kind, raw []byte, size int) string {
	k := &r.held()[0]
	raw[0] = k.id
	mac := k.sign(kind, raw[:len(raw)-macSize])
	copy(raw[len(raw)-macSize:], mac[:macSize])

	token := make([]byte, 1, size)
	token[0] = byte(kind)
	return string(appendBase32(token, raw))
}

// open fills raw from a token and checks its signature.
func (r *Ring) open(kind Kind, raw []byte, token string, size int) error {
	if len(token) < size {
		return fmt.Errorf("%w: %d octets, a token has %d", ErrMalformed, len(token), size)
	}
	if fold(token[0]) != byte(kind) {
		return fmt.Errorf("%w: its kind is %q, not %q", ErrMalformed, token[0], byte(kind))
	}
	version, ok := versionOf(token[1:])
	switch {
	case !ok:
		return fmt.Errorf("%w: it is not base32", ErrMalformed)
	case version != 0:
		return fmt.Errorf("%w (%d)", ErrVersion, version)
	case !decodeBase32(raw, token[1:]):
		return fmt.Errorf("%w: %d octets, a token has %d", ErrMalformed, len(token), size)
	}
	k := find(r.held(), raw[0])
	if k == nil {
		return fmt.Errorf("%w (id %d)", ErrUnknownKey, raw[0])
	}
	mac := k.sign(kind, raw[:len(raw)-macSize])
	if !hmac.Equal(mac[:macSize], raw[len(raw)-macSize:]) {
		return ErrForged
	}
	return nil
}

// versionBits are the low bits of the last letter: 24 octets and 39 octets both leave
// three of them. A later version may have more letters, and ends in its number all the same.
const versionBits = 3

// versionOf is the version of a token without its kind; false where it is not base32.
func versionOf(text string) (version byte, ok bool) {
	for i := range len(text) {
		if version, ok = value(fold(text[i])); !ok {
			return 0, false
		}
	}
	return version & (1<<versionBits - 1), ok
}

// sign is the HMAC over purpose, kind and body.
func (k *key) sign(kind Kind, body []byte) [sha256.Size]byte {
	h := hmac.New(sha256.New, k.secret[:])
	h.Write([]byte("segue token 1\x00"))
	h.Write([]byte{byte(kind)})
	h.Write(body)
	var out [sha256.Size]byte
	h.Sum(out[:0])
	return out
}
