// SPDX-License-Identifier: Apache-2.0

// Package signal says whether an open or a click was a person's. Start with
// [Default], then [Held.Hit] for each request and [Held.Due] when its hold is over.
//
// Mail gateways follow links and load pictures before anybody reads the mail,
// and some mail programs load them for everybody. Taken for people, they would
// make the addresses that answer least look like those that answer most. So a
// [Hit] does not count when it arrives: it is held for a while, and judged
// together with whatever else arrived for the same message.
//
// # How it is judged
//
// Each [Sign] that speaks for a machine has a weight from 0 to 1, the share of
// such hits that people do not make. The score of a hit is the product of what
// the signs leave over: 1 where there is none, near 0 where there are many. At
// [Rules.Human] and above a hit is a person's. No sign speaks for a person, so a
// machine cannot talk its way out by looking like one in other respects.
//
// Signs are about one hit (its method, its agent, its time after delivery), about
// the hits around it (several different links within seconds), about who sent it
// (a requester that gave itself away in this message once is not believed
// again), or about the recipient's domain ([Domain] learns where every link of
// every mail is followed, and how fast). A person who clicks long after a scan is
// still a person: what the scan did close to the delivery says nothing about
// that, unless the requester is the same.
//
// # What it is not
//
// The package has no clock, no goroutine and no I/O, and no list of networks:
// those that an operator knows to hold no readers come in as [Rules.Networks]. Most
// gateways call themselves a browser, so the table of agents catches those that
// do not hide; the other signs are for those that do. Counting, tiers and scores
// are the caller's: only [Verdict.Engages] may raise one.
package signal

import (
	"net/netip"
	"strings"
	"time"
)

// Kind is what a request was for.
type Kind uint8

// The kinds. Their numbers are stored.
const (
	Open  Kind = iota // the picture in a mail was loaded
	Click             // a link in a mail was followed
)

// String is the word for people.
func (k Kind) String() string {
	if k == Click {
		return "click"
	}
	return "open"
}

// Hit is one request for a picture or a link of one message to one recipient.
type Hit struct {
	Kind     Kind
	Head     bool      // the method was HEAD
	Honeypot bool      // the link is one that no reader can see
	At       time.Time // when it arrived, to the microsecond
	Link     uint32    // which link of the message; 0 for an open
	Agent    string    // User-Agent as sent, cut to MaxAgent bytes
	Addr     netip.Addr
	ID       uint64 // by which the caller finds the event again; nothing here reads it
}

// Limits of what is held for one message.
const (
	MaxHits  = 64  // hits that are held at one time; more are a flood, and only counted
	MaxAgent = 256 // bytes of a user agent that are kept
	maxSeen  = 8   // requesters that are remembered
)

// requester is a hash of who sent a hit (FNV-1a over address and agent). The
// address itself is not kept once its hits are judged.
func (h *Hit) requester() uint64 {
	sum := uint64(14695981039346656037)
	mix := func(c byte) { sum = (sum ^ uint64(c)) * 1099511628211 }
	if h.Addr.IsValid() { // As16 panics where there is no address
		for _, c := range h.Addr.As16() {
			mix(c)
		}
	}
	for i := range len(h.Agent) {
		mix(h.Agent[i])
	}
	return sum
}

// Verdict is what a hit was.
type Verdict struct {
	Hit      Hit
	Score    float64 // 1 = nothing speaks for a machine, 0 = surely one
	Human    bool
	Evidence []Evidence // what speaks for a machine, heaviest first
}

// Engages reports whether the hit may raise a tier and count as an answer: a
// click of a person. Opens never do, since nobody can tell a picture that was
// looked at from one that was loaded.
func (v *Verdict) Engages() bool { return v.Human && v.Hit.Kind == Click }

// Reason says in one line why the verdict is what it is, for people who look at
// one contact.
func (v *Verdict) Reason() string {
	var b strings.Builder
	if v.Human {
		b.WriteString("human")
	} else {
		b.WriteString("machine")
	}
	for i, e := range v.Evidence {
		switch {
		case i > 0:
			b.WriteString("; ")
		case v.Human:
			b.WriteString(", although: ")
		default:
			b.WriteString(": ")
		}
		b.WriteString(e.String())
	}
	if len(v.Evidence) == 0 {
		b.WriteString(": nothing speaks for a machine")
	}
	return b.String()
}
