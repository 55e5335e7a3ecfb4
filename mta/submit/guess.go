// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

// bound is how many entries the tables below hold: what strangers can fill must
// not grow.
const bound = 10000

// memory remembers passwords that were right, as HMACs under a key that lives
// as long as the process: an application that opens a connection per message must not
// cost 20 ms and 19 MiB each time.
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

// mark stands for a password of an account; a NUL cannot be part of either.
func (m *memory) mark(account string, password []byte) mark {
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte(account))
	h.Write([]byte{0})
	h.Write(password)
	return mark(h.Sum(nil))
}

func (m *memory) has(k mark, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return now.Before(m.mu.until[k])
}

func (m *memory) add(k mark, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mu.until) >= bound {
		clear(m.mu.until) // ten thousand right passwords: costs each one hash
	}
	m.mu.until[k] = now.Add(m.keep)
}

// failures counts failed logins by key within a window that begins with the
// first.
type failures struct {
	window time.Duration

	mu struct {
		sync.Mutex
		counts map[string]*tally
		rest   tally // shared by all keys for which there is no room
	}
}

type tally struct {
	n     int
	until time.Time
}

func newFailures(window time.Duration) *failures {
	f := &failures{window: window}
	f.mu.counts = map[string]*tally{}
	return f
}

func (f *failures) count(key string, now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.mu.counts[key]
	if t == nil {
		if len(f.mu.counts) < bound {
			return 0
		}
		t = &f.mu.rest
	}
	if !now.Before(t.until) {
		return 0
	}
	return t.n
}

func (f *failures) add(key string, now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.mu.counts[key]
	if t == nil {
		t = f.roomLocked(key, now)
	}
	if !now.Before(t.until) {
		*t = tally{until: now.Add(f.window)}
	}
	t.n++
	return t.n
}

func (f *failures) roomLocked(key string, now time.Time) *tally {
	if len(f.mu.counts) >= bound {
		for k, t := range f.mu.counts {
			if !now.Before(t.until) {
				delete(f.mu.counts, k)
			}
		}
	}
	if len(f.mu.counts) >= bound {
		return &f.mu.rest
	}
	t := &tally{}
	f.mu.counts[key] = t
	return t
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
