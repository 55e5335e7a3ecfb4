// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Bounds of one session.
const (
	sessionIdle = 2 * time.Minute
	maxCommand  = 2 << 10
	maxMessage  = 32 << 20
	maxTargets  = 100 // recipients of a transaction
)

// session is one SMTP conversation (RFC 5321), the server's side of it.
type session struct {
	p    *provider
	c    net.Conn
	from netip.Addr
	r    *bufio.Reader
	w    *bufio.Writer

	hello   bool
	sender  string // return path, once hasMail
	hasMail bool
	to      []string // accepted, lower case
	message []byte
}

func newSession(p *provider, c net.Conn, from netip.Addr) *session {
	return &session{p: p, c: c, from: from, r: bufio.NewReaderSize(c, 16<<10), w: bufio.NewWriter(c)}
}

func (s *session) say(line string) {
	_, _ = s.w.WriteString(line + "\r\n") // flush reports it
}

func (s *session) flush() bool { return s.w.Flush() == nil }

// serve speaks until the client quits, the connection breaks, or temper cuts it.
func (s *session) serve() {
	s.say("220 mx." + s.p.t.Zone + " ESMTP simulated")
	for {
		// Replies wait while more commands are there: that is what PIPELINING saves.
		if s.r.Buffered() == 0 && !s.flush() {
			return
		}
		_ = s.c.SetDeadline(time.Now().Add(sessionIdle)) // a closed connection fails at the next read
		line, err := s.line()
		if err != nil {
			return
		}
		verb, args, _ := strings.Cut(line, " ")
		if !s.command(strings.ToUpper(verb), args) {
			s.flush()
			return
		}
	}
}

// line reads one command without its line end.
func (s *session) line() (string, error) {
	b, err := s.r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	if len(b) > maxCommand {
		return "", bufio.ErrTooLong
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// command answers one command and reports whether the session goes on.
func (s *session) command(verb, args string) bool {
	switch verb {
	case "EHLO":
		s.reset()
		s.hello = true
		for _, ext := range []string{"PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8"} {
			s.say("250-" + ext)
		}
		s.say("250 SIZE 33554432")
	case "HELO":
		s.reset()
		s.hello = true
		s.say("250 mx." + s.p.t.Zone)
	case "MAIL":
		return s.mail(args)
	case "RCPT":
		s.rcpt(args)
	case "DATA":
		return s.data()
	case "RSET":
		s.reset()
		s.say("250 2.0.0 ok")
	case "NOOP":
		s.say("250 2.0.0 ok")
	case "QUIT":
		s.say("221 2.0.0 bye")
		return false
	default:
		s.say("500 5.5.1 command not known")
	}
	return true
}

func (s *session) reset() {
	s.sender, s.hasMail, s.to = "", false, s.to[:0]
}

// path reads "FROM:<a@b> PARAMETERS" after its keyword.
func path(args, keyword string) (string, bool) {
	if len(args) < len(keyword) || !strings.EqualFold(args[:len(keyword)], keyword) {
		return "", false
	}
	rest := strings.TrimLeft(args[len(keyword):], " ")
	if !strings.HasPrefix(rest, "<") {
		return "", false
	}
	address, _, ok := strings.Cut(rest[1:], ">")
	return address, ok
}

func (s *session) mail(args string) bool {
	sender, ok := path(args, "FROM:")
	switch {
	case !s.hello:
		s.say("503 5.5.1 say EHLO first")
	case !ok:
		s.say("501 5.5.4 MAIL FROM:<address>")
	case s.hasMail:
		s.say("503 5.5.1 there is a sender already")
	case s.p.overQuota(s.from):
		s.say("421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address.")
		return false
	default:
		s.sender, s.hasMail = sender, true
		s.say("250 2.1.0 ok")
	}
	return true
}

func (s *session) rcpt(args string) {
	address, ok := path(args, "TO:")
	switch {
	case !s.hasMail:
		s.say("503 5.5.1 say MAIL first")
	case !ok:
		s.say("501 5.5.4 RCPT TO:<address>")
	case len(s.to) >= maxTargets:
		s.say("452 4.5.3 too many recipients")
	default:
		s.say(s.judge(strings.ToLower(address)))
	}
}

// judge is the reply to one recipient.
func (s *session) judge(address string) string {
	p := s.p
	_, domain, _ := strings.Cut(address, "@")
	exists, dead := p.w.o.Population.mailbox(address)
	temporary := ""
	switch {
	case p.w.byDomain[domain] != p:
		return p.reject("550 5.7.1 relaying denied")
	case p.tooFast(s.from):
		temporary = "451 4.7.500 Server busy. Please try again later."
	case p.early(s.from, address):
		temporary = "451 4.7.1 Greylisted, please try again in a moment"
	case (!exists || dead) && !p.t.Late:
		if p.t.UnknownUser != "" {
			return p.reject(p.t.UnknownUser)
		}
		return p.reject(notThere)
	}
	if temporary != "" {
		p.count(func(c *Counts) { c.Deferred++ })
		return temporary
	}
	s.to = append(s.to, address)
	return "250 2.1.5 ok"
}

func (p *provider) reject(reply string) string {
	p.count(func(c *Counts) { c.Rejected++ })
	return reply
}

// data takes the message, or hangs up in the middle of it.
func (s *session) data() bool {
	if len(s.to) == 0 {
		s.say("503 5.5.1 no valid recipients")
		return true
	}
	s.say("354 go ahead")
	if !s.flush() {
		return false
	}
	if slices.ContainsFunc(s.to, s.p.cuts) {
		// Part of the message, so that the client is in the middle of writing it.
		_, _ = s.r.Peek(1)
		return false
	}
	if err := s.readMessage(); err != nil {
		return false
	}
	s.p.take(s)
	s.say("250 2.0.0 taken")
	s.reset()
	return true
}

// readMessage reads up to the final dot and takes the stuffed dots out.
func (s *session) readMessage() error {
	s.message = s.message[:0]
	begins := true
	for {
		b, err := s.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if begins && err == nil && bytes.Equal(b, []byte(".\r\n")) {
			return nil
		}
		if begins && len(b) > 0 && b[0] == '.' {
			b = b[1:]
		}
		if len(s.message)+len(b) > maxMessage {
			return io.ErrShortBuffer
		}
		s.message = append(s.message, b...)
		begins = err == nil
	}
}
