// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
)

// session is one connection of an exchanger.
type session struct {
	e       *Exchanger
	client  *client
	taken   int  // messages on this connection
	pending bool // a message of it counts as pending
	raw, rw net.Conn
	br      *bufio.Reader
	hello   string
	tls     bool
	mail    bool
	msg     Message
	whole   bool // the message is here, its answer is not written yet
	spoiled bool // a chunk was refused: the rest of the message is too
}

// errEnd ends a session on purpose.
var errEnd = errors.New("mtatest: end of session")

func (s *session) run() {
	if _, err := s.act("banner", "", "220 "+s.e.Name+" ESMTP"); err != nil {
		return
	}
	for {
		line, err := s.br.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.e.record(func() { s.e.mu.commands = append(s.e.mu.commands, line) })
		if !strings.HasPrefix(line, "BDAT ") && !s.alone(line) {
			return
		}
		if err := s.command(line); err != nil {
			return
		}
	}
}

// alone counts a command that the client waits behind, and refuses one that it
// may not send before the answer to the last.
func (s *session) alone(line string) bool {
	switch {
	case s.br.Buffered() == 0:
		s.e.record(func() { s.e.mu.flights++ })
	case !s.e.offers("PIPELINING"):
		s.violation("pipelined without permission: " + line)
		_, _ = s.rw.Write([]byte("554 5.5.0 SMTP command pipelining\r\n"))
		return false
	}
	return true
}

func (s *session) violation(what string) {
	s.e.record(func() { s.e.mu.violations = append(s.e.mu.violations, what) })
}

func (s *session) command(line string) error {
	verb, _, _ := strings.Cut(line, " ")
	phase := strings.ToLower(verb)
	switch phase {
	case "ehlo", "helo":
		s.hello = strings.TrimSpace(line[4:])
		s.mail = false
		s.e.record(s.release)
		_, err := s.act(phase, line, s.greeting(phase))
		return err
	case "starttls":
		return s.startTLS(line)
	case "mail":
		return s.doMail(line)
	case "rcpt":
		return s.doRcpt(line)
	case "data":
		return s.doData(line)
	case "bdat":
		if s.e.offers("CHUNKING") {
			return s.doChunk(line)
		}
		s.violation("BDAT without permission: " + line)
		_, err := s.rw.Write([]byte("500 5.5.2 unknown command\r\n"))
		return err
	case "rset":
		s.mail = false
		s.e.record(s.release)
		_, err := s.act(phase, line, "250 2.0.0 flushed")
		return err
	case "noop":
		_, err := s.act(phase, line, "250 2.0.0 ok")
		return err
	case "quit":
		if _, err := s.act(phase, line, "221 2.0.0 bye"); err != nil {
			return err
		}
		return errEnd
	default:
		_, err := s.rw.Write([]byte("500 5.5.2 unknown command\r\n"))
		return err
	}
}

func (s *session) greeting(phase string) string {
	lines := []string{"250 " + s.e.Name}
	if phase == "ehlo" {
		for _, x := range s.e.Extensions {
			lines = append(lines, "250 "+x)
		}
		if s.e.TLS != nil && !s.tls {
			lines = append(lines, "250 STARTTLS")
		}
	}
	return strings.Join(lines, "|")
}

func (s *session) startTLS(line string) error {
	if s.e.TLS == nil {
		_, err := s.act("starttls", line, "502 5.5.1 not here")
		return err
	}
	code, err := s.act("starttls", line, "220 2.0.0 go ahead")
	if err != nil || code != '2' {
		return err
	}
	if _, err := s.act("handshake", "", ""); err != nil {
		return err
	}
	session := tls.Server(s.raw, s.e.TLS)
	if err := session.HandshakeContext(context.Background()); err != nil {
		return err
	}
	s.rw, s.tls, s.br = session, true, bufio.NewReader(session)
	return nil
}

func (s *session) doMail(line string) error {
	if s.mail {
		s.violation("nested MAIL: " + line)
		_, err := s.rw.Write([]byte("503 5.5.1 nested MAIL\r\n"))
		return err
	}
	code, err := s.act("mail", line, "250 2.1.0 ok")
	if code != '2' {
		s.e.record(s.release)
	}
	if err == nil && code == '2' {
		from, args := path(line)
		s.mail = true
		s.spoiled = false
		s.msg = Message{From: from, MailArgs: args, Hello: s.hello, TLS: s.tls, Remote: addrPort(s.raw.RemoteAddr())}
	}
	return err
}

func (s *session) doRcpt(line string) error {
	fallback := "250 2.1.5 ok"
	if !s.mail {
		fallback = "503 5.5.1 MAIL first"
	}
	code, err := s.act("rcpt", line, fallback)
	if err == nil && code == '2' {
		to, _ := path(line)
		s.msg.To = append(s.msg.To, to)
	}
	return err
}

func (s *session) doData(line string) error {
	if s.br.Buffered() > 0 {
		s.violation("input behind DATA")
	}
	if s.mail && len(s.msg.Data) > 0 { // of this message, not the one before
		s.violation("DATA after BDAT")
	}
	fallback := "354 go ahead"
	switch {
	case !s.mail:
		fallback = "503 5.5.1 MAIL first"
	case len(s.msg.To) == 0:
		fallback = "554 5.5.1 no valid recipients"
	}
	code, err := s.act("data", line, fallback)
	if err != nil || code != '3' {
		return err
	}
	if _, err := s.act("body", "", ""); err != nil {
		return err
	}
	if s.msg.Data, err = s.readData(); err != nil {
		return err
	}
	return s.end("250 2.0.0 queued")
}

// end answers the whole message.
func (s *session) end(fallback string) error {
	s.whole = true
	_, err := s.act("dot", "", fallback)
	s.whole, s.mail = false, false
	s.e.record(s.release)
	return err
}

// answered lists the whole message if it is answered with 2xx. It is ours before
// its sender is told, who may look for it at once, or be gone.
func (s *session) answered(code byte) {
	if s.whole && code == '2' {
		m := s.msg
		s.e.record(func() {
			s.e.mu.messages = append(s.e.mu.messages, m)
			s.client.take(len(m.To))
			s.release()
		})
		s.taken++
		s.whole = false
	}
}

// readData reads to the final dot, strictly: only CRLF.CRLF ends a message.
func (s *session) readData() ([]byte, error) {
	var data []byte
	for {
		line, err := s.br.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		begin := len(data) == 0 || bytes.HasSuffix(data, []byte("\r\n"))
		if begin && string(line) == ".\r\n" {
			return data, nil
		}
		if begin && len(line) > 0 && line[0] == '.' {
			line = line[1:]
		}
		data = append(data, line...)
	}
}

// path takes "MAIL FROM:<a@b> SIZE=1" apart.
func path(line string) (address, args string) {
	_, rest, _ := strings.Cut(line, "<")
	end := strings.LastIndexByte(rest, '>')
	if end < 0 {
		return "", ""
	}
	return rest[:end], strings.TrimSpace(rest[end+1:])
}
