// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rule makes an [Exchanger] do something of its own at one point of the dialogue.
type Rule struct {
	Phase string // banner ehlo helo starttls handshake mail rcpt data body bdat chunk dot rset quit noop
	Match string // the command contains this, in lower case; "": any
	Nth   int    // only the Nth command of that phase since the start, over all connections; 0: every one
	Terms Terms  // what it asks of the client
	Acts  []Act
}

// Act is one step of a rule.
type Act struct {
	Verb  string // reply drip flood close reset hang silent delay read sip
	Reply string // with "|" between the lines
	Delay time.Duration
	Bytes int // of read and sip; lines of flood
}

// Script reads rules, one a line: PHASE [MATCH] [@N] [TERM=VALUE]... : ACT [then ACT]...
//
//	banner : 554 go away then close
//	rcpt bob@ : 550 5.1.1 no such user
//	mail @3 : 421 4.7.0 enough for today then close
//	ehlo : 250-mx.test|250 SIZE 1000
//	body : read 1000 then 552 5.3.4 too big then hang
//	dot : delay 11m then 250 ok
//	mail over=20/1h for=2h : 421 4.7.0 [TSS04] Messages from {ip} temporarily deferred then close
//
// Terms are about the client: see [Terms]. {ip} in a reply is its address.
//
// Acts: a reply ("|" parts its lines and a line without a code of its own gets
// that of the last line; a written \r\n parts replies that go out together); close; reset (RST); hang (neither reads nor writes any
// more); silent (no reply, but goes on); delay D; read N (of the body, with phase
// body, which runs between 354 and the message); sip N D (reads N octets every D,
// for ever); drip D REPLY (one octet every D); flood N LINE (N times the same line,
// as it is). A rule without a reply leaves the default reply in place for "delay"
// and "read" only. The first rule that matches counts. Script panics on a line it
// cannot read.
//
// BDAT, where CHUNKING is offered, has phase bdat before its octets are read (a
// rule that replies there leaves them unread, and they are taken for commands),
// chunk after those of any but the last, and dot after those of the last.
func Script(lines ...string) []Rule {
	var rules []Rule
	for _, text := range lines {
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			r, err := parseRule(line)
			if err != nil {
				panic(fmt.Sprintf("mtatest: script line %q: %v", line, err))
			}
			rules = append(rules, r)
		}
	}
	return rules
}

func parseRule(line string) (Rule, error) {
	head, acts, ok := strings.Cut(line, " : ")
	if !ok {
		return Rule{}, fmt.Errorf("no \" : \" in it")
	}
	words := strings.Fields(head)
	r := Rule{Phase: words[0]}
	if !strings.Contains(" banner ehlo helo starttls handshake mail rcpt data body bdat chunk dot rset quit noop ", " "+r.Phase+" ") {
		return Rule{}, fmt.Errorf("unknown phase %q", r.Phase)
	}
	for _, w := range words[1:] {
		if n, found := strings.CutPrefix(w, "@"); found && n != "" && n[0] >= '0' && n[0] <= '9' {
			var err error
			if r.Nth, err = strconv.Atoi(n); err != nil {
				return Rule{}, err
			}
			continue
		}
		if term, value, found := strings.Cut(w, "="); found {
			if err := r.Terms.set(term, value); err != nil {
				return Rule{}, err
			}
			continue
		}
		r.Match = strings.ToLower(w)
	}
	for part := range strings.SplitSeq(acts, " then ") {
		a, err := parseAct(strings.TrimSpace(part))
		if err != nil {
			return Rule{}, err
		}
		r.Acts = append(r.Acts, a)
	}
	return r, nil
}

func parseAct(s string) (Act, error) {
	verb, arg, _ := strings.Cut(s, " ")
	switch verb {
	case "close", "reset", "hang", "silent":
		return Act{Verb: verb}, nil
	case "delay":
		d, err := time.ParseDuration(arg)
		return Act{Verb: verb, Delay: d}, err
	case "read":
		n, err := strconv.Atoi(arg)
		return Act{Verb: verb, Bytes: n}, err
	case "sip":
		var a Act
		count, every, _ := strings.Cut(arg, " ")
		n, err := strconv.Atoi(count)
		if err == nil {
			a.Delay, err = time.ParseDuration(every)
		}
		a.Verb, a.Bytes = verb, n
		return a, err
	case "drip":
		every, text, _ := strings.Cut(arg, " ")
		d, err := time.ParseDuration(every)
		return Act{Verb: verb, Delay: d, Reply: text}, err
	case "flood":
		count, text, _ := strings.Cut(arg, " ")
		n, err := strconv.Atoi(count)
		return Act{Verb: verb, Bytes: n, Reply: text}, err
	}
	return Act{Verb: "reply", Reply: s}, nil
}

// wire turns "250-a|250 b" or "550 a|b" into reply lines, and leaves a text with
// written line ends as it is.
func wire(reply string) string {
	if strings.Contains(reply, `\r\n`) {
		return strings.ReplaceAll(reply, `\r\n`, "\r\n") + "\r\n"
	}
	lines := strings.Split(reply, "|")
	last := lines[len(lines)-1]
	code := last
	if len(lines) > 1 && !coded(last) {
		code = lines[0]
	}
	var b strings.Builder
	for i, l := range lines {
		if !coded(l) && coded(code) {
			sep := "-"
			if i == len(lines)-1 {
				sep = " "
			}
			l = code[:3] + sep + l
		} else if i < len(lines)-1 && coded(l) && len(l) > 3 && l[3] == ' ' {
			l = l[:3] + "-" + l[4:]
		}
		b.WriteString(l)
		b.WriteString("\r\n")
	}
	return b.String()
}

func coded(s string) bool {
	if len(s) < 3 || (len(s) > 3 && s[3] != ' ' && s[3] != '-') {
		return false
	}
	_, err := strconv.Atoi(s[:3])
	return err == nil
}
