// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// maxMarks is how many right logins are remembered: an application that comes from
// ever new addresses must not make the table grow.
const maxMarks = 10000

// memory remembers logins that were right, as HMACs under a key that lives as
// long as the process: an application that opens a connection per message must not
// cost 20 ms and 19 MiB each time, and must get in while strangers guess at its
// name. The client's address is part of a mark, or strangers could guess here.
type memory struct {
	key  []byte
	keep time.Duration

	mu struct {
		sync.Mutex
		until map[mark]time.Time
	}
}

type mark [sha256.Size]byte

func newMemory(keep time.Duration) *memory {
	m := &memory{key: make([]byte, 32), keep: keep}
	_, _ = rand.Read(m.key) // never fails, see crypto/rand
	m.mu.until = map[mark]time.Time{}
	return m
}

// mark stands for the password of an account, used from a host. Only the password,
// which comes last, can hold a NUL.
func (m *memory) mark(host, name, passwordHash string, password []byte) mark {
	h := hmac.New(sha256.New, m.key)
	for _, part := range []string{host, name, passwordHash} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	h.Write(password)
	return mark(h.Sum(nil))
}

// has reports whether k is remembered, and remembers it anew.
func (m *memory) has(k mark, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !now.Before(m.mu.until[k]) {
		return false
	}
	m.mu.until[k] = now.Add(m.keep)
	return true
}

func (m *memory) add(k mark, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mu.until) >= maxMarks {
		for old := range m.mu.until { // whichever comes: it costs its owner one hash
			delete(m.mu.until, old)
			break
		}
	}
	m.mu.until[k] = now.Add(m.keep)
}

// maxTallies is the size of a table of failures, 1 MiB. With passwords checked at
// some tens a second, a window holds too few failures to fill it by chance.
const maxTallies = 1 << 16

// failures counts failed logins by key within a window that begins with the
// first. Keys are hashed into a table of fixed size under a seed of its own:
// strangers can neither make it grow, nor aim at the tally of somebody else, nor
// see by how it fills which names exist.
type failures struct {
	window time.Duration
	seed   maphash.Seed

	mu struct {
		sync.Mutex
		tallies []tally
	}
}

type tally struct {
	until int64 // Unix time in ns
	n     int
}

func newFailures(window time.Duration) *failures {
	f := &failures{window: window, seed: maphash.MakeSeed()}
	f.mu.tallies = make([]tally, maxTallies)
	return f
}

func (f *failures) at(key string) int { return int(maphash.String(f.seed, key) % maxTallies) }

func (f *failures) count(key string, now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &f.mu.tallies[f.at(key)]
	if !f.running(t, now) {
		return 0
	}
	return t.n
}

// running reports whether the window of a tally has not ended. One that began in
// the future has: the clock was set back since.
func (f *failures) running(t *tally, now time.Time) bool {
	left := time.Duration(t.until - now.UnixNano())
	return 0 < left && left <= f.window
}

func (f *failures) add(key string, now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &f.mu.tallies[f.at(key)]
	if !f.running(t, now) {
		*t = tally{until: now.Add(f.window).UnixNano()}
	}
	t.n++
	return t.n
}

// hostKey is whom failures are counted against: an IPv4 address or an IPv6 /64.
func hostKey(a netip.Addr) string {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}
