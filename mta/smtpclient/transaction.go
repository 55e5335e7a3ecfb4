// SPDX-License-Identifier: Apache-2.0

package smtpclient

import (
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
)

// Transaction is one message for one or more recipients of one site.
type Transaction struct {
	From rfc5321.Address // the zero Address is <>
	To   []rfc5321.Address

	// Parts are the message when put behind one another: signature, added
	// headers, stored parts. Lines end in CRLF (a missing last one is added);
	// the dots are stuffed on the way. Parts are only read, so they may be shared.
	Parts [][]byte

	EightBit bool // Parts hold bytes over 0x7f: needs 8BITMIME
	UTF8     bool // header fields hold UTF-8: needs SMTPUTF8 (RFC 6532)
}

// Size is the length of the message in octets, as in SIZE= (RFC 1870).
func (t *Transaction) Size() int64 {
	var n int64
	for _, p := range t.Parts {
		n += int64(len(p))
	}
	return n
}

// Outcome is what became of one recipient.
type Outcome struct {
	// Reply is the final answer: to RCPT or MAIL where that refused, to DATA or
	// to the final dot otherwise. Code 0 means that no answer came: see
	// [Result.Err].
	rfc5321.Reply
	Phase Phase // what the reply answered; [PhaseCheck] for a reply that we made ourselves
}

// Delivered reports that the server took responsibility (2xx after the dot).
func (o Outcome) Delivered() bool { return o.Phase == PhaseDot && positive(o.Reply) }

// Answered reports whether there is a final answer. Without one the recipient
// has to be tried again.
func (o Outcome) Answered() bool { return o.Code != 0 }

// Result is what became of a transaction.
type Result struct {
	Recipients []Outcome // one for each of Transaction.To, in its order
	// Err says why the connection broke, nil where it did not. Outcomes that
	// were answered before it broke stand.
	Err *Error
	// MailSent: MAIL was put on the wire. A budget is charged for it; without it
	// nothing was spent. It is set also where Err.Stale says that most likely
	// nobody read it.
	MailSent bool
	// Reusable: the connection is ready for another transaction. It can be false
	// without an Err, when every recipient was answered: then Close and dial again.
	Reusable bool
}

// local is an answer that we give ourselves before MAIL.
func local(code int, enhanced rfc5321.EnhancedCode, text string) Outcome {
	return Outcome{Reply: rfc5321.Reply{Code: code, Enhanced: enhanced, Text: text}, Phase: PhaseCheck}
}

// admit answers for the recipients that cannot be offered to this server and
// returns the indices of the others.
func (c *Conn) admit(tx *Transaction, res *Result) []int {
	if all, refused := c.refuse(tx); refused {
		for i := range res.Recipients {
			res.Recipients[i] = all
		}
		return nil
	}
	todo := make([]int, 0, len(tx.To))
	for i, to := range tx.To {
		switch {
		case to.IsZero() || !plain(to.String()):
			res.Recipients[i] = local(553, rfc5321.EnhancedCode{5, 1, 3}, "recipient address cannot be written in SMTP")
		case to.NeedsUTF8() && !c.ext.SMTPUTF8:
			res.Recipients[i] = local(553, rfc5321.EnhancedCode{5, 6, 7}, "address needs SMTPUTF8, which the server does not offer")
		default:
			todo = append(todo, i)
		}
	}
	return todo
}

// refuse finds what is wrong with the whole transaction.
func (c *Conn) refuse(tx *Transaction) (Outcome, bool) {
	switch {
	case !plain(tx.From.String()):
		return local(553, rfc5321.EnhancedCode{5, 1, 7}, "sender address cannot be written in SMTP"), true
	case (tx.UTF8 || tx.From.NeedsUTF8()) && !c.ext.SMTPUTF8:
		return local(550, rfc5321.EnhancedCode{5, 6, 7}, "message needs SMTPUTF8, which the server does not offer"), true
	case tx.EightBit && !c.ext.EightBitMIME:
		return local(554, rfc5321.EnhancedCode{5, 6, 3}, "message has 8-bit content and the server does not offer 8BITMIME"), true
	case c.ext.Size > 0 && tx.Size() > c.ext.Size:
		return local(552, rfc5321.EnhancedCode{5, 3, 4}, "message is larger than the server accepts"), true
	case CheckLines(tx.Parts) != nil:
		return local(554, rfc5321.EnhancedCode{5, 6, 0}, ErrLineEnding.Error()), true
	default:
		return Outcome{}, false
	}
}

// plain reports that an address cannot break out of its command line, wherever
// it came from.
func plain(s string) bool { return !strings.ContainsAny(s, "\r\n\x00") }

// mailLine and rcptLine append a command with its line end.
func (c *Conn) mailLine(tx *Transaction, todo []int) string {
	var b strings.Builder
	b.WriteString("MAIL FROM:<")
	b.WriteString(tx.From.String())
	b.WriteByte('>')
	if c.ext.HasSize {
		b.WriteString(" SIZE=")
		b.WriteString(itoa(tx.Size()))
	}
	utf8 := tx.UTF8 || tx.From.NeedsUTF8()
	for _, i := range todo {
		utf8 = utf8 || tx.To[i].NeedsUTF8()
	}
	if c.ext.EightBitMIME && (tx.EightBit || utf8) {
		b.WriteString(" BODY=8BITMIME")
	}
	if utf8 {
		b.WriteString(" SMTPUTF8")
	}
	return b.String()
}
