// SPDX-License-Identifier: Apache-2.0

package track

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
)

// Key is one write key: whose events are taken, and how many.
type Key struct {
	Name      string
	Hash      string // of [HashKey]
	PerSecond int    // events, in the long run; 0 = without limit
}

// MinKey is the least length of a key in octets. Segment's are 32 characters, ours
// 26; what is much shorter can be found from its hash.
const MinKey = 16

const hashPrefix = "sha256:"

// NewKey makes a write key of 130 random bits.
func NewKey() string { return rand.Text() }

// HashKey is what a configuration keeps of a key: sha256: and the SHA-256 in
// hexadecimal digits, as sha256sum prints it.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hashPrefix + hex.EncodeToString(sum[:])
}

func parseHash(text string) ([sha256.Size]byte, error) {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	sum, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sum) != sha256.Size {
		return [sha256.Size]byte{}, errors.New("the hash of a write key is sha256: and 64 hexadecimal digits (segue check --write-key makes one)")
	}
	return [sha256.Size]byte(sum), nil
}

// keyring finds keys.
type keyring struct{ list []*writer }

// writer is a key in use.
type writer struct {
	name string
	hash [sha256.Size]byte
	bucket
}

func newKeyring(keys []Key) (keyring, error) {
	var ring keyring
	for _, k := range keys {
		hash, err := parseHash(k.Hash)
		if err != nil {
			return keyring{}, fmt.Errorf("write key %q: %w", k.Name, err)
		}
		for _, w := range ring.list {
			if w.hash == hash {
				return keyring{}, fmt.Errorf("write keys %q and %q are the same key: each has its own", w.name, k.Name)
			}
		}
		ring.list = append(ring.list, &writer{name: k.Name, hash: hash, bucket: bucket{rate: float64(k.PerSecond)}})
	}
	return ring, nil
}

// find returns whose key this is, or nil. It looks at all of them, each in
// constant time: what it takes does not tell how much of a guess was right.
func (r keyring) find(key string) *writer {
	sum := sha256.Sum256([]byte(key))
	var found *writer
	for _, w := range r.list {
		if subtle.ConstantTimeCompare(sum[:], w.hash[:]) == 1 {
			found = w
		}
	}
	return found
}

// bucket limits events per second. It gives what is asked while it is not empty, and
// owes the rest: a batch is not cut, and one that is larger than a second's share waits
// no longer than others.
type bucket struct {
	rate float64 // 0 = without limit

	mu struct {
		sync.Mutex
		left float64
		at   time.Time
	}
}

// take takes n events, or says how long to wait before the next attempt.
func (b *bucket) take(n int, now time.Time) (wait time.Duration) {
	if b.rate == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := max(now.Sub(b.mu.at), 0) // a clock that was set back gives nothing
	if b.mu.at.IsZero() {
		gone = time.Second
	}
	b.mu.left = min(b.mu.left+gone.Seconds()*b.rate, b.rate)
	b.mu.at = now
	if b.mu.left <= 0 {
		return time.Duration(math.Ceil((1-b.mu.left)/b.rate)) * time.Second
	}
	b.mu.left -= float64(n)
	return 0
}
