// SPDX-License-Identifier: Apache-2.0

package schedule

import "time"

// ordered is what a heap holds: it knows its order and remembers its place.
type ordered[T any] interface {
	before(other T) bool
	place(slot int) // 1 + index; 0 = not in the heap
}

// heap is a binary min-heap whose elements know their place, so that any of
// them can be moved or removed in O(log n).
type heap[T ordered[T]] []T

func (h *heap[T]) push(x T) {
	*h = append(*h, x)
	x.place(len(*h))
	h.up(len(*h) - 1)
}

func (h *heap[T]) pop() T { return h.remove(1) }

// remove takes out the element at a slot (1 + index).
func (h *heap[T]) remove(slot int) T {
	i, n := slot-1, len(*h)-1
	x := (*h)[i]
	if i != n {
		(*h)[i] = (*h)[n]
		(*h)[i].place(i + 1)
	}
	var zero T
	(*h)[n] = zero
	*h = (*h)[:n]
	if i != n {
		h.fix(i + 1)
	}
	x.place(0)
	return x
}

// fix restores the order after the element at a slot changed its key.
func (h *heap[T]) fix(slot int) {
	if !h.down(slot - 1) {
		h.up(slot - 1)
	}
}

func (h *heap[T]) up(i int) {
	s := *h
	for i > 0 {
		parent := (i - 1) / 2
		if !s[i].before(s[parent]) {
			return
		}
		s.swap(i, parent)
		i = parent
	}
}

func (h *heap[T]) down(i int) bool {
	s, start := *h, i
	for {
		child := 2*i + 1
		if child >= len(s) {
			break
		}
		if r := child + 1; r < len(s) && s[r].before(s[child]) {
			child = r
		}
		if !s[child].before(s[i]) {
			break
		}
		s.swap(i, child)
		i = child
	}
	return i > start
}

func (h heap[T]) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place(i + 1)
	h[j].place(j + 1)
}

// fifo is a queue in a slice that keeps its memory.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) push(x T) {
	if f.head > 32 && f.head*2 > len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, x)
}

func (f *fifo[T]) pop() (T, bool) {
	var zero T
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
		return zero, false
	}
	x := f.items[f.head]
	f.items[f.head] = zero
	f.head++
	return x, true
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }

// timerKind says what a timer wakes.
type timerKind uint8

const (
	timerQueue  timerKind = iota // an item becomes due, or a pin ends
	timerDomain                  // a failed lookup is tried again
	timerPath                    // a back-off ends
	timerGate                    // the rate lets the next recipient pass
	timerPause                   // a source's pause ends
	timerBudget                  // tokens appear, a window opens or closes, a day ends
	timerIdle                    // the longest idle connection is closed
)

// timer wakes its owner at a time. It lies in the machine's timer heap while it runs.
type timer struct {
	at    time.Time
	seq   uint64
	slot  int
	kind  timerKind
	owner any
}

func (t *timer) before(o *timer) bool {
	if c := t.at.Compare(o.at); c != 0 {
		return c < 0
	}
	return t.seq < o.seq
}

func (t *timer) place(slot int) { t.slot = slot }

// set starts a timer, moves it, or stops it (zero time).
func (m *Machine) set(t *timer, at time.Time) {
	switch {
	case at.IsZero():
		if t.slot != 0 {
			m.timers.remove(t.slot)
		}
	case t.slot == 0:
		m.seq++
		t.at, t.seq = at, m.seq
		m.timers.push(t)
	case !t.at.Equal(at):
		t.at = at
		m.timers.fix(t.slot)
	}
}
