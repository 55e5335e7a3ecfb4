// SPDX-License-Identifier: Apache-2.0

package segment

import "github.com/seguemta/segue/segment/rule"

// Most contacts do few of the things that rules ask about, and the first of those
// is looked up for nothing: that the store has no series of somebody takes as long
// to find out as to read them. Memory knows it of whom the pass over all contacts
// found none, and of who is new; after a restart of nobody, until the verifier
// comes there. It knows what is true of the store: a contact is taken out before
// the commit that writes its first series.

// traceless reports whether it is known that the store has no series of a contact.
func (m *memory) traceless(id uint64) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, i := id/chunkSize, id%chunkSize
	return n < uint64(len(m.chunks)) && m.chunks[n] != nil && m.chunks[n].traceless[i/64]>>(i%64)&1 == 1
}

// trace notes that the store may have series of a contact.
func (m *memory) trace(id uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, i := id/chunkSize, id%chunkSize; n < uint64(len(m.chunks)) && m.chunks[n] != nil {
		m.chunks[n].traceless[i/64] &^= 1 << (i % 64)
	}
}

// untrace notes that it has none. The caller holds d.write, and found out since.
func (m *memory) untrace(id uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.untraceOne(id)
}

// untraceOne is untrace for who holds mu.
func (m *memory) untraceOne(id uint64) {
	if n, i := id/chunkSize, id%chunkSize; n < uint64(len(m.chunks)) && m.chunks[n] != nil {
		m.chunks[n].traceless[i/64] |= 1 << (i % 64)
	}
}

// untraceBut notes that the store has no series of the contacts from one up to
// another, but for those that were found to have some, by their distance from the
// first, and for those that were written since.
func (m *memory) untraceBut(first, last uint64, traced rule.Bits, written map[uint64]struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := first; id <= last; id++ {
		if _, ok := written[id]; !ok && !traced.Has(int(id-first)) { //nolint:gosec // within a window
			m.untraceOne(id)
		}
	}
}

// retraceAll forgets what is known.
func (m *memory) retraceAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.chunks {
		if c != nil {
			clear(c.traceless[:])
		}
	}
}
