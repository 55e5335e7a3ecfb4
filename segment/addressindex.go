// SPDX-License-Identifier: Apache-2.0

package segment

// addressIndex finds contacts by the sum of their address, which is part of the
// state that memory holds anyway: 4 bytes for each slot, about 7 for a contact. A sum
// of 32 bits is no address, so whoever is found is who it may be; see [DB.find].
//
// It is many small tables of slots that hold ids, the next free slot taken where
// one is taken, so that one of them grows in a few milliseconds while others wait.
type addressIndex struct {
	tables [256]addressTable
}

type addressTable struct {
	slots []uint32 // ids; 0 = free. The length is a power of 2
	n     int
}

// table returns where a sum belongs: its table, and where in it to begin.
func (x *addressIndex) table(sum uint32) (t *addressTable, at uint32) {
	h := uint64(sum) * 0x9e3779b97f4a7c15
	t = &x.tables[h>>56]
	return t, uint32(h>>24) & t.mask() //nolint:gosec // the bits
}

func (t *addressTable) mask() uint32 { return uint32(max(len(t.slots), 1) - 1) } //nolint:gosec // below 2^32: ids are

// index adds a contact, by the address of its state. The caller holds mu, or is alone.
func (m *memory) index(id uint64) {
	t, _ := m.addresses.table(m.sum(bit(id)))
	if t.n*4 >= len(t.slots)*3 {
		old := t.slots
		t.slots = make([]uint32, max(2*len(old), 8))
		for _, x := range old {
			if x != 0 {
				m.place(x)
			}
		}
	}
	m.place(bit(id))
	t.n++
}

func (m *memory) place(id uint32) {
	t, at := m.addresses.table(m.sum(id))
	for t.slots[at] != 0 {
		at = (at + 1) & t.mask()
	}
	t.slots[at] = id
}

// unindex takes a contact out, whose state still has the address. Those behind it
// move up where a search would no longer reach them.
func (m *memory) unindex(id uint64) {
	t, at := m.addresses.table(m.sum(bit(id)))
	for t.slots[at] != bit(id) {
		if t.slots[at] == 0 {
			return // it never was in it
		}
		at = (at + 1) & t.mask()
	}
	free := at
	for next := (at + 1) & t.mask(); t.slots[next] != 0; next = (next + 1) & t.mask() {
		_, home := m.addresses.table(m.sum(t.slots[next]))
		if (next-home)&t.mask() >= (next-free)&t.mask() {
			t.slots[free], free = t.slots[next], next
		}
	}
	t.slots[free] = 0
	t.n--
}

// sum is that of a contact's address. The contact is there.
func (m *memory) sum(id uint32) uint32 { return m.chunks[id/chunkSize].states[id%chunkSize].Address }

// addressed appends the contacts whose address has a sum: one where there is one,
// and a stranger once in a while.
func (m *memory) addressed(sum uint32, list []uint64) []uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t, at := m.addresses.table(sum)
	if t.n == 0 {
		return list
	}
	for ; t.slots[at] != 0; at = (at + 1) & t.mask() {
		if m.sum(t.slots[at]) == sum {
			list = append(list, uint64(t.slots[at]))
		}
	}
	return list
}

// reindex adds a contact that is not found any more.
func (m *memory) reindex(id uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index(id)
}
