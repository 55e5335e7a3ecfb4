// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/rfc5322"
)

// strangers notes whose addresses the notice also holds: its own sender's and receiver's
// and the sender's of the message that failed.
func (n *notice) strangers(top *rfc5322.Part) {
	note := func(h rfc5322.Header, names ...string) {
		for _, name := range names {
			for _, v := range h.Values(name) {
				for _, a := range addresses(v) {
					n.ours[strings.ToLower(a)] = true
				}
			}
		}
	}
	note(top.Header, "From", "To", "Sender", "Return-Path", "Delivered-To", "X-Original-To", "Envelope-To", "Reply-To")
	note(n.returned, "From", "Sender", "Return-Path", "Reply-To")
	for _, name := range []string{"To", "Cc"} { // a message to oneself is still about its recipient
		for _, v := range n.returned.Values(name) {
			for _, a := range addresses(v) {
				delete(n.ours, strings.ToLower(a))
			}
		}
	}
}

// findHeads finds whom the notice is about, by the best evidence that it gives: the field
// that Exim and Google write, addresses that stand at the head of a paragraph, addresses in a sentence of
// failure, and at last the message's own field To.
func (n *notice) findHeads(failed []string) {
	named := map[string]bool{}
	var order []string
	for _, v := range failed {
		for _, a := range addresses(v) {
			if key := strings.ToLower(a); !named[key] && len(order) < MaxRecipients {
				named[key] = true
				order = append(order, a)
			}
		}
	}
	if len(order) > 0 {
		n.collect(func(line string) (string, int) { return wherever(line, named) })
		if len(order) == 1 && len(n.heads) == 0 {
			// The text names another: what was tried, where the field has what was written, or the other way round.
			if n.collect(n.atHead); len(n.heads) == 1 {
				n.heads[0].original = order[0]
				return
			}
			n.heads = nil
		}
		for _, a := range order {
			if !n.has(a) {
				n.heads = append(n.heads, head{address: a, line: len(n.lines)})
			}
		}
		return
	}
	if n.collect(n.atHead); len(n.heads) > 0 {
		return
	}
	if n.collect(n.afterCode); len(n.heads) > 0 {
		for i := range n.heads {
			n.heads[i].short = true
		}
		return
	}
	for _, find := range []func(string) (string, int){n.labelled, n.inFailure} {
		if n.collect(find); len(n.heads) > 0 {
			return
		}
	}
	n.fromCopy()
}

// collect makes a head of the address that find sees in a line, once for each address.
func (n *notice) collect(find func(line string) (address string, from int)) {
	for i, line := range n.lines {
		if a, from := find(line); a != "" && !n.has(a) && len(n.heads) < MaxRecipients {
			n.heads = append(n.heads, head{address: a, line: i, from: from})
		}
	}
}

func (n *notice) has(address string) bool {
	return len(n.heads) > 0 && slices.ContainsFunc(n.heads[max(0, len(n.heads)-100):], func(h head) bool { return strings.EqualFold(h.address, address) })
}

func wherever(line string, named map[string]bool) (string, int) {
	for _, a := range addresses(line) {
		if named[strings.ToLower(a)] {
			return a, strings.Index(line, a) + len(a)
		}
	}
	return "", 0
}

// atHead finds an address that begins a line, behind no more than a bullet.
func (n *notice) atHead(line string) (string, int) {
	s := strings.TrimLeft(line, " *-+\"'<>[(|")
	a := leading(s)
	if a == "" || n.ours[strings.ToLower(a)] {
		return "", 0
	}
	return a, len(line) - len(s) + len(a)
}

// afterCode finds the address in a line of a transcript: 550 <address>... User unknown.
func (n *notice) afterCode(line string) (string, int) {
	s := strings.TrimLeft(line, " ")
	if !leadingCode(s) {
		return "", 0
	}
	rest := strings.TrimLeft(s[3:], " -")
	if _, cut := rfc5321.CutEnhanced(rest); cut != "" {
		rest = cut
	}
	a := leading(strings.TrimLeft(rest, " <\""))
	if a == "" || n.ours[strings.ToLower(a)] {
		return "", 0
	}
	return a, len(line) - len(s)
}

// labelled finds an address behind a word that says what it is.
func (n *notice) labelled(line string) (string, int) {
	label, rest, found := strings.Cut(line, ":")
	if !found || len(label) > 40 || !containsAny(strings.ToLower(label), "recipient", "rcpt to", "address", "receiver", "user", "mailbox", "failed", "undeliver", "to") {
		return "", 0
	}
	for _, a := range addresses(rest) {
		if !n.ours[strings.ToLower(a)] {
			return a, 0
		}
	}
	return "", 0
}

// inFailure finds an address in a sentence, but for those whom one may write to.
func (n *notice) inFailure(line string) (string, int) {
	for _, a := range addresses(line) {
		local, _, _ := strings.Cut(strings.ToLower(a), "@")
		if !n.ours[strings.ToLower(a)] && !containsAny(local, "postmaster", "mailer-daemon", "abuse", "support", "helpdesk", "admin") {
			return a, 0
		}
	}
	return "", 0
}

// fromCopy takes the recipient of the message itself, if it has just one.
func (n *notice) fromCopy() {
	for _, name := range []string{"X-Envelope-To", "Delivered-To", "To"} {
		if to := addresses(n.returned.Get(name)); len(to) == 1 {
			n.heads = append(n.heads, head{address: to[0]})
			return
		}
	}
}
