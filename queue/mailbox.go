// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"sync"
	"time"

	"github.com/seguemta/segue/queue/schedule"
)

// letter is a fact for the machine or an act to run beside it.
type letter struct {
	fact schedule.Fact
	act  func(now time.Time)
}

// mailbox takes letters from any goroutine without ever blocking it: the
// committer must not wait for the machine, which waits for the committer. Its length is
// bounded by what is under way, since each letter answers something.
type mailbox struct {
	mu     sync.Mutex
	list   []letter
	spare  []letter
	signal chan struct{}
}

func (m *mailbox) init() { m.signal = make(chan struct{}, 1) }

func (m *mailbox) put(l letter) {
	m.mu.Lock()
	m.list = append(m.list, l)
	m.mu.Unlock()
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

func (m *mailbox) fact(f schedule.Fact)      { m.put(letter{fact: f}) }
func (m *mailbox) act(f func(now time.Time)) { m.put(letter{act: f}) }

// take returns what has arrived. The slice is valid until the next take.
func (m *mailbox) take() []letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.list
	clear(m.spare)
	m.list, m.spare = m.spare[:0], list
	return list
}
