// SPDX-License-Identifier: Apache-2.0

package verp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrRing is wrapped by the errors of [ParseRing] and [Ring.Rotate].
var ErrRing = errors.New("bad key ring")

// SecretSize is the length of a key in octets.
const SecretSize = 32

// Ring is the keys that sign and verify tokens. It does not change; any number
// of goroutines may use it. Its String hides the keys.
type Ring struct {
	keys []key // the first signs; there is at least one
}

type key struct {
	id     byte
	secret [SecretSize]byte
}

// Generate makes a ring of one new key, whose secret is read from random
// (crypto/rand.Reader outside tests).
func Generate(random io.Reader) (*Ring, error) {
	return (&Ring{}).Rotate(random)
}

// Rotate returns a ring with a new key that signs and all keys of r, which
// still verify. It fails when no key id of the 256 is free: remove keys whose
// tokens no longer matter.
func (r *Ring) Rotate(random io.Reader) (*Ring, error) {
	next := byte(1)
	if len(r.keys) > 0 {
		next = r.keys[0].id + 1
	}
	for tries := 0; r.find(next) != nil; tries++ {
		if tries > 255 {
			return nil, fmt.Errorf("%w: all 256 key ids are in use; delete the oldest lines", ErrRing)
		}
		next++
	}
	k := key{id: next}
	if _, err := io.ReadFull(random, k.secret[:]); err != nil {
		return nil, fmt.Errorf("reading random bytes for a key: %w", err)
	}
	return &Ring{keys: append([]key{k}, r.keys...)}, nil
}

func (r *Ring) find(id byte) *key {
	for i := range r.keys {
		if r.keys[i].id == id {
			return &r.keys[i]
		}
	}
	return nil
}

// Text is the ring as its file holds it: one line a key, its id and its secret
// in base64, the signing key first. It is secret: mode 0600.
func (r *Ring) Text() []byte {
	var b strings.Builder
	b.WriteString("# Keys of segue's return paths and tokens: id and secret.\n")
	b.WriteString("# The first signs. The others verify tokens that are still out; delete one to disown them.\n")
	for i := range r.keys {
		fmt.Fprintf(&b, "%d %s\n", r.keys[i].id, base64.StdEncoding.EncodeToString(r.keys[i].secret[:]))
	}
	return []byte(b.String())
}

// ParseRing reads what [Ring.Text] wrote. Empty lines and lines that begin with
// # are skipped. The error wraps [ErrRing], names the line and never quotes it.
func ParseRing(text []byte) (*Ring, error) {
	r := &Ring{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if r.find(k.id) != nil {
			return nil, fmt.Errorf("line %d: %w: key id %d occurs twice", n, ErrRing, k.id)
		}
		r.keys = append(r.keys, k)
	}
	if len(r.keys) == 0 {
		return nil, fmt.Errorf("%w: it holds no key; move the file away to have a new one made", ErrRing)
	}
	return r, nil
}

func parseKey(line string) (key, error) {
	parts := strings.Fields(line)
	if len(parts) != 2 {
		return key{}, fmt.Errorf("%w: %d words, a key has an id and a secret", ErrRing, len(parts))
	}
	id, err := strconv.ParseUint(parts[0], 10, 8)
	if err != nil {
		return key{}, fmt.Errorf("%w: the id is not a number from 0 to 255", ErrRing)
	}
	k := key{id: byte(id)}
	secret, err := base64.StdEncoding.DecodeString(parts[1])
	if err != nil || len(secret) != SecretSize {
		return key{}, fmt.Errorf("%w: the secret of key %d is not %d octets in base64", ErrRing, id, SecretSize)
	}
	copy(k.secret[:], secret)
	return k, nil
}

// String counts the keys without showing them.
func (r *Ring) String() string { return fmt.Sprintf("verp ring of %d keys", len(r.keys)) }

// GoString is String, so that %#v shows no key either.
func (r *Ring) GoString() string { return r.String() }
