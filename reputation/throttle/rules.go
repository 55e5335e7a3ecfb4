// SPDX-License-Identifier: Apache-2.0

package throttle

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/reputation/bounce"
)

//go:embed rules.txt
var builtin string

// ErrRules is wrapped by the errors of [Parse].
var ErrRules = errors.New("bad throttle rules")

const (
	maxMatches = 32                 // matches that a rule may wait for
	maxRates   = 16                 // rate rules of a file: every reply is counted by each
	maxWindow  = 7 * 24 * time.Hour // of any rule
)

// Rules is a file of rules. It does not change.
type Rules struct {
	replies []*replyRule
	own     int // the first ones, of an operator
	rates   []*rateRule
}

// Builtin are the rules that Segue ships.
func Builtin() (*Rules, error) { return Parse("rules.txt", builtin) }

// Override returns rules in which those of a text come before those of t, whatever
// providers they name; one with the name of a rule of t replaces it. Errors are those of
// [Parse].
func (t *Rules) Override(name, text string) (*Rules, error) {
	next, err := Parse(name, text)
	if err != nil {
		return nil, err
	}
	next.own = len(next.replies)
	names := make(map[string]bool)
	for _, r := range next.replies {
		names[r.name] = true
	}
	for _, r := range next.rates {
		names[r.name] = true
	}
	for _, r := range t.replies {
		if !names[r.name] {
			next.replies = append(next.replies, r)
		}
	}
	for _, r := range t.rates {
		if !names[r.name] {
			next.rates = append(next.rates, r)
		}
	}
	return next, next.few(name)
}

// Len is the number of rules.
func (t *Rules) Len() int { return len(t.replies) + len(t.rates) }

// few refuses more rate rules than a state has room for.
func (t *Rules) few(name string) error {
	if len(t.rates) > maxRates {
		return fmt.Errorf("%s: %w: %d rate rules, at most %d: every reply is counted by each", name, ErrRules, len(t.rates), maxRates)
	}
	return nil
}

// A replyRule counts replies that match a pattern.
type replyRule struct {
	bounce.Pattern
	name  string
	line  int
	whens []when // rising counts
	scope Target // what matches are counted for
	next  string
}

// A when is what happens after so many matches within a time.
type when struct {
	count  int
	within time.Duration
	action action
}

// A rateRule judges a share of recipients.
type rateRule struct {
	name      string
	line      int
	providers []string
	counts    measure
	sample    uint64
	within    time.Duration
	slot      int64 // length of a part of the window, in milliseconds
	low, high threshold
	next      string
}

// A threshold is a share above which something is done; a share of 0 is none.
type threshold struct {
	share  float64
	action action
}

// measure is what a rate rule counts. It is a number because every reply asks it.
type measure uint8

const (
	measureDeferred   measure = iota + 1 // deferrals that speak about reputation, of attempts
	measureBounced                       // bounces that suppress, of attempts
	measureComplained                    // complaints, of deliveries, where the provider reports them
)

// String is the measure as it is written.
func (m measure) String() string {
	return [...]string{"nothing", "deferred", "bounced", "complained"}[m]
}

func parseMeasure(s string) (measure, error) {
	for _, m := range []measure{measureDeferred, measureBounced, measureComplained} {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("counts %q is not one of deferred bounced complained", s)
}

// Unused lists the providers that rules name and a configuration does not, so
// that rules which can never fire are seen.
func (t *Rules) Unused(configured []string) []string {
	var unused []string
	see := func(names []string) {
		// The names of a rule are other names of one provider: one of them is enough.
		if len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(configured, n) }) {
			unused = append(unused, names[0])
		}
	}
	for _, r := range t.replies {
		see(r.Providers())
	}
	for _, r := range t.rates {
		see(r.providers)
	}
	slices.Sort(unused)
	return slices.Compact(unused)
}

func (r *replyRule) isFor(provider string, own bool) bool {
	if len(r.Providers()) == 0 {
		return !own
	}
	return own && slices.Contains(r.Providers(), provider)
}

func (r *rateRule) isFor(provider string) bool {
	return len(r.providers) == 0 || slices.Contains(r.providers, provider)
}

// Parse reads rules in the form that the head of rules.txt explains. name is
// what errors call the text; they wrap [ErrRules] and name the line.
func Parse(name, text string) (*Rules, error) {
	f := file{names: map[string]bool{}}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		if err := f.take(n, key, strings.TrimSpace(value)); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: %w", name, n, ErrRules, err)
		}
	}
	for _, r := range f.replies {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: rule %q: %w", name, r.line, ErrRules, r.name, err)
		}
	}
	for _, r := range f.rates {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: rate %q: %w", name, r.line, ErrRules, r.name, err)
		}
	}
	if r, before := f.shadowed(); r != nil {
		return nil, fmt.Errorf("%s:%d: %w: rule %q never fires for its own example: rule %q takes it first", name, r.line, ErrRules, r.name, before.name)
	}
	return &f.Rules, f.few(name)
}

// shadowed finds a rule whose own example goes to a rule before it, at any of its providers.
func (t *Rules) shadowed() (dead, before *replyRule) {
	var w bounce.Words
	for _, r := range t.replies {
		providers := r.Providers()
		if len(providers) == 0 {
			providers = []string{""}
		}
		yes, _ := r.Examples()
		for _, provider := range providers {
			p := t.For(provider, Normal{}, Damping{})
			for _, reply := range yes {
				w.Read(reply)
				if got := p.match(&w); got != r {
					return r, got
				}
			}
		}
	}
	return nil, nil
}

// file is what has been read of a file, and the rule that is open.
type file struct {
	Rules
	names map[string]bool
	reply *replyRule
	rate  *rateRule
}

func (f *file) take(line int, key, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("%s has no value", key)
	case key == "rule" || key == "rate":
		if f.names[value] {
			return fmt.Errorf("rule %q occurs twice", value)
		}
		f.names[value] = true
		f.reply, f.rate = nil, nil
		if key == "rule" {
			f.reply = &replyRule{name: value, line: line, scope: TargetSource}
			f.replies = append(f.replies, f.reply)
		} else {
			f.rate = &rateRule{name: value, line: line}
			f.rates = append(f.rates, f.rate)
		}
		return nil
	case f.reply != nil:
		return f.reply.set(key, value)
	case f.rate != nil:
		return f.rate.set(key, value)
	default:
		return fmt.Errorf("%q before the first rule", key)
	}
}

func (r *replyRule) set(key, value string) error {
	switch key {
	case "when":
		w, err := parseWhen(value)
		r.whens = append(r.whens, w)
		return err
	case "next":
		r.next = value
		return nil
	}
	if known, err := r.Set(key, value); known || err != nil {
		return err
	}
	return fmt.Errorf("unknown word %q (rule provider code status text unless when next yes no)", key)
}

func (r *rateRule) set(key, value string) (err error) {
	switch key {
	case "provider":
		r.providers = append(r.providers, strings.Fields(value)...)
	case "counts":
		r.counts, err = parseMeasure(value)
	case "sample":
		r.sample, err = parseCount(value)
	case "in":
		r.within, err = parseDuration(value)
		r.slot = r.within.Milliseconds() / slots
	case "low":
		r.low, err = parseThreshold(value)
	case "high":
		r.high, err = parseThreshold(value)
	case "next":
		r.next = value
	default:
		return fmt.Errorf("unknown word %q (rate provider counts sample in low high next)", key)
	}
	return err
}

// check refuses a rule that is incomplete, that contradicts itself, or whose
// examples say that it does not do what it is for.
func (r *replyRule) check() error {
	switch {
	case len(r.whens) == 0:
		return errors.New("it does nothing: add when")
	case r.next == "":
		return errors.New("it does not say what an operator should do: add next")
	}
	for i, w := range r.whens {
		if i > 0 && w.count <= r.whens[i-1].count {
			return errors.New("a later when waits for more matches than the one before it")
		}
		scope := w.action.target
		if w.action.kind == Alert {
			scope = r.scope
		}
		if i > 0 && scope != r.scope {
			return errors.New("matches are counted for the source, a lane or a segment: one rule has one of them")
		}
		r.scope = scope
	}
	if err := r.Check(); err != nil {
		return err
	}
	var w bounce.Words
	yes, no := r.Examples()
	for _, reply := range yes {
		if w.Read(reply); !r.Matches(&w) {
			return fmt.Errorf("it does not match its example %q", reply.String())
		}
	}
	for _, reply := range no {
		if w.Read(reply); r.Matches(&w) {
			return fmt.Errorf("it matches %q, which it must not", reply.String())
		}
	}
	return nil
}

func (r *rateRule) check() error {
	switch {
	case r.counts == 0:
		return errors.New("it counts nothing: add counts")
	case r.sample == 0:
		return errors.New("it has no minimum sample: a small number would act on chance; add sample")
	case r.within < time.Minute:
		return errors.New("it has no window of at least a minute: add in")
	case r.low.share == 0 && r.high.share == 0:
		return errors.New("it does nothing: add low or high")
	case r.low.share != 0 && r.high.share != 0 && r.high.share <= r.low.share:
		return errors.New("high is not above low")
	case r.next == "":
		return errors.New("it does not say what an operator should do: add next")
	}
	for _, t := range []threshold{r.low, r.high} {
		if t.action.kind == Suspend && t.action.target != TargetSource {
			return errors.New("a rate is that of a source at a provider: it cannot suspend a lane or a segment")
		}
	}
	return nil
}
