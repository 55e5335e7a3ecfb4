// SPDX-License-Identifier: Apache-2.0

// Package verp makes and reads the signed tokens by which feedback finds the
// recipient it is about: the local part of a return path (variable envelope
// return path), the X-Segue-Ref header that complaint reports carry back, and
// the last part of an unsubscribe link.
//
// A token names a message and one of its recipients and is signed by
// HMAC-SHA256, cut to 88 bits: whoever does not hold the key can neither make a
// token for another recipient nor turn one kind into another, so forged bounces,
// complaints and unsubscribes change nothing. It is 40 octets, letters and
// digits only, and means the same in upper, lower or mixed case, because bounce
// mail comes back through systems that fold local parts. A token is not secret:
// it does not hide the numbers it carries and whoever received the mail has it.
//
// Start with [Generate] or [ParseRing], then [Ring.Encode] and [Ring.Decode].
// The package has no clock and no disk: [Ring.Text] is what its owner writes to a
// file, and how long a token is honoured is the owner's decision.
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
)

// Kind is what a token is for. It is the token's first letter, and part of what
// is signed.
type Kind byte

// The kinds of tokens.
const (
	ReturnPath  Kind = 'b' // local part of the envelope sender
	Reference   Kind = 'r' // X-Segue-Ref
	Unsubscribe Kind = 'u' // last part of an unsubscribe link
)

// Size is the length of every token in octets.
const Size = 1 + 39

const (
	macSize  = 11
	bodySize = 1 + 8 + 4 // key id, message, recipient
)

// Encode makes the token of one recipient of a message, signed by the ring's
// first key, in lower case.
func (r *Ring) Encode(kind Kind, message uint64, recipient uint32) string {
	k := &r.keys[0]
	var raw [bodySize + macSize]byte
	raw[0] = k.id
	binary.BigEndian.PutUint64(raw[1:], message)
	binary.BigEndian.PutUint32(raw[9:], recipient)
	mac := k.sign(kind, raw[:bodySize])
	copy(raw[bodySize:], mac[:macSize])

	token := make([]byte, 1, Size)
	token[0] = byte(kind)
	return string(appendBase32(token, raw[:]))
}

// Decode reads a token of this kind in any case. The error wraps [ErrMalformed],
// [ErrForged] or [ErrUnknownKey]; with an error the numbers are 0.
func (r *Ring) Decode(kind Kind, token string) (message uint64, recipient uint32, err error) {
	if len(token) != Size {
		return 0, 0, fmt.Errorf("%w: %d octets, a token has %d", ErrMalformed, len(token), Size)
	}
	if fold(token[0]) != byte(kind) {
		return 0, 0, fmt.Errorf("%w: its kind is %q, not %q", ErrMalformed, token[0], byte(kind))
	}
	var raw [bodySize + macSize]byte
	if !decodeBase32(raw[:], token[1:]) {
		return 0, 0, fmt.Errorf("%w: it is not base32", ErrMalformed)
	}
	k := r.find(raw[0])
	if k == nil {
		return 0, 0, fmt.Errorf("%w (id %d)", ErrUnknownKey, raw[0])
	}
	mac := k.sign(kind, raw[:bodySize])
	if !hmac.Equal(mac[:macSize], raw[bodySize:]) {
		return 0, 0, ErrForged
	}
	return binary.BigEndian.Uint64(raw[1:]), binary.BigEndian.Uint32(raw[9:]), nil
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
