// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/seguemta/segue/mta/rfc5321"
)

// command is the line that go-smtp is busy with.
type command struct {
	verb string // in upper case; "" before the first
	line string // all of it for MAIL and RCPT, whose paths we read ourselves
}

// say answers a command in our own words.
func (c *Conn) say(code int, enhanced rfc5321.EnhancedCode, text string) {
	c.answer(rfc5321.Reply{Code: code, Enhanced: enhanced, Text: text})
}

// next is what go-smtp reads: it has answered the last command, which is settled
// first. nil ends the conversation.
func (c *Conn) next() []byte {
	c.settle()
	last := c.last
	c.last = 0
	if last == 354 && !c.dead {
		return c.message()
	}
	for !c.dead && !c.upgraded {
		line, err := c.line()
		if err != nil {
			c.fail(err)
			break
		}
		if last == 334 { // the client's half of an AUTH exchange: no command, whatever it looks like
			return line
		}
		if feed := c.dispatch(line); feed != nil {
			return feed
		}
	}
	return nil
}

// dispatch answers a command itself, or returns the line that go-smtp is to see.
func (c *Conn) dispatch(line []byte) []byte {
	if reply := checkCommand(line); reply.Code != 0 {
		c.answer(reply)
		return nil
	}
	text := strings.TrimRight(string(line[:len(line)-2]), " ") // RFC 5321 section 4.1.1: white space at the end is tolerated
	if len(text) < len(line)-2 {
		line = []byte(text + "\r\n")
	}
	verb, arg, _ := strings.Cut(text, " ")
	verb = strings.ToUpper(verb)
	c.command = command{verb: verb}
	if c.helo == "" && needsHelo(verb) {
		c.say(503, rfc5321.EnhancedCode{5, 5, 1}, "EHLO comes first")
		return nil
	}
	switch verb {
	case "MAIL", "RCPT":
		if o := &c.srv.opts; o.Postmaster != "" && strings.EqualFold(text, "RCPT TO:<postmaster>") {
			text = "RCPT TO:<postmaster@" + o.Postmaster + ">"
			line = []byte(text + "\r\n")
		}
		c.command.line = text
		return c.envelope(verb, line)
	case "DATA":
		return c.data(line)
	case "BDAT":
		return c.chunk(arg)
	case "STARTTLS":
		c.startTLS()
		return nil
	case "AUTH":
		if c.inTx() {
			c.say(503, rfc5321.EnhancedCode{5, 5, 1}, "AUTH is not possible within a transaction")
			return nil
		}
	case "EHLO", "HELO":
		if name := cleanHelo(arg); name != "" { // without one go-smtp refuses, and all stays as it was
			c.esmtp, c.helo = verb == "EHLO", name
		}
		c.loiter()
	case "QUIT":
	case "RSET", "NOOP", "VRFY", "EXPN", "HELP":
		c.loiter()
	default:
		if isHTTP(verb) {
			c.end("http", rfc5321.Reply{Code: 421, Enhanced: rfc5321.EnhancedCode{4, 7, 0}, Text: "this is not a web server"})
			return nil
		}
		c.say(500, rfc5321.EnhancedCode{5, 5, 1}, "command not known")
		return nil
	}
	if c.dead {
		return nil
	}
	return line
}

// needsHelo names the commands that a client without a name may not use.
func needsHelo(verb string) bool {
	switch verb {
	case "MAIL", "RCPT", "DATA", "AUTH":
		return true
	default:
		return false
	}
}

// checkCommand refuses octets that no command has: they would travel on in
// addresses, names and logs.
func checkCommand(line []byte) rfc5321.Reply {
	bad := rfc5321.Reply{Code: 500, Enhanced: rfc5321.EnhancedCode{5, 5, 2}}
	text := line[:len(line)-2]
	eightBit := false
	for _, b := range text {
		if b < 0x20 || b == 0x7f {
			bad.Text = "control octet in a command"
			return bad
		}
		eightBit = eightBit || b >= 0x80
	}
	if !eightBit {
		return rfc5321.Reply{}
	}
	verb, _, _ := strings.Cut(string(text), " ")
	if !utf8.Valid(text) || !strings.EqualFold(verb, "MAIL") && !strings.EqualFold(verb, "RCPT") {
		bad.Text = "a command is ASCII, or UTF-8 in the address of MAIL and RCPT"
		return bad
	}
	return rfc5321.Reply{}
}

// envelope sees that MAIL and RCPT come in order; go-smtp would keep the
// recipients of the first MAIL for the second.
func (c *Conn) envelope(verb string, line []byte) []byte {
	inTx := c.inTx()
	switch {
	case verb == "MAIL" && inTx:
		c.say(503, rfc5321.EnhancedCode{5, 5, 1}, "a transaction is open: finish it or send RSET")
	case verb == "RCPT" && !inTx:
		c.say(503, rfc5321.EnhancedCode{5, 5, 1}, "MAIL comes first")
	case verb == "RCPT" && c.text.chunks > 0:
		c.say(503, rfc5321.EnhancedCode{5, 5, 1}, "recipients come before the message")
	default:
		return line
	}
	return nil
}

// data lets DATA through where it has recipients. A client that sent more behind
// a DATA that is refused has most likely sent the message: none of it may be read as
// commands.
func (c *Conn) data(line []byte) []byte {
	code, enhanced, refusal := 503, rfc5321.EnhancedCode{5, 5, 1}, ""
	switch {
	case len(line) != len("DATA\r\n"):
		code, enhanced, refusal = 501, rfc5321.EnhancedCode{5, 5, 4}, "DATA takes no argument"
	case !c.inTx() || c.rcpts == 0:
		refusal = "DATA needs a recipient that was accepted"
	case c.text.chunks > 0:
		refusal = "DATA and BDAT do not mix"
	default:
		return line
	}
	c.say(code, enhanced, refusal)
	if c.r < c.w {
		c.end("unsynchronised", rfc5321.Reply{Code: 421, Enhanced: rfc5321.EnhancedCode{4, 7, 0}, Text: "input after a refused DATA"})
	}
	return nil
}

func (c *Conn) startTLS() {
	switch {
	case c.tls || c.srv.opts.TLS != TLSStart:
		c.say(502, rfc5321.EnhancedCode{5, 5, 1}, "STARTTLS is not offered")
		return
	case c.inTx():
		c.say(503, rfc5321.EnhancedCode{5, 5, 1}, "STARTTLS is not possible within a transaction")
		return
	case c.r < c.w:
		c.end("unsynchronised", rfc5321.Reply{Code: 421, Enhanced: rfc5321.EnhancedCode{4, 7, 0}, Text: "input after STARTTLS"})
		return
	}
	c.say(220, rfc5321.EnhancedCode{2, 0, 0}, "ready for TLS")
	if err := c.flush(); err != nil {
		c.dead = true
		return
	}
	if err := c.handshake(); err != nil {
		c.dead = true // whatever follows would be in clear
		return
	}
	c.command = command{}
	c.upgraded, c.esmtp, c.authed, c.authOffered, c.helo = true, false, false, false, ""
}

// loiter counts a command that moves no mail.
func (c *Conn) loiter() {
	if c.idle++; c.idle > c.srv.opts.MaxIdleCommands {
		c.end("idle_commands", rfc5321.Reply{Code: 421, Enhanced: rfc5321.EnhancedCode{4, 7, 0}, Text: "too many commands without a message"})
	}
}

// end says why the client is cut, and cuts it.
func (c *Conn) end(reason string, r rfc5321.Reply) {
	c.srv.metrics.ended.WithLabelValues(c.srv.opts.Purpose, reason).Inc()
	c.out = appendReply(c.out, r)
	c.dead, c.linger = true, true
}

// fail turns a failed read into the last words. A client that left gets none.
func (c *Conn) fail(err error) {
	code := func(class, subject, detail int) rfc5321.EnhancedCode {
		return rfc5321.EnhancedCode{class, subject, detail}
	}
	switch {
	case errors.Is(err, errDraining):
		c.out = appendReply(c.out, rfc5321.Reply{Code: 421, Enhanced: code(4, 3, 2), Text: c.srv.opts.Hostname + " is shutting down"})
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.end("timeout", rfc5321.Reply{Code: 421, Enhanced: code(4, 4, 2), Text: "waited too long"})
	case errors.Is(err, errBareLineEnd):
		c.end("line_end", rfc5321.Reply{Code: 550, Enhanced: code(5, 5, 2), Text: "bare CR or LF: lines end in CR LF and nothing else"})
	case errors.Is(err, errNUL):
		c.end("nul", rfc5321.Reply{Code: 550, Enhanced: code(5, 6, 0), Text: "NUL octet in the message"})
	case errors.Is(err, errLongCommand):
		c.end("long_command", rfc5321.Reply{Code: 500, Enhanced: code(5, 5, 6), Text: "line too long"})
	case errors.Is(err, errTooMuch):
		c.end("too_much", tooLarge(c.srv.opts.MaxSize))
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
	default:
		c.srv.log.Debug("connection lost")
	}
	c.dead = true
}

// cleanHelo keeps the first word of what a client calls itself, without
// octets that could break out of a Received line.
func cleanHelo(arg string) string {
	name, _, _ := strings.Cut(strings.TrimSpace(arg), " ")
	if len(name) > rfc5321.MaxDomain {
		name = name[:rfc5321.MaxDomain]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-._:[]", r):
			return r
		default:
			return '?'
		}
	}, name)
}

// isHTTP recognises a browser that was talked into posting to us: on a trusted
// address it would be as good as a client.
func isHTTP(verb string) bool {
	switch verb {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PRI":
		return true
	default:
		return strings.HasSuffix(verb, ":")
	}
}
