// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const notFromAList = "From: MAILER-DAEMON@mx.example.net\nTo: b7@bounce.example.com\nSubject: Mail delivery failed: returning message to sender\n"

// TestNotices: what programs write for people. Each recipient is a line: final, original,
// action, reply.
func TestNotices(t *testing.T) {
	for _, tt := range []struct{ name, mail, want string }{
		{"qmail", notFromAList + `
Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.

<ann@example.net>:
192.0.2.7 does not like recipient.
Remote host said: 550 5.1.1 <ann@example.net> no such user
Giving up on 192.0.2.7.

<bob@example.net>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

From: carol@example.com
`, `ann@example.net  failed 550 5.1.1 <ann@example.net> no such user Giving up on 192.0.2.7.
bob@example.net  failed 550 5.1.1 Sorry, no mailbox here by that name. (#5.1.1)`},
		{"Exim", notFromAList + `X-Failed-Recipients: ann@box.example.net

This message was created automatically by mail delivery software.

The following address(es) failed:

  ann@box.example.net
    (generated from ann@example.net)
    SMTP error from remote mail server after RCPT TO:<ann@box.example.net>:
    host box.example.net [192.0.2.7]: 550 No such user

------ This is a copy of the message, including all the headers. ------

Return-path: <b7@bounce.example.com>
`, "ann@box.example.net ann@example.net failed 550 No such user"},
		{"the old Sendmail", notFromAList + `
   ----- Transcript of session follows -----
While talking to mx.example.net:
>>> RCPT To:<ann@example.net>
<<< 550 no such user here
550 <ann@example.net>... User unknown
554 <bob@example.org>... 550 Host unknown

   ----- Unsent message follows -----
From: carol@example.com
`, "ann@example.net  failed 550 <ann@example.net>... User unknown\nbob@example.org  failed 554 <bob@example.org>... 550 Host unknown"},
		{"a code twice", notFromAList + `
Delivery to the following recipient failed permanently:

     ann@example.net

The error that the other server returned was: 554 554 5.7.1 Rejected (state 13).

----- Original message -----
`, "ann@example.net  failed 554 5.7.1 Rejected (state 13)."},
		{"a code and a colon", notFromAList + "\nSorry.\n\n<ann@example.net>:\n550: : User unknown\n", "ann@example.net  failed 550 : User unknown"},
		{
			"a sentence", notFromAList + "\nUser mailbox exceeds allowed size: ann@example.net\n\nOriginal message follows.\n\nTo: ann@example.net\n",
			"ann@example.net  failed 550 User mailbox exceeds allowed size: ann@example.net",
		},
		{
			"only the copy names anybody", notFromAList + "\nYour message could not be delivered.\n\n--- Original message follows ---\n\nTo: Ann <ann@example.net>\n",
			"ann@example.net  failed 550 Your message could not be delivered.",
		},
		{
			"a warning", strings.Replace(notFromAList, "failed: returning message to sender", "warning: delayed", 1) + "\nDelivery has been delayed:\n\n  ann@example.net\n\nIt will be retried.\n",
			"ann@example.net  delayed 450 4.0.0 It will be retried.",
		},
		{
			"HTML", notFromAList + "Content-Type: text/html\n\n<html><style>p{}</style><p>Delivery failed:</p><div>ann&#64;example.net</div><p>550 5.2.2 Mailbox full</p></html>\n",
			"ann@example.net  failed 550 5.2.2 Mailbox full",
		},
		{
			"Amazon SES", "From: no-reply@sns.amazonaws.com\nSubject: AWS Notification Message\n\n" +
				`{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{"emailAddress":"ann@example.net","action":"failed","status":"5.1.1","diagno!` + "\n " + `sticCode":"smtp; 550 5.1.1 user unknown"}]}}` + "\n",
			"ann@example.net  failed 550 5.1.1 user unknown",
		},
		{"an answer", "From: Ann <ann@example.net>\nSubject: Automatic reply: hello\n\nI am away. 550 5.1.1\n", "ann@example.net  answered 0 Automatic reply: hello"},
		{
			"an answer to mail about a delivery", "Return-Path: <>\nFrom: Ann <ann@example.net>\nSubject: Automatic reply: Problem with your delivery\n\nI am away. In urgent cases write to bob@example.net\n",
			"ann@example.net  answered 0 Automatic reply: Problem with your delivery",
		},
		{
			"an answer of Gmail", "Return-Path: <>\nX-Autoreply: yes\nFrom: Ann <ann@example.net>\nSubject: Re: Problem with your delivery\n\nI am away. In urgent cases write to bob@example.net\n",
			"ann@example.net  answered 0 Re: Problem with your delivery",
		},
		{
			"words where the status says nothing", "From: MAILER-DAEMON@x.example\nContent-Type: multipart/report; boundary=b\n\n--b\n\nann@example.net: 550 5.7.25 no reverse name\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; ann@example.net\nAction: failed\nStatus: 5.0.0\n\n--b--\n",
			"ann@example.net  failed 550 5.7.25 no reverse name",
		},
		{
			"a status about a program", "From: MAILER-DAEMON@x.example\nX-Failed-Recipients: ann@example.net\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; |/usr/bin/filter\nAction: failed\nStatus: 5.0.0\n\n--b--\n",
			"|/usr/bin/filter ann@example.net failed 550 5.0.0",
		},
		{"somebody writes about one", "From: Ann <ann@example.net>\nSubject: Re: Mail delivery failed\n\nI got this:\n\n<bob@example.net>:\n550 no such user\n", ""},
		{"a daemon writes of something else", "From: MAILER-DAEMON@x.example\nSubject: your quota\n\nbob@example.net has 3 MB left\n", ""},
		{"a list passed it on", notFromAList + "List-Id: <talk.example.org>\n\n<ann@example.net>:\n550 no such user\n", ""},
		{"nobody is named", notFromAList + "\nSomething failed.\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, text := range [][]byte{[]byte(tt.mail), crlf(tt.mail)} {
				report, err := Parse(text)
				var got []string
				for _, r := range report.Recipients {
					got = append(got, fmt.Sprintf("%s %s %s %s", r.Final, r.Original, r.Action, r.Reply()))
				}
				if s := strings.Join(got, "\n"); s != tt.want {
					t.Errorf("got\n%s\nwant\n%s", s, tt.want)
				}
				if (tt.want == "") != errors.Is(err, ErrNotReport) {
					t.Error(err)
				}
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "",
		"a@b @c.example d@ e@f.g":                "",
		"<ann@example.net>, bob@example.org.":    "ann@example.net bob@example.org",
		"'ann@example.net' ann+x@a-b.example":    "ann@example.net ann+x@a-b.example",
		"x@127.0.0.1 x@example..net y@q002.com":  "y@q002.com",
		strings.Repeat("a", 65) + "@example.net": "",
		"ann@exämple.net":                        "ann@exämple.net",
	} {
		if got := strings.Join(addresses(text), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
