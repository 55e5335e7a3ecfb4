// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Rule makes a [Sink] do something of its own to a share of the mail.
type Rule struct {
	Phase string        // connect, mail, rcpt, data or dot
	Match string        // the recipient contains this; "" = any
	Share float64       // 0 to 1
	Reply string        // code and text
	Drop  bool          // the connection is closed; at data in the middle of the message, at dot without a reply
	Delay time.Duration // before the reply
}

// ParseRule reads PHASE [MATCH] [SHARE%] ACTION, where a MATCH has an @ in it and
// no share is all:
//
//	rcpt 2% 450 4.2.0 try again later
//	rcpt @dest3.example 550 5.1.1 no such user
//	connect 1% 421 4.3.2 too busy
//	data 0.5% drop
//	dot 10% delay 200ms
//
// A recipient that was chosen is looked at again when it comes again, so that a
// share of 2 % defers 2 % of those once more. A reply of 421 closes the connection.
func ParseRule(text string) (Rule, error) {
	r := Rule{Share: 1}
	wrong := func(format string, args ...any) (Rule, error) {
		return Rule{}, fmt.Errorf("rule %q: %s: say PHASE [@MATCH] [SHARE%%] ACTION, such as \"rcpt 2%% 450 4.2.0 later\"", text, fmt.Sprintf(format, args...))
	}
	words := strings.Fields(text)
	if len(words) == 0 || !slices.Contains(phases(), words[0]) {
		return wrong("the phase has to be one of %s", strings.Join(phases(), ", "))
	}
	r.Phase, words = words[0], words[1:]
	if len(words) > 0 && strings.Contains(words[0], "@") {
		r.Match, words = strings.ToLower(words[0]), words[1:]
		if r.Phase == "connect" || r.Phase == "mail" {
			return wrong("there is no recipient yet")
		}
	}
	if len(words) > 0 && strings.HasSuffix(words[0], "%") {
		share, err := strconv.ParseFloat(strings.TrimSuffix(words[0], "%"), 64)
		if !(err == nil && share >= 0 && share <= 100) { // not a number is not in between either
			return wrong("%s is no share", words[0])
		}
		r.Share, words = share/100, words[1:]
	}
	switch {
	case len(words) == 1 && words[0] == "drop":
		r.Drop = true
	case len(words) == 2 && words[0] == "delay":
		d, err := time.ParseDuration(words[1])
		if err != nil || d <= 0 || d > time.Hour {
			return wrong("%s is no delay", words[1])
		}
		r.Delay = d
	case len(words) > 0 && isReply(words[0]):
		r.Reply = strings.Join(words, " ")
	default:
		return wrong("the action has to be a reply of 4xx or 5xx, drop, or delay DURATION")
	}
	return r, nil
}

func phases() []string { return []string{"connect", "mail", "rcpt", "data", "dot"} }

func isReply(s string) bool {
	code, err := strconv.Atoi(s)
	return err == nil && len(s) == 3 && code >= 400 && code < 600
}

// String is the rule as ParseRule reads it.
func (r Rule) String() string {
	words := []string{r.Phase}
	if r.Match != "" {
		words = append(words, r.Match)
	}
	if r.Share < 1 {
		words = append(words, strconv.FormatFloat(r.Share*100, 'g', -1, 64)+"%")
	}
	switch {
	case r.Reply != "":
		words = append(words, r.Reply)
	case r.Drop:
		words = append(words, "drop")
	default:
		words = append(words, "delay", r.Delay.String())
	}
	return strings.Join(words, " ")
}

// Chaos are rules by which a share of the mail meets each kind of trouble, and a
// twentieth of it a mailbox that does not exist. Nothing is taken without being
// answered, so that a repeat is the sender's.
func Chaos(share float64) []Rule {
	const fatal, slow = 20, 100 * time.Millisecond
	return []Rule{
		{Phase: "connect", Share: share, Reply: "421 4.3.2 too busy"},
		{Phase: "rcpt", Share: share / fatal, Reply: "550 5.1.1 no such user"},
		{Phase: "rcpt", Share: share, Reply: "450 4.2.0 try again later"},
		{Phase: "data", Share: share, Drop: true},
		{Phase: "dot", Share: share, Delay: slow},
		{Phase: "dot", Share: share, Reply: "451 4.3.0 not now"},
		{Phase: "dot", Share: share / 2, Drop: true},
	}
}
