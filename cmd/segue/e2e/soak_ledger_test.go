// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/seguemta/segue/mta/event"
)

// The soak's people: few enough that the contacts database does not grow, and
// each message can be told by its number alone.
const (
	soakDomains  = 24
	soakContacts = 200 * soakDomains
	soakMost     = 5 // recipients of a message
)

func soakDomain(n int) string { return fmt.Sprintf("d%02d.example", n) }

func soakAddress(contact int) string {
	return fmt.Sprintf("c%d@%s", contact, soakDomain(contact%soakDomains))
}

// contactOf reads an address back; -1 where it is none of ours.
func contactOf(address string) int {
	local, _, _ := strings.Cut(address, "@")
	n, err := strconv.Atoi(strings.TrimPrefix(local, "c"))
	if err != nil || n >= soakContacts {
		return -1
	}
	return n
}

// letterPlan is what the nth message of a soak looks like; the number decides all of it.
type letterPlan struct {
	transactional bool
	to            []int // contacts, all different
	size          int
}

func plan(n int) letterPlan {
	x := uint64(n)*0x9e3779b97f4a7c15 + 0x1234567
	draw := func(limit int) int {
		x ^= x >> 30
		x *= 0xbf58476d1ce4e5b9
		x ^= x >> 27
		return int(x >> 8 % 1e9 % uint64(limit))
	}
	p := letterPlan{transactional: draw(4) == 0, size: 2<<10 + draw(12<<10)}
	if draw(20) == 0 {
		p.size = 20<<10 + draw(80<<10)
	}
	count, step := 1+draw(2), 1237
	if p.transactional {
		count, step = 1+draw(soakMost), 37*soakDomains // all at one domain
	}
	for first, i := draw(soakContacts), 0; i < count; i++ {
		p.to = append(p.to, (first+i*step)%soakContacts)
	}
	return p
}

// fate is what the outside has seen of one recipient of one message.
type fate struct {
	accepted, ended, taken, unanswered uint8
	end                                event.Kind
}

// soakLedger is the outside's memory of a soak: by message, what became of each recipient.
type soakLedger struct {
	mu       sync.Mutex
	answered []bool // messages that were answered with 250
	fates    [][soakMost]fate
	wrong    []string // what must not be, the first ones

	messages, recipients, ended, arrived, repeated int
	kinds                                          map[event.Kind]int
}

func newSoakLedger() *soakLedger { return &soakLedger{kinds: make(map[event.Kind]int)} }

// next numbers a new message.
func (l *soakLedger) next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered, l.fates = append(l.answered, false), append(l.fates, [soakMost]fate{})
	return len(l.answered) - 1
}

func (l *soakLedger) answer(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered[n] = true
	l.messages++
	l.recipients += len(plan(n).to)
}

func (l *soakLedger) blame(format string, args ...any) {
	if len(l.wrong) < 20 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// fate finds the recipient of a message by its address.
func (l *soakLedger) fate(n int, address string) *fate {
	if n >= 0 && n < len(l.fates) {
		contact := contactOf(address)
		for i, to := range plan(n).to {
			if to == contact {
				return &l.fates[n][i]
			}
		}
	}
	l.blame("message %d was never for %s", n, address)
	return &fate{}
}

// took is what a mailhost says of a message.
func (l *soakLedger) took(p *parcel, answered bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(p.field("Subject"), "soak "))
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.blame("a message without a number: %q", p.head[:min(200, len(p.head))])
		return
	}
	for _, to := range p.to {
		f := l.fate(n, to)
		if !answered {
			f.unanswered++
			l.repeated++
			continue
		}
		l.arrived++
		if f.taken++; f.taken > 1 {
			l.blame("message %d arrived %d times at %s", n, f.taken, to)
		}
	}
}

// waiting is how many recipients have been answered for and have not ended.
func (l *soakLedger) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recipients - l.ended
}

// count is how many messages were answered with 250, and how many recipients have ended.
func (l *soakLedger) count() (messages, recipients, ended int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.messages, l.recipients, l.ended
}

// note takes one event of the engine's log.
func (l *soakLedger) note(e *event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kinds[e.Kind]++
	if e.Kind != event.Accepted && !e.Kind.Final() {
		return
	}
	var m struct{ N *int }
	if err := json.Unmarshal([]byte(e.Metadata), &m); err != nil || m.N == nil {
		l.blame("event %d (%s) names no message of ours: %q", e.Sequence, e.Kind, e.Metadata)
		return
	}
	f := l.fate(*m.N, e.Address)
	if e.Kind == event.Accepted {
		f.accepted++
		return
	}
	l.ended++
	f.end = e.Kind
	if f.ended++; f.ended > 1 {
		l.blame("message %d ended %d times for %s", *m.N, f.ended, e.Address)
	}
}

// follow reads the engine's events until ctx ends.
func (l *soakLedger) follow(ctx context.Context, w *world) error {
	const page = 2000
	for after := uint64(0); ; {
		list, err := w.api.Events(ctx, after, page)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading events behind %d: %w", after, err)
		}
		for i := range list {
			l.note(&list[i])
			after = list[i].Sequence
		}
		if len(list) < page/4 && !pauseFor(ctx, eventsEvery) {
			return nil
		}
	}
}

// check says what does not balance, once everything has ended.
func (l *soakLedger) check() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.fates {
		for i, contact := range plan(n).to {
			f := &l.fates[n][i]
			delivered := f.end == event.Delivered
			switch {
			case l.answered[n] && (f.accepted != 1 || f.ended != 1):
				l.blame("message %d to %s was answered with 250: %d times accepted, ended %d times", n, soakAddress(contact), f.accepted, f.ended)
			case f.accepted != f.ended:
				l.blame("message %d to %s: %d times accepted, ended %d times", n, soakAddress(contact), f.accepted, f.ended)
			case delivered != (f.taken == 1):
				l.blame("message %d to %s ended as %s, and arrived %d times (%d without an answer)", n, soakAddress(contact), f.end, f.taken, f.unanswered)
			}
		}
	}
	return l.wrong
}
