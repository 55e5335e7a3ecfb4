// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"strings"
	"sync"
	"time"

	"github.com/seguemta/segue/segment/store"
	"github.com/seguemta/segue/segment/tier"
)

// memory is what a check before delivery reads: the state of every contact by
// id and the suppressions by hash. It shows what is committed, nothing else.
type memory struct {
	mu     sync.RWMutex
	chunks []*chunk // by id / chunkSize; nil where no contact is
	count  int

	addresses addressIndex

	// Nearly every address has one suppression: the first lives in first, others
	// in more.
	first map[store.Head]mark
	more  map[store.Head][]mark
	marks int

	soft map[uint64]store.SoftBounces // runs of soft bounces by contact

	names   []string // texts of marks by number
	numbers map[string]uint32
	scopes  map[scope]uint32
	list    []scope // by number
}

const chunkSize = 4096

// chunk is the contacts of neighbouring ids: their state, the second of their
// entry in the wheel (0 = none), the tier they were last judged to have, and of
// which it is known that the store has no series.
type chunk struct {
	states    [chunkSize]store.State
	armed     [chunkSize]uint32
	tiers     [chunkSize]tier.Tier
	traceless [chunkSize / 64]uint64
}

// mark is a suppression in memory.
type mark struct {
	scope   uint32 // index into list
	reason  uint32 // index into names
	expires uint32 // seconds since 1970, 0 = never
}

// scope is a suppression scope taken apart, so that looking one up needs no
// concatenation.
type scope struct {
	kind scopeKind
	name string
}

type scopeKind uint8

const (
	scopeAll scopeKind = iota
	scopeStream
	scopeDomain
	scopeList
)

func splitScope(s string) (scope, bool) {
	if s == ScopeAll {
		return scope{}, true
	}
	for kind := scopeStream; kind <= scopeList; kind++ {
		if name, ok := strings.CutPrefix(s, kind.prefix()); ok && name != "" {
			return scope{kind, name}, true
		}
	}
	return scope{}, false
}

func (s scope) String() string {
	if s.kind == scopeAll {
		return ScopeAll
	}
	return s.kind.prefix() + s.name
}

// prefix is what the text of a scope begins with before its name.
func (k scopeKind) prefix() string {
	switch k {
	case scopeList:
		return listPrefix
	case scopeStream:
		return streamPrefix
	case scopeDomain:
		return domainPrefix
	default:
		return ""
	}
}

// covers reports whether mail is in the scope.
func (s scope) covers(m *Mail) bool {
	switch s.kind {
	case scopeList:
		return s.name == m.List
	case scopeStream:
		return s.name == m.Stream
	case scopeDomain:
		return s.name == m.Domain
	default:
		return true
	}
}

func (m *memory) init() {
	m.first = map[store.Head]mark{}
	m.more = map[store.Head][]mark{}
	m.numbers = map[string]uint32{}
	m.scopes = map[scope]uint32{}
	m.soft = map[uint64]store.SoftBounces{}
}

// set stores a contact's state, and reports whether it is that of a new contact. The
// caller holds mu, or is alone.
func (m *memory) set(id uint64, st store.State) (fresh bool) {
	n := id / chunkSize
	for uint64(len(m.chunks)) <= n {
		m.chunks = append(m.chunks, nil)
	}
	if m.chunks[n] == nil {
		m.chunks[n] = new(chunk)
	}
	at := &m.chunks[n].states[id%chunkSize]
	if fresh = at.Address == 0; fresh {
		m.count++
	}
	if at.Address == st.Address {
		*at = st
		return fresh
	}
	if !fresh {
		m.unindex(id)
	}
	if *at = st; st.Address != 0 {
		m.index(id)
	}
	return fresh
}

// state returns a contact's state; false where no contact has the id.
func (m *memory) state(id uint64) (store.State, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := id / chunkSize
	if n >= uint64(len(m.chunks)) || m.chunks[n] == nil {
		return store.State{}, false
	}
	st := m.chunks[n].states[id%chunkSize]
	return st, st.Address != 0
}

// statesFrom copies the states from an id on, up to as many as there is room for, and
// returns how many. Where no contact has an id, the state is zero.
func (m *memory) statesFrom(id uint64, to []store.State) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	to = to[:min(uint64(len(to)), chunkSize-id%chunkSize)]
	if n := id / chunkSize; n < uint64(len(m.chunks)) && m.chunks[n] != nil {
		return copy(to, m.chunks[n].states[id%chunkSize:])
	}
	clear(to)
	return len(to)
}

// arm sets a contact's deadline and tier. The caller holds mu, or is alone; the
// contact is there.
func (m *memory) arm(a armed) {
	c := m.chunks[a.id/chunkSize]
	c.armed[a.id%chunkSize], c.tiers[a.id%chunkSize] = a.second, a.tier
}

// armed returns a contact's deadline and tier; false where no contact has the id.
func (m *memory) armed(id uint64) (armed, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := id / chunkSize
	if n >= uint64(len(m.chunks)) || m.chunks[n] == nil {
		return armed{id: id}, false
	}
	c, i := m.chunks[n], id%chunkSize
	return armed{id, c.armed[i], c.tiers[i]}, c.states[i].Address != 0
}

// each calls fn for every contact, in the order of ids.
func (m *memory) each(fn func(id uint64, st *store.State)) {
	m.mu.RLock()
	chunks := m.chunks
	m.mu.RUnlock()
	for n := range chunks {
		m.mu.RLock()
		c := chunks[n]
		for i := range chunkSize {
			if c != nil && c.states[i].Address != 0 {
				fn(uint64(n)*chunkSize+uint64(i), &c.states[i])
			}
		}
		m.mu.RUnlock()
	}
}

// top is the highest id, rounded up.
func (m *memory) top() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return uint64(len(m.chunks)) * chunkSize
}

func (m *memory) contacts() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.count
}

func (m *memory) suppressions() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.marks
}

// suppress adds a suppression or replaces the one of the same scope. The caller
// holds mu, or is alone. A scope that cannot be read counts as "all": a
// suppression that a newer Segue wrote must not be lost on this one.
func (m *memory) suppress(x *store.Suppression) {
	s, _ := splitScope(x.Scope)
	number, ok := m.scopes[s]
	if !ok {
		number = uint32(len(m.list)) //nolint:gosec // 2^32 scopes fit in no memory
		m.list = append(m.list, s)
		m.scopes[s] = number
	}
	reason, ok := m.numbers[x.Reason]
	if !ok {
		reason = uint32(len(m.names)) //nolint:gosec // 2^32 reasons fit in no memory
		m.names = append(m.names, x.Reason)
		m.numbers[x.Reason] = reason
	}
	k := x.Hash.Head()
	add := mark{scope: number, reason: reason, expires: seconds(x.Expires)}
	have, ok := m.first[k]
	if !ok || have.scope == number {
		m.first[k] = add
		if !ok {
			m.marks++
		}
		return
	}
	for i := range m.more[k] {
		if m.more[k][i].scope == number {
			m.more[k][i] = add
			return
		}
	}
	m.more[k] = append(m.more[k], add)
	m.marks++
}

// lift removes the suppression of one scope. The caller holds mu.
func (m *memory) lift(h store.Hash, of string) {
	s, ok := splitScope(of)
	number, known := m.scopes[s]
	if !ok || !known {
		return
	}
	k := h.Head()
	rest := append([]mark{m.first[k]}, m.more[k]...)
	if _, ok := m.first[k]; !ok {
		return
	}
	kept := rest[:0]
	for _, x := range rest {
		if x.scope != number {
			kept = append(kept, x)
		}
	}
	m.marks -= len(rest) - len(kept)
	delete(m.first, k)
	delete(m.more, k)
	if len(kept) > 0 {
		m.first[k] = kept[0]
	}
	if len(kept) > 1 {
		m.more[k] = append([]mark(nil), kept[1:]...)
	}
}

// suppressed returns the widest suppression that holds for some mail at an
// instant, nil if none does.
func (m *memory) suppressed(h *store.Hash, mail *Mail, now time.Time) *Suppression {
	m.mu.RLock()
	defer m.mu.RUnlock()
	k := h.Head()
	x, ok := m.first[k]
	if !ok {
		return nil
	}
	at := seconds(now)
	best, found := x, m.holds(x, mail, at)
	for _, y := range m.more[k] {
		if m.holds(y, mail, at) && (!found || m.list[y.scope].kind < m.list[best.scope].kind) {
			best, found = y, true
		}
	}
	if !found {
		return nil
	}
	return &Suppression{Scope: m.list[best.scope].String(), Reason: m.names[best.reason], Expires: instant(best.expires)}
}

func (m *memory) holds(x mark, mail *Mail, at uint32) bool {
	return (x.expires == 0 || x.expires > at) && m.list[x.scope].covers(mail)
}

// standing is what a further suppression of the same address and scope is measured by.
type standing struct {
	expires uint32
	reason  string
}

// covers reports whether it makes another one needless.
func (s standing) covers(expires uint32, reason string) bool {
	switch s.expires {
	case expires:
		if reason == ReasonHardBounce && s.reason != ReasonSoftBounce {
			return true // it can be a provider's error and undone: what somebody said would go with it
		}
		return weight(reason) <= weight(s.reason)
	case 0:
		return true
	default:
		return expires != 0 && expires < s.expires
	}
}

// standing returns the suppression of exactly one scope, expired or not.
func (m *memory) standing(h *store.Hash, of scope) (standing, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	number, ok := m.scopes[of]
	if !ok {
		return standing{}, false
	}
	k := h.Head()
	if x, ok := m.first[k]; ok && x.scope == number {
		return standing{x.expires, m.names[x.reason]}, true
	}
	for _, x := range m.more[k] {
		if x.scope == number {
			return standing{x.expires, m.names[x.reason]}, true
		}
	}
	return standing{}, false
}

// seconds cuts a time to what a state holds; the zero time is 0. Times before
// 1970 and after 2106 become the nearest that fits.
func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(min(max(t.Unix(), 1), 1<<32-1))
}

func instant(s uint32) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

// history is a state as package tier reads it.
func history(s *store.State) tier.State {
	return tier.State{
		FirstSent: instant(s.FirstSent), LastSent: instant(s.LastSent), LastEngaged: instant(s.LastEngaged),
		Sends: s.Sends, SendsSinceEngagement: s.Since,
	}
}
