// SPDX-License-Identifier: Apache-2.0

package verp

import (
	"crypto/sha256"
	"encoding/binary"
)

// AddressSize is how many octets of an address's keyed hash an unsubscribe token
// carries: among a thousand million addresses two share them with odds of 1 to 10^8.
const AddressSize = 11

// Subscription is what an unsubscribe token names.
type Subscription struct {
	// Address is the head of the keyed hash that stands for the address in the
	// suppression list, so that a token needs no other record to suppress it.
	Address [AddressSize]byte
	// Scope is the tag of what it is unsubscribed from: [Tag] of a suppression scope
	// such as "stream:marketing" or "list:weekly".
	Scope Scope
	// Message and Recipient name the mail that carried the token, for as long as
	// anybody remembers it. They attribute the unsubscribe and decide nothing.
	Message   uint64
	Recipient uint32
}

// Scope is a short stand-in for the name of a suppression scope: compare it with
// the tags of the scopes that exist.
type Scope uint32

// Tag is the stand-in of a scope's name.
func Tag(scope string) Scope {
	sum := sha256.Sum256([]byte("segue scope 1\x00" + scope))
	return Scope(binary.BigEndian.Uint32(sum[:]))
}

const unsubscribeSize = 1 + AddressSize + 4 + 8 + 4 // key id, address, scope, message, recipient

// EncodeUnsubscribe makes an unsubscribe token, signed by the ring's first key, in
// lower case. It is a whole local part: nothing fits beside it.
func (r *Ring) EncodeUnsubscribe(s *Subscription) string {
	var raw [unsubscribeSize + macSize]byte
	at := 1 + copy(raw[1:], s.Address[:])
	binary.BigEndian.PutUint32(raw[at:], uint32(s.Scope))
	binary.BigEndian.PutUint64(raw[at+4:], s.Message)
	binary.BigEndian.PutUint32(raw[at+12:], s.Recipient)
	return r.seal(Unsubscribe, raw[:], UnsubscribeSize)
}

// DecodeUnsubscribe reads an unsubscribe token in any case. The error is one of
// those of [Ring.Decode]; with an error the subscription is zero.
func (r *Ring) DecodeUnsubscribe(token string) (Subscription, error) {
	var raw [unsubscribeSize + macSize]byte
	if err := r.open(Unsubscribe, raw[:], token, UnsubscribeSize); err != nil {
		return Subscription{}, err
	}
	var s Subscription
	at := 1 + copy(s.Address[:], raw[1:])
	s.Scope = Scope(binary.BigEndian.Uint32(raw[at:]))
	s.Message = binary.BigEndian.Uint64(raw[at+4:])
	s.Recipient = binary.BigEndian.Uint32(raw[at+12:])
	return s, nil
}
