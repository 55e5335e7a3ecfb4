// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Bounds of one session.
const (
	sessionIdle = 2 * time.Minute
	readBuffer  = 32 << 10
	maxCommand  = 2 << 10
	maxMessage  = 32 << 20
	maxTargets  = 100 // recipients of a transaction
)

// Host is the mind of a mail server: a Session speaks, a Host decides. It is
// asked by many sessions at a time.
type Host interface {
	// Mail answers MAIL, when there is no sender yet.
	Mail(s *Session) Answer
	// Rcpt answers RCPT; the address is in lower case.
	Rcpt(s *Session, address string) Answer
	// Data answers DATA, or the first BDAT, when there are recipients.
	Data(s *Session) Answer
	// Done answers the end of the message.
	Done(s *Session) Answer
}

// Answer is what a Host makes of a command. The zero Answer is yes.
type Answer struct {
	Reply string        // code and text; "" is the usual reply of success
	Delay time.Duration // before the reply
	Cut   bool          // close the connection after the reply, or instead of one; after 354, in the middle of the message
}

func (a Answer) yes() bool { return !a.Cut && (a.Reply == "" || a.Reply[0] == '2') }

// Session is one SMTP conversation (RFC 5321), the server's side of it. It is
// made for many messages a second, and forgives what a listener on the open
// internet must not: it is no submission server.
type Session struct {
	Conn     net.Conn
	Host     Host
	Name     string     // of the host, as it greets
	Client   netip.Addr // for the Host
	Keep     bool       // messages are kept in Message while Done looks at them
	Chunking bool       // offers BDAT (RFC 3030)

	// The transaction, for the Host to read.
	Sender  string   // return path
	To      []string // accepted, lower case
	Size    int      // octets of the message
	Message []byte

	r        *bufio.Reader
	w        *bufio.Writer
	hello    bool
	hasMail  bool
	chunking bool // between two BDAT of a message
}

// Refuse greets with a reply that sends the client away.
func (s *Session) Refuse(reply string) {
	s.open()
	s.say(reply)
	s.flush()
}

func (s *Session) open() {
	s.r, s.w = bufio.NewReaderSize(s.Conn, readBuffer), bufio.NewWriter(s.Conn)
}

func (s *Session) say(line string) {
	_, _ = s.w.WriteString(line) // flush reports it
	_, _ = s.w.WriteString("\r\n")
}

func (s *Session) flush() bool { return s.w.Flush() == nil }

// Serve speaks until the client quits, the connection breaks, or the Host cuts
// it. Cancelling the context ends delays; closing the connection ends the rest.
func (s *Session) Serve(ctx context.Context) {
	s.open()
	s.say("220 " + s.Name + " ESMTP simulated")
	for {
		// Replies wait while more commands are there: that is what PIPELINING saves.
		if s.r.Buffered() == 0 {
			if !s.flush() {
				return
			}
			_ = s.Conn.SetDeadline(time.Now().Add(sessionIdle)) // a closed connection fails at the next read
		}
		line, err := s.line()
		if err != nil {
			return
		}
		verb, args, _ := strings.Cut(line, " ")
		if !s.command(ctx, strings.ToUpper(verb), args) {
			s.flush()
			return
		}
	}
}

// line reads one command without its line end.
func (s *Session) line() (string, error) {
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
func (s *Session) command(ctx context.Context, verb, args string) bool {
	switch verb {
	case "MAIL":
		return s.mail(ctx, args)
	case "RCPT":
		return s.rcpt(ctx, args)
	case "DATA":
		return s.data(ctx)
	case "BDAT":
		return s.bdat(ctx, args)
	case "EHLO":
		s.ehlo()
	case "HELO":
		s.reset()
		s.hello = true
		s.say("250 " + s.Name)
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

func (s *Session) ehlo() {
	s.reset()
	s.hello = true
	for _, ext := range []string{s.Name, "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8"} {
		s.say("250-" + ext)
	}
	if s.Chunking {
		s.say("250-CHUNKING")
	}
	s.say("250 SIZE 33554432")
}

func (s *Session) reset() {
	s.Sender, s.hasMail, s.To = "", false, s.To[:0]
	s.chunking, s.Size, s.Message = false, 0, s.Message[:0]
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

// give carries an answer out and reports whether the session goes on.
func (s *Session) give(ctx context.Context, a Answer, success string) bool {
	if a.Delay > 0 && !s.wait(ctx, a.Delay) {
		return false
	}
	switch {
	case a.Reply != "":
		s.say(a.Reply)
	case !a.Cut:
		s.say(success)
	}
	return !a.Cut
}

// wait lets the earlier replies go, and time pass.
func (s *Session) wait(ctx context.Context, d time.Duration) bool {
	if !s.flush() {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return s.Conn.SetDeadline(time.Now().Add(sessionIdle)) == nil
}

func (s *Session) mail(ctx context.Context, args string) bool {
	sender, ok := path(args, "FROM:")
	switch {
	case !s.hello:
		s.say("503 5.5.1 say EHLO first")
	case !ok:
		s.say("501 5.5.4 MAIL FROM:<address>")
	case s.hasMail:
		s.say("503 5.5.1 there is a sender already")
	default:
		s.Sender = sender
		a := s.Host.Mail(s)
		s.hasMail = a.yes()
		return s.give(ctx, a, "250 2.1.0 ok")
	}
	return true
}

func (s *Session) rcpt(ctx context.Context, args string) bool {
	address, ok := path(args, "TO:")
	switch {
	case !s.hasMail:
		s.say("503 5.5.1 say MAIL first")
	case !ok:
		s.say("501 5.5.4 RCPT TO:<address>")
	case len(s.To) >= maxTargets:
		s.say("452 4.5.3 too many recipients")
	default:
		address = strings.ToLower(address)
		a := s.Host.Rcpt(s, address)
		if a.yes() {
			s.To = append(s.To, address)
		}
		return s.give(ctx, a, "250 2.1.5 ok")
	}
	return true
}
