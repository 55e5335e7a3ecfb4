// SPDX-License-Identifier: Apache-2.0

package bounce

import (
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
)

//go:embed rules.txt
var builtin string

// ErrRules is wrapped by the errors of [Parse].
var ErrRules = errors.New("bad bounce rules")

// Table is an ordered set of rules.
type Table struct {
	rules   []*rule
	general []*rule            // without provider
	scoped  map[string][]*rule // by provider
	index   *index
}

// Builtin is the table that Segue ships.
func Builtin() (*Table, error) { return Parse("rules.txt", builtin) }

// Parse reads rules in the form that the head of rules.txt explains. name is
// what errors call the text; they wrap [ErrRules] and name the line.
func Parse(name, text string) (*Table, error) {
	rules, err := parseRules(name, text)
	if err != nil {
		return nil, err
	}
	return newTable(rules), nil
}

// Override returns a table in which the rules of a text, in the same form, come
// before those of t; one with the name of a rule of t replaces it. Each new rule
// must get the replies that it names with "yes", through the whole table, and
// none that it names with "no".
func (t *Table) Override(name, text string) (*Table, error) {
	rules, err := parseRules(name, text)
	if err != nil {
		return nil, err
	}
	replaced := make(map[string]bool, len(rules))
	for _, r := range rules {
		replaced[r.result.Rule] = true
	}
	own := len(rules)
	for _, r := range t.rules {
		if !replaced[r.result.Rule] {
			rules = append(rules, r)
		}
	}
	next := newTable(rules)
	for _, r := range next.rules[:own] {
		if err := next.prove(r); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: rule %q: %w", name, r.line, ErrRules, r.result.Rule, err)
		}
	}
	return next, nil
}

// Len is the number of rules.
func (t *Table) Len() int { return len(t.rules) }

// parseRules reads rules and checks each by itself.
func parseRules(name, text string) ([]*rule, error) {
	var rules []*rule
	names := make(map[string]bool)
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		value = strings.TrimSpace(value)
		if key == "rule" {
			rules = append(rules, &rule{line: n})
		}
		if len(rules) == 0 {
			return nil, fmt.Errorf("%s:%d: %w: %q before the first rule", name, n, ErrRules, key)
		}
		if err := rules[len(rules)-1].set(key, value); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: %w", name, n, ErrRules, err)
		}
	}
	for _, r := range rules {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: rule %q: %w", name, r.line, ErrRules, r.result.Rule, err)
		}
		if names[r.result.Rule] {
			return nil, fmt.Errorf("%s:%d: %w: rule %q occurs twice", name, r.line, ErrRules, r.result.Rule)
		}
		names[r.result.Rule] = true
	}
	return rules, nil
}

func newTable(rules []*rule) *Table {
	t := &Table{rules: make([]*rule, len(rules)), scoped: make(map[string][]*rule), index: &index{}}
	for i, of := range rules {
		r := new(*of) // a rule that another table has, too, keeps its number there
		r.number = i
		t.rules[i] = r
		t.index.add(r)
		for _, p := range r.providers {
			t.scoped[p] = append(t.scoped[p], r)
		}
		if len(r.providers) == 0 {
			t.general = append(t.general, r)
		}
	}
	return t
}

// prove runs the examples of a rule.
func (t *Table) prove(r *rule) error {
	providers := r.providers
	if len(providers) == 0 {
		providers = []string{""}
	}
	for _, provider := range providers {
		for _, example := range r.yes {
			reply, _ := ParseReply(example)
			if got := t.Classify(provider, reply); got.Rule != r.result.Rule {
				return fmt.Errorf("its own example %q goes to rule %q", example, got.Rule)
			}
		}
	}
	for _, example := range r.no {
		reply, _ := ParseReply(example)
		var words text
		if words.normalize(reply.Text); r.matches(reply, &words) {
			return fmt.Errorf("it matches %q, which it must not", example)
		}
	}
	return nil
}

// set takes one line of a rule.
func (r *rule) set(key, value string) error {
	if value == "" {
		return fmt.Errorf("%s has no value", key)
	}
	switch key {
	case "rule":
		r.result.Rule = value
	case "class":
		r.result.Class = Class(value)
	case "verdict":
		r.result.Verdict = Verdict(value)
	case "subject":
		r.result.Subject = Subject(value)
	case "provider":
		r.providers = append(r.providers, strings.Fields(value)...)
	case "code":
		return r.addCodes(value)
	case "status":
		return r.addStatuses(value)
	case "text", "unless":
		p, ok := parsePhrase(value)
		if !ok {
			return errors.New("a phrase needs parts of at least two octets")
		}
		if key == "text" {
			r.text = append(r.text, p)
		} else {
			r.unless = append(r.unless, p)
		}
	case "yes":
		r.yes = append(r.yes, value)
	case "no":
		r.no = append(r.no, value)
	default:
		return fmt.Errorf("unknown word %q (rule class verdict subject provider code status text unless yes no)", key)
	}
	return nil
}

func (r *rule) addCodes(value string) error {
	for word := range strings.FieldsSeq(value) {
		first, err1 := strconv.Atoi(strings.ReplaceAll(word, "x", "0"))
		last, err2 := strconv.Atoi(strings.ReplaceAll(word, "x", "9"))
		if err1 != nil || err2 != nil || first < 400 || last > 599 {
			return fmt.Errorf("code %q is not like 550, 55x or 5xx", word)
		}
		r.codes = append(r.codes, codePattern{first, last})
	}
	return nil
}

func (r *rule) addStatuses(value string) error {
	for word := range strings.FieldsSeq(value) {
		parts := strings.Split(word, ".")
		if len(parts) != 3 {
			return fmt.Errorf("status %q is not like 5.1.1, x.1.1 or 5.7.*", word)
		}
		var p statusPattern
		for i, part := range parts {
			n, err := strconv.ParseUint(part, 10, 10)
			switch {
			case part == "x" && i == 0 || part == "*" && i > 0:
				p[i] = -1
			case err != nil:
				return fmt.Errorf("status %q is not like 5.1.1, x.1.1 or 5.7.*", word)
			default:
				p[i] = int(n)
			}
		}
		r.statuses = append(r.statuses, p)
	}
	return nil
}

// check refuses a rule that is incomplete, or that could suppress a contact on
// evidence that is not final.
func (r *rule) check() error {
	switch {
	case !r.result.Class.Known():
		return fmt.Errorf("class %q is not one of the classes", r.result.Class)
	case !r.result.Verdict.Known():
		return fmt.Errorf("verdict %q is not one of suppress count reputation infrastructure ignore", r.result.Verdict)
	case r.result.Verdict == Reputation && !r.result.Subject.Known():
		return fmt.Errorf("verdict reputation needs a subject, ip, domain or content, not %q", r.result.Subject)
	case r.result.Verdict != Reputation && r.result.Subject != "":
		return errors.New("only verdict reputation has a subject")
	case len(r.codes)+len(r.statuses)+len(r.text) == 0:
		return errors.New("it matches everything: add code, status or text")
	case len(r.yes) == 0 || len(r.no) == 0:
		return errors.New("it needs a reply that it matches (yes) and one that it does not (no)")
	}
	for _, s := range append(append([]string{}, r.yes...), r.no...) {
		if _, ok := ParseReply(s); !ok {
			return fmt.Errorf("example %q is not a reply", s)
		}
	}
	if r.result.Verdict != Suppress {
		return nil
	}
	if r.result.Class != InvalidRecipient && r.result.Class != BadDomain {
		return fmt.Errorf("class %s never suppresses: only InvalidRecipient and BadDomain do", r.result.Class)
	}
	if len(r.codes) == 0 {
		return errors.New("a rule that suppresses names its 5xx codes")
	}
	for _, c := range r.codes {
		if c.first < 500 {
			return errors.New("a rule that suppresses names only 5xx codes")
		}
	}
	return nil
}

// ParseReply reads a reply as rules name them: code, status if any, text. Of several
// lines, as servers send and logs keep them, it takes the text of all: code and status,
// which each line repeats, are read once.
func ParseReply(s string) (rfc5321.Reply, bool) {
	var reply rfc5321.Reply
	for line := range strings.Lines(s) {
		code, text := cutCode(strings.TrimSpace(line))
		switch enhanced, rest := rfc5321.CutEnhanced(text); {
		case reply.Code == 0 && code == 0, code != 0 && reply.Code != 0 && code != reply.Code:
			return rfc5321.Reply{}, false // none, or two
		case reply.Code == 0:
			reply = rfc5321.Reply{Code: code, Enhanced: enhanced, Text: rest}
		case enhanced == reply.Enhanced:
			reply.Text += " " + rest
		default:
			reply.Text += " " + text
		}
	}
	return reply, reply.Code != 0
}

// cutCode splits a reply code off the front of a line; 0 where there is none.
func cutCode(line string) (code int, text string) {
	n, err := strconv.Atoi(line[:min(3, len(line))])
	if err != nil || n < 200 || n > 599 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, line
	}
	return n, line[min(4, len(line)):]
}
