// SPDX-License-Identifier: Apache-2.0

package bounce

import (
	"bytes"
	"math/bits"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
)

const (
	maxText = 1024 // octets of a reply that are looked at
	maxGap  = 60   // octets that a " * " in a phrase may stand for
)

// rule is one entry of the table. What is empty is not asked.
type rule struct {
	result    Result
	number    int // of the rule in its table
	line      int
	providers []string
	codes     []codePattern
	statuses  []statusPattern
	text      []phrase // any of them
	unless    []phrase // none of them
	yes, no   []string
}

// codePattern is "550", "55x" or "5xx": the first and the last code of a range.
type codePattern struct{ first, last int }

// statusPattern is "5.1.1", "x.1.1" or "5.7.*": -1 matches any number.
type statusPattern [3]int

// phrase is words that follow one another, with gaps between the parts.
type phrase struct {
	parts [][]byte
	pairs [4]uint16 // some of its pairs of octets, from all over it
}

// text is a reply's text in the form that phrases are written in, and which
// pairs of octets occur in it: most rules and phrases can be told from that alone.
type text struct {
	bytes []byte
	pairs [64]uint64
}

func (t *text) hasPair(p uint16) bool { return t.pairs[p>>6]&(1<<(p&63)) != 0 }

// pair folds two octets into 12 bits.
func pair(a, b byte) uint16 { return uint16(a&63)<<6 | uint16(b&63) }

// maxIndexed is how many rules an index can tell apart; those behind are all tried.
const maxIndexed = 2048

// index finds the rules that can match a text: for each pair of octets those with
// a phrase that has it. Of a phrase one pair is enough, best one that few others have.
type index [1 << 12][]uint16

// candidates is a set of rules.
type candidates [maxIndexed / 64]uint64

func (c *candidates) has(number int) bool {
	return number >= maxIndexed || c[number/64]&(1<<(number%64)) != 0
}

func (x *index) add(r *rule) {
	if r.number >= maxIndexed {
		return
	}
	for i := range r.text {
		pairs := r.text[i].pairs[:]
		rarest := slices.MinFunc(pairs, func(a, b uint16) int { return len(x[a]) - len(x[b]) })
		if n := uint16(r.number); !slices.Contains(x[rarest], n) { //nolint:gosec // below maxIndexed
			x[rarest] = append(x[rarest], n)
		}
	}
}

// find returns the rules with a phrase that a text may hold.
func (x *index) find(t *text) candidates {
	var found candidates
	for i, word := range t.pairs {
		for ; word != 0; word &= word - 1 {
			for _, n := range x[i<<6|bits.TrailingZeros64(word)] {
				found[n/64] |= 1 << (n % 64)
			}
		}
	}
	return found
}

func (r *rule) matches(reply rfc5321.Reply, text *text) bool {
	return r.matchesCode(reply.Code) && r.matchesStatus(reply.Enhanced) &&
		(len(r.text) == 0 || anyPhrase(r.text, text)) && !anyPhrase(r.unless, text)
}

func (r *rule) matchesCode(code int) bool {
	for _, c := range r.codes {
		if code >= c.first && code <= c.last {
			return true
		}
	}
	return len(r.codes) == 0
}

func (r *rule) matchesStatus(status rfc5321.EnhancedCode) bool {
next:
	for _, want := range r.statuses {
		for i, n := range want {
			if n >= 0 && n != status[i] {
				continue next
			}
		}
		return true
	}
	return len(r.statuses) == 0
}

func anyPhrase(phrases []phrase, t *text) bool {
	for i := range phrases {
		if phrases[i].in(t) {
			return true
		}
	}
	return false
}

// in reports whether the parts of p follow one another in t, at most maxGap
// octets apart.
func (p *phrase) in(t *text) bool {
	for _, pair := range p.pairs {
		if !t.hasPair(pair) {
			return false
		}
	}
	rest := t.bytes
	for {
		i := bytes.Index(rest, p.parts[0])
		if i < 0 {
			return false
		}
		rest = rest[i+len(p.parts[0]):]
		if follow(p.parts[1:], rest) {
			return true
		}
	}
}

// follow finds the parts one after another, each as early as it can be, which
// leaves most room for the next.
func follow(parts [][]byte, rest []byte) bool {
	for _, part := range parts {
		j := bytes.Index(rest[:min(len(rest), maxGap+len(part))], part)
		if j < 0 {
			return false
		}
		rest = rest[j+len(part):]
	}
	return true
}

// parsePhrase cuts "mailbox * not found" into its parts. A phrase is written as
// normalize leaves text.
func parsePhrase(s string) (phrase, bool) {
	var p phrase
	var all []uint16
	for part := range strings.SplitSeq(s, "*") {
		if part = strings.Trim(part, " "); len(part) < 2 {
			if part == "" {
				continue
			}
			return phrase{}, false
		}
		// Inside a word it is itself: "ofr_506".
		if rest, ok := strings.CutPrefix(part, "_"); ok {
			part = " " + rest
		}
		if rest, ok := strings.CutSuffix(part, "_"); ok {
			part = rest + " "
		}
		p.parts = append(p.parts, []byte(part))
		for i := range len(part) - 1 {
			all = append(all, pair(part[i], part[i+1]))
		}
	}
	for i := range p.pairs {
		if len(all) > 0 {
			p.pairs[i] = all[i*(len(all)-1)/(len(p.pairs)-1)]
		}
	}
	return p, len(p.parts) > 0
}

// normalize fills t from a reply's text: lower case, white space one space, one
// space at each end, an address only "@", and no longer than maxText.
func (t *text) normalize(s string) {
	dst := append(t.bytes[:0], ' ')
	for word := range strings.FieldsSeq(s[:min(len(s), maxText)]) {
		dst = append(appendWord(dst, word), ' ')
	}
	for i := range len(dst) - 1 {
		p := pair(dst[i], dst[i+1])
		t.pairs[p>>6] |= 1 << (p & 63)
	}
	t.bytes = dst
}

// appendWord appends a word in lower case; what an address is made of becomes "@".
func appendWord(dst []byte, word string) []byte {
	start := len(dst)
	for i := 0; i < len(word); i++ {
		c := word[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != '@' {
			dst = append(dst, c)
			continue
		}
		// Back to where the local part began, and on over the domain.
		local := len(dst)
		for local > start && isAddressByte(dst[local-1]) {
			local--
		}
		dst = append(dst[:local], '@')
		for i+1 < len(word) && isAddressByte(lower(word[i+1])) && (word[i+1] != '.' || followed(word, i+2)) {
			i++
		}
	}
	return dst
}

// followed reports whether a letter or digit stands at i: a dot before it belongs to a
// domain, any other ends a sentence.
func followed(word string, i int) bool {
	return i < len(word) && isAddressByte(lower(word[i])) && word[i] != '.'
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

func isAddressByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 0x80 || strings.IndexByte(".!#$%&'*+-/=?^_{|}~", c) >= 0
}
