// SPDX-License-Identifier: Apache-2.0

package verp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// ErrRing is wrapped by the errors of [ParseRing] and [Ring.Rotate].
var ErrRing = errors.New("bad key ring")

// SecretSize is the length of a key in octets.
const SecretSize = 32

// Ring is the keys that sign and verify tokens. Any number of goroutines may use
// it. Its String hides the keys.
type Ring struct {
	rotate sync.Mutex            // one Rotate at a time
	keys   atomic.Pointer[[]key] // the first signs; there is at least one; never changed in place
}

func ringOf(keys []key) *Ring {
	r := &Ring{}
	r.keys.Store(&keys)
	return r
}

// held is the keys, the one that signs first.
func (r *Ring) held() []key { return *r.keys.Load() }

type key struct {
	id     byte
	secret [SecretSize]byte
}

// Generate makes a ring of one new key, whose secret is read from random
// (crypto/rand.Reader outside tests).
func Generate(random io.Reader) (*Ring, error) {
	k, err := newKey(1, random)
	if err != nil {
		return nil, err
	}
	return ringOf([]key{k}), nil
}

// Rotate puts a new key first, which signs from then on; the others still verify. The
// new text of the ring goes to save before the first token is signed by the new key: no
// token may be out whose key a crash can take. Where save fails, the ring stays as it was.
// It fails too when no key id of the 256 is free.
func (r *Ring) Rotate(random io.Reader, save func(text []byte) error) error {
	r.rotate.Lock()
	defer r.rotate.Unlock()
	old := r.held()
	next := old[0].id + 1
	for tries := 0; find(old, next) != nil; tries++ {
		if tries > 255 {
			return fmt.Errorf("%w: all 256 key ids are in use; delete the oldest lines", ErrRing)
		}
		next++
	}
	k, err := newKey(next, random)
	if err != nil {
		return err
	}
	keys := append([]key{k}, old...)
	if err := save(text(keys)); err != nil {
		return fmt.Errorf("saving the key ring with its new key: %w", err)
	}
	r.keys.Store(&keys)
	return nil
}

func newKey(id byte, random io.Reader) (key, error) {
	k := key{id: id}
	if _, err := io.ReadFull(random, k.secret[:]); err != nil {
		return key{}, fmt.Errorf("reading random bytes for a key: %w", err)
	}
	return k, nil
}

// IDs are the ids of the keys, that of the one that signs first.
func (r *Ring) IDs() []byte {
	keys := r.held()
	ids := make([]byte, len(keys))
	for i := range keys {
		ids[i] = keys[i].id
	}
	return ids
}

func find(keys []key, id byte) *key {
	for i := range keys {
		if keys[i].id == id {
			return &keys[i]
		}
	}
	return nil
}

// Text is the ring as its file holds it: one line a key, its id and its secret
// in base64, the signing key first. It is secret: mode 0600.
func (r *Ring) Text() []byte { return text(r.held()) }

func text(keys []key) []byte {
	var b strings.Builder
	b.WriteString("# Keys of segue's return paths and tokens: id and secret. segue tokens rotate adds one.\n")
	b.WriteString("# The first signs. The others verify what is still out: unsubscribe links work for as long as\n")
	b.WriteString("# the line of their key is here. Delete a line only if somebody else has its secret.\n")
	for i := range keys {
		fmt.Fprintf(&b, "%d %s\n", keys[i].id, base64.StdEncoding.EncodeToString(keys[i].secret[:]))
	}
	return []byte(b.String())
}

// ParseRing reads what [Ring.Text] wrote. Empty lines and lines that begin with
// # are skipped. The error wraps [ErrRing], names the line and never quotes it.
func ParseRing(text []byte) (*Ring, error) {
	var keys []key
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
		if find(keys, k.id) != nil {
			return nil, fmt.Errorf("line %d: %w: key id %d occurs twice", n, ErrRing, k.id)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: it holds no key; move the file away to have a new one made", ErrRing)
	}
	return ringOf(keys), nil
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
func (r *Ring) String() string { return fmt.Sprintf("verp ring of %d keys", len(r.held())) }

// GoString is String, so that %#v shows no key either.
func (r *Ring) GoString() string { return r.String() }
