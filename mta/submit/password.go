// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/crypto/argon2"
)

// ErrPasswordHash is wrapped by every error about the form of a password hash.
var ErrPasswordHash = errors.New("bad password hash")

// The cost of [HashPassword]: argon2id with 19 MiB, two passes and one lane, the
// smallest that the OWASP password page advises. It takes about 20 ms. More
// memory would be held once per login that is being checked.
const (
	hashMemory = 19 << 10 // KiB
	hashPasses = 2
	hashLanes  = 1
	hashSalt   = 16 // octets
	hashKey    = 32 // octets
)

// HashPassword makes the value of password_hash: argon2id in the PHC string
// format, with a fresh salt.
func HashPassword(password []byte) string {
	salt := make([]byte, hashSalt)
	_, _ = rand.Read(salt) // never fails, see crypto/rand
	h := hash{memory: hashMemory, passes: hashPasses, lanes: hashLanes, salt: salt}
	h.key = h.derive(password, hashKey)
	return h.String()
}

// VerifyPassword reports whether password is the one behind encoded, in time
// that does not depend on where they differ. The error wraps [ErrPasswordHash].
func VerifyPassword(encoded string, password []byte) (bool, error) {
	h, err := parseHash(encoded)
	if err != nil {
		return false, err
	}
	return h.matches(password), nil
}

// hash is an argon2id hash of RFC 9106, version 0x13.
type hash struct {
	memory uint32 // KiB
	passes uint32
	lanes  uint8
	salt   []byte
	key    []byte
}

// Limits of what a configuration may ask for: a login must not take the machine.
const (
	maxMemory = 1 << 20 // KiB: 1 GiB
	maxPasses = 64
	maxLanes  = 16
)

func parseHash(s string) (hash, error) {
	f := strings.Split(s, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" {
		return hash{}, fmt.Errorf("%w: it must begin with $argon2id$ and have five parts (segue check --hash makes one)", ErrPasswordHash)
	}
	if f[2] != "v=19" {
		return hash{}, fmt.Errorf("%w: version %q, only v=19 is known", ErrPasswordHash, f[2])
	}
	var h hash
	if _, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.lanes); err != nil || f[3] != h.cost() {
		return hash{}, fmt.Errorf("%w: cost %q is not m=N,t=N,p=N", ErrPasswordHash, f[3])
	}
	if h.lanes < 1 || h.lanes > maxLanes || h.passes < 1 || h.passes > maxPasses || h.memory < 8*uint32(h.lanes) || h.memory > maxMemory {
		return hash{}, fmt.Errorf("%w: cost %q is beyond what is sensible", ErrPasswordHash, f[3])
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(f[4]); err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return hash{}, fmt.Errorf("%w: the salt is not base64 of 8 to 64 octets", ErrPasswordHash)
	}
	if h.key, err = base64.RawStdEncoding.Strict().DecodeString(f[5]); err != nil || len(h.key) < 16 || len(h.key) > 64 {
		return hash{}, fmt.Errorf("%w: the hash is not base64 of 16 to 64 octets", ErrPasswordHash)
	}
	return h, nil
}

// decoys are hashes that no password has: what a login with an unknown name is
// checked against, so that it takes as long as any other. There is one for each cost in
// use, or a cost that only real names have would tell which those are.
func decoys(accounts map[string]*account) []hash {
	costs := map[string]hash{}
	for _, acc := range accounts {
		if acc.login {
			costs[acc.hash.cost()] = acc.hash
		}
	}
	if len(costs) == 0 {
		costs[""] = hash{memory: hashMemory, passes: hashPasses, lanes: hashLanes}
	}
	list := make([]hash, 0, len(costs))
	for _, cost := range slices.Sorted(maps.Keys(costs)) {
		h := costs[cost]
		h.salt, h.key = make([]byte, hashSalt), make([]byte, hashKey)
		_, _ = rand.Read(h.salt) // never fails, see crypto/rand
		_, _ = rand.Read(h.key)
		list = append(list, h)
	}
	return list
}

func (h hash) cost() string { return fmt.Sprintf("m=%d,t=%d,p=%d", h.memory, h.passes, h.lanes) }

// String is the PHC form.
func (h hash) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$" + h.cost() + "$" + b64(h.salt) + "$" + b64(h.key)
}

func (h hash) derive(password []byte, n int) []byte {
	return argon2.IDKey(password, h.salt, h.passes, h.memory, h.lanes, uint32(n)) //nolint:gosec // n is at most 64
}

func (h hash) matches(password []byte) bool {
	return subtle.ConstantTimeCompare(h.derive(password, len(h.key)), h.key) == 1
}
