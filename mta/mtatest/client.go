// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Terms are what a rule asks of the client, by its address, as mailbox providers
// do. What is zero is not asked.
//
//	from=ADDRESS     clients of this address
//	over=N/D         that have had N recipients accepted within the last D; without /D since the start
//	open=N           that have more than N connections open
//	past=N           that have had N messages accepted on this connection
//	says=WORD        whose message has the word; where the message is there, at dot
//	for=D            goes on for so long for a client whom it has met once, whatever else is asked
type Terms struct {
	From   netip.Addr
	Over   int
	Within time.Duration
	Open   int
	Past   int
	Says   string // in lower case
	For    time.Duration
}

func (t *Terms) set(term, value string) (err error) {
	switch term {
	case "from":
		t.From, err = netip.ParseAddr(value)
	case "over":
		number, within, found := strings.Cut(value, "/")
		if t.Over, err = strconv.Atoi(number); err == nil && found {
			t.Within, err = time.ParseDuration(within)
		}
	case "open":
		t.Open, err = strconv.Atoi(value)
	case "past":
		t.Past, err = strconv.Atoi(value)
	case "says":
		t.Says = strings.ToLower(value)
	case "for":
		t.For, err = time.ParseDuration(value)
	default:
		err = fmt.Errorf("unknown term %q (from over open past says for)", term)
	}
	return err
}

// client is what an exchanger remembers of a client's address.
type client struct {
	addr    netip.Addr
	open    int
	pending int                 // messages whose MAIL was heard and that have no answer yet
	taken   []time.Time         // of each recipient, in order
	until   map[*Rule]time.Time // of a rule with For
}

// client finds a client; it needs the lock.
func (e *Exchanger) client(addr netip.Addr) *client {
	c := e.mu.clients[addr]
	if c == nil {
		c = &client{addr: addr, until: map[*Rule]time.Time{}}
		e.mu.clients[addr] = c
	}
	return c
}

func (c *client) take(n int) { c.taken = append(c.taken, slices.Repeat([]time.Time{time.Now()}, n)...) }

// had is how many recipients were accepted within a time; 0 = ever.
func (c *client) had(within time.Duration) int {
	if within == 0 {
		return len(c.taken)
	}
	since := time.Now().Add(-within)
	first, _ := slices.BinarySearchFunc(c.taken, since, time.Time.Compare)
	return len(c.taken) - first
}

// begin counts a message that may come, release counts it no more; both need the lock.
func (s *session) begin() {
	if !s.pending {
		s.pending = true
		s.client.pending++
	}
}

func (s *session) release() {
	if s.pending {
		s.pending = false
		s.client.pending--
	}
}

// had is how many recipients of the client were accepted within a time, or are about
// to be on other connections.
func (s *session) had(within time.Duration) int {
	n := s.client.had(within) + s.client.pending
	if s.pending {
		n--
	}
	return n
}

// meets reports whether the client is one that a rule is for; it needs the lock.
func (s *session) meets(r *Rule) bool {
	t, c := &r.Terms, s.client
	if t.From.IsValid() && t.From != c.addr {
		return false
	}
	if time.Now().Before(c.until[r]) {
		return true
	}
	if t.Over > 0 && s.had(t.Within) < t.Over || t.Open > 0 && c.open <= t.Open || s.taken < t.Past {
		return false
	}
	if t.Says != "" && !bytes.Contains(bytes.ToLower(s.msg.Data), []byte(t.Says)) {
		return false
	}
	if t.For > 0 {
		c.until[r] = time.Now().Add(t.For)
	}
	return true
}
