// SPDX-License-Identifier: Apache-2.0

// Package bounce says what an SMTP reply means: its class, which is what
// happened, and its verdict, which is what to do about the contact. The two are
// not the same: a full mailbox and a blocked address may both be 550, and only
// one of them says anything about the recipient.
//
// Start with [Builtin] for the table of rules that Segue ships and
// [Table.Classify] for each reply. The rules are data (rules.txt, whose head
// explains the form): the first that matches wins, those of a provider come
// before those for everyone, and each carries replies that it must and must not match,
// which the tests run. [Table.Override] puts an operator's rules before them, and
// runs the examples of those; [Classifier] is a table that can be replaced, with a cache in front.
// A reply is matched in time linear in its length, whatever it holds: phrases are looked
// for one after another in at most a kilobyte, and nothing is tried twice.
//
// A verdict of [Suppress] ends all mail to a contact, so only clear evidence
// gives it: the mailbox or the domain does not exist, said with a 5xx code. Policy,
// spam, authentication and quota never do, and neither does any 4xx reply.
//
// The package does not count: what follows from repeated bounces is decided
// elsewhere. It has no clock, no disk and no goroutine; a Table does not change
// and, like a Classifier, may be used by any number of goroutines.
package bounce

import "github.com/seguemta/segue/mta/rfc5321"

// Class is what happened. The names are KumoMTA's, so that operators who come from
// it find their reports again; rules use only some of them.
type Class string

// The classes.
const (
	InvalidRecipient     Class = "InvalidRecipient"
	DNSFailure           Class = "DNSFailure"
	SpamBlock            Class = "SpamBlock"
	SpamContent          Class = "SpamContent"
	ProhibitedAttachment Class = "ProhibitedAttachment"
	RelayDenied          Class = "RelayDenied"
	AutoReply            Class = "AutoReply"
	TransientFailure     Class = "TransientFailure"
	Subscribe            Class = "Subscribe"
	Unsubscribe          Class = "Unsubscribe"
	ChallengeResponse    Class = "ChallengeResponse"
	BadConfiguration     Class = "BadConfiguration"
	BadConnection        Class = "BadConnection"
	BadDomain            Class = "BadDomain"
	ContentRelated       Class = "ContentRelated"
	InactiveMailbox      Class = "InactiveMailbox"
	InvalidSender        Class = "InvalidSender"
	MessageExpired       Class = "MessageExpired"
	NoAnswerFromHost     Class = "NoAnswerFromHost"
	PolicyRelated        Class = "PolicyRelated"
	ProtocolErrors       Class = "ProtocolErrors"
	QuotaIssues          Class = "QuotaIssues"
	RelayingIssues       Class = "RelayingIssues"
	RoutingErrors        Class = "RoutingErrors"
	SpamRelated          Class = "SpamRelated"
	VirusRelated         Class = "VirusRelated"
	AuthenticationFailed Class = "AuthenticationFailed"
	TooManyRecipients    Class = "TooManyRecipients"
	Uncategorized        Class = "Uncategorized"
)

// Known reports whether c is one of the classes above.
func (c Class) Known() bool {
	switch c {
	case InvalidRecipient, DNSFailure, SpamBlock, SpamContent, ProhibitedAttachment, RelayDenied, AutoReply,
		TransientFailure, Subscribe, Unsubscribe, ChallengeResponse, BadConfiguration, BadConnection, BadDomain,
		ContentRelated, InactiveMailbox, InvalidSender, MessageExpired, NoAnswerFromHost, PolicyRelated,
		ProtocolErrors, QuotaIssues, RelayingIssues, RoutingErrors, SpamRelated, VirusRelated,
		AuthenticationFailed, TooManyRecipients, Uncategorized:
		return true
	default:
		return false
	}
}

// Verdict is what a reply means for contact and source.
type Verdict string

// The verdicts.
const (
	Suppress       Verdict = "suppress"       // the contact gets no more mail
	Count          Verdict = "count"          // a soft bounce of the contact: many of them mean something
	Reputation     Verdict = "reputation"     // against the source, the domain or the content, not the contact
	Infrastructure Verdict = "infrastructure" // something of ours or theirs is set up wrongly or is down
	Ignore         Verdict = "ignore"         // says nothing about anyone
)

// Known reports whether v is one of the verdicts above.
func (v Verdict) Known() bool {
	switch v {
	case Suppress, Count, Reputation, Infrastructure, Ignore:
		return true
	default:
		return false
	}
}

// Subject is whose reputation a verdict of [Reputation] is about.
type Subject string

// The subjects.
const (
	IP      Subject = "ip"      // the address that the mail left from, and what leaves from there
	Domain  Subject = "domain"  // the sending domain
	Content Subject = "content" // this message and those like it
)

// Known reports whether s is one of the subjects above.
func (s Subject) Known() bool { return s == IP || s == Domain || s == Content }

// Result is what [Table.Classify] makes of a reply.
type Result struct {
	Class   Class
	Verdict Verdict
	Subject Subject // of a verdict of Reputation, else ""
	Rule    string  // name of the rule; "4xx", "5xx" or "none" where no rule matched
}

// AutoReplied is the result for the answer of a program, such as one on holiday: nothing
// failed, so there is no reply to classify.
func AutoReplied() Result { return Result{Class: AutoReply, Verdict: Ignore, Rule: "auto-reply"} }

// Classify finds the first rule that matches a reply from a provider; "" is
// any provider without a name. Where none does, 4xx is TransientFailure and
// ignored, 5xx is Uncategorized and counted, and anything else is Uncategorized
// and ignored.
func (t *Table) Classify(provider string, r rfc5321.Reply) Result {
	if r.Code >= 400 || r.Code == 0 {
		var space [maxText + 16]byte
		words := text{bytes: space[:0]}
		words.normalize(r.Text)
		likely := t.index.find(&words)
		for _, rules := range [2][]*rule{t.scoped[provider], t.general} {
			for _, rule := range rules {
				if (len(rule.text) == 0 || likely.has(rule.number)) && rule.matches(r, &words) {
					return rule.result
				}
			}
		}
	}
	switch {
	case r.Temporary():
		return Result{Class: TransientFailure, Verdict: Ignore, Rule: "4xx"}
	case r.Permanent():
		return Result{Class: Uncategorized, Verdict: Count, Rule: "5xx"}
	default:
		return Result{Class: Uncategorized, Verdict: Ignore, Rule: "none"}
	}
}
