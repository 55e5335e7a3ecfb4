// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
)

// maxReplyText keeps a reply line within RFC 5321 section 4.5.3.1.5.
const maxReplyText = 480

// appendReply adds a reply as one line; octets that could end it early become
// question marks.
func appendReply(b []byte, r rfc5321.Reply) []byte {
	b = strconv.AppendInt(b, int64(r.Code), 10)
	b = append(b, ' ')
	if e := r.Enhanced; e != (rfc5321.EnhancedCode{}) {
		for i, n := range e {
			if i > 0 {
				b = append(b, '.')
			}
			b = strconv.AppendInt(b, int64(n), 10)
		}
		b = append(b, ' ')
	}
	text := r.Text
	if len(text) > maxReplyText {
		text = text[:maxReplyText]
	}
	for i := range len(text) {
		if text[i] < 0x20 || text[i] >= 0x7f {
			b = append(b, '?')
		} else {
			b = append(b, text[i])
		}
	}
	return append(b, '\r', '\n')
}

// answer says r, counts it, and ends the connection where r says so.
func (c *Conn) answer(r rfc5321.Reply) {
	c.out = appendReply(c.out, r)
	c.count(r.Code)
}

func (c *Conn) count(code int) {
	switch {
	case code == 421:
		c.dead, c.linger = true, true
	case code >= 400:
		if c.errors++; c.errors > c.srv.opts.MaxErrors {
			c.end("errors", rfc5321.Reply{Code: 421, Enhanced: rfc5321.EnhancedCode{4, 7, 0}, Text: "too many errors"})
		}
	case code < 300 && c.command.verb == "DATA":
		c.errors, c.idle = 0, 0
	}
	if len(c.out) > maxReplies {
		if err := c.flush(); err != nil {
			c.dead = true
		}
	}
}

// settle takes over what go-smtp answered to the last command: our own words
// replace it where we have some.
func (c *Conn) settle() {
	raw := c.reply
	c.reply = c.reply[:0]
	override := c.override
	c.override = nil
	switch {
	case c.dead:
	case override != nil:
		c.answer(*override)
	case len(raw) > 0:
		c.translate(raw)
	}
}

// translate passes go-smtp's words on, but for those that we know better.
func (c *Conn) translate(raw []byte) {
	code := lastCode(raw)
	switch {
	case code == 220 && c.command.verb == "":
		if !c.greeted { // after STARTTLS there is no second banner
			c.answer(rfc5321.Reply{Code: 220, Text: c.srv.opts.Hostname + " ESMTP"})
		}
		c.greeted = true
	case code == 250 && c.command.verb == "EHLO":
		c.out = c.appendEHLO(c.out)
	case code == 250 && c.command.verb == "HELO":
		c.answer(rfc5321.Reply{Code: 250, Text: c.srv.opts.Hostname})
	case code == 354:
		c.last = 354
		if c.text.chunks == 0 {
			c.answer(rfc5321.Reply{Code: 354, Text: "send the message, end it with CR LF . CR LF"})
		}
	case code == 334:
		c.last = 334
		c.out = append(c.out, raw...)
	case code == 235:
		c.authed = true
		c.answer(rfc5321.Reply{Code: 235, Enhanced: rfc5321.EnhancedCode{2, 7, 0}, Text: "authenticated"})
	case code == 500 && bytes.Contains(raw, []byte("Unknown")): // the command is known (RFC 5321 section 4.1.1.11)
		c.say(555, rfc5321.EnhancedCode{5, 5, 4}, "a parameter of "+c.command.verb+" is not known")
	case code == 501 && bytes.Contains(raw, []byte("SIZE")) && hugeSize(c.command.line):
		c.answer(tooLarge(c.srv.opts.MaxSize))
	case code == 454 && bytes.Contains(raw, []byte("base64")):
		c.say(501, rfc5321.EnhancedCode{5, 5, 2}, "that is not base64")
	default:
		c.out = append(c.out, raw...)
		c.count(code)
	}
}

// hugeSize reports a SIZE of MAIL that is a number (RFC 1870 section 5 allows 20 digits), which
// go-smtp, whose numbers end at 4 GiB, takes for none.
func hugeSize(line string) bool {
	for word := range strings.FieldsSeq(strings.ToUpper(line)) {
		if size, ok := strings.CutPrefix(word, "SIZE="); ok {
			return size != "" && len(size) <= 20 && strings.Trim(size, "0123456789") == ""
		}
	}
	return false
}

// lastCode is the code of the last line of a reply, 0 where there is none.
func lastCode(raw []byte) int {
	line := bytes.TrimSuffix(raw, []byte("\r\n"))
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	if len(line) < 3 {
		return 0
	}
	code, err := strconv.Atoi(string(line[:3]))
	if err != nil {
		return 0
	}
	return code
}

func (c *Conn) appendEHLO(b []byte) []byte {
	o := &c.srv.opts
	b = fmt.Appendf(b, "250-%s\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n", o.Hostname)
	if o.TLS == TLSStart && !c.tls {
		b = append(b, "250-STARTTLS\r\n"...)
	}
	if c.authOffered {
		b = append(b, "250-AUTH PLAIN LOGIN\r\n"...)
	}
	if o.UTF8 {
		b = append(b, "250-SMTPUTF8\r\n"...)
	}
	return fmt.Appendf(b, "250-LIMITS RCPTMAX=%d\r\n250 SIZE %d\r\n", o.MaxRecipients, o.MaxSize)
}

// refusal is what a client hears of a handler's error. Only a Refusal speaks
// for itself; what failed inside stays inside.
func (c *Conn) refusal(err error) rfc5321.Reply {
	if r, ok := errors.AsType[*rfc5321.Refusal](err); ok && r.Reply.Code >= 400 {
		return r.Reply
	}
	c.srv.log.Error("handling a command failed",
		slog.String("command", c.command.verb), slog.String("error", err.Error()))
	return rfc5321.Reply{Code: 451, Enhanced: rfc5321.EnhancedCode{4, 3, 0}, Text: "local error, try again later"}
}

func tooLarge(limit int64) rfc5321.Reply {
	return rfc5321.Reply{
		Code: 552, Enhanced: rfc5321.EnhancedCode{5, 3, 4},
		Text: fmt.Sprintf("message larger than %d octets", limit),
	}
}
