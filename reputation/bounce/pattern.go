// SPDX-License-Identifier: Apache-2.0

package bounce

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
)

// Pattern is what a rule asks of a reply, with the examples that prove it, for
// other tables of rules about replies (reputation/throttle): they are written with
// the same words and matched by the same code as a [Table].
type Pattern struct {
	rule    rule
	written []string // the lines of codes and statuses, for people
}

// Words is a reply in the form in which patterns are compared with it: prepared
// once, asked by any number of patterns. It is big, and better used again than made anew.
type Words struct {
	reply rfc5321.Reply
	text  text
}

// Read prepares a reply, in the memory of the one before it.
func (w *Words) Read(r rfc5321.Reply) {
	w.reply, w.text.pairs = r, [len(w.text.pairs)]uint64{}
	w.text.normalize(r.Text)
}

// Set takes one line of a rule. known is false for a word that is none of a
// pattern's: provider code status text unless yes no.
func (p *Pattern) Set(key, value string) (known bool, err error) {
	switch key {
	case "code", "status":
		p.written = append(p.written, key+" "+strconv.Quote(value))
	case "provider", "text", "unless", "yes", "no":
	default:
		return false, nil
	}
	return true, p.rule.set(key, value)
}

// Check refuses a pattern that asks nothing or that does not prove itself.
func (p *Pattern) Check() error {
	r := p.rule
	r.result = Result{Class: Uncategorized, Verdict: Ignore} // a pattern gives none
	return r.check()
}

// Matches reports whether the pattern fits a reply; whose provider it is from
// is not asked: see [Pattern.Providers].
func (p *Pattern) Matches(w *Words) bool { return p.rule.matches(w.reply, &w.text) }

// Providers are the providers that the pattern is for; none = all.
func (p *Pattern) Providers() []string { return p.rule.providers }

// Examples are replies that the pattern must match, and such that it must not.
func (p *Pattern) Examples() (yes, no []rfc5321.Reply) {
	read := func(examples []string) (replies []rfc5321.Reply) {
		for _, s := range examples {
			r, _ := ParseReply(s)
			replies = append(replies, r)
		}
		return replies
	}
	return read(p.rule.yes), read(p.rule.no)
}

// Why says what in a reply the pattern matches, as it is written in the rule:
// code "4xx", text "server busy".
func (p *Pattern) Why(w *Words) string {
	said := slices.Clone(p.written)
	for i := range p.rule.text {
		if phrase := &p.rule.text[i]; phrase.in(&w.text) {
			said = append(said, "text "+strconv.Quote(string(bytes.TrimSpace(bytes.Join(phrase.parts, []byte(" * "))))))
			break
		}
	}
	return strings.Join(said, ", ")
}
