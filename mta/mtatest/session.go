// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// session is one connection of an exchanger.
type session struct {
	e       *Exchanger
	raw, rw net.Conn
	br      *bufio.Reader
	hello   string
	tls     bool
	mail    bool
	msg     Message
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
		alone := s.br.Buffered() == 0
		s.e.record(func() {
			s.e.mu.commands = append(s.e.mu.commands, line)
			if alone {
				s.e.mu.flights++
			}
		})
		if !alone && !s.e.offers("PIPELINING") {
			s.violation("pipelined without permission: " + line)
			_, _ = s.rw.Write([]byte("554 5.5.0 SMTP command pipelining\r\n"))
			return
		}
		if err := s.command(line); err != nil {
			return
		}
	}
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
	case "rset":
		s.mail = false
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
	if err == nil && code == '2' {
		from, args := path(line)
		s.mail = true
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
	code, err = s.act("dot", "", "250 2.0.0 queued")
	if code == '2' {
		s.e.record(func() { s.e.mu.messages = append(s.e.mu.messages, s.msg) })
	}
	s.mail = false
	return err
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

// act runs the rule of a phase, or gives the fallback reply. It returns the
// first digit of the last reply given.
func (s *session) act(phase, line, fallback string) (byte, error) {
	r := s.e.rule(phase, line)
	if r == nil {
		return s.reply(fallback)
	}
	code, answered := byte(0), false
	for _, a := range r.Acts {
		var err error
		switch a.Verb {
		case "reply":
			answered = true
			code, err = s.reply(a.Reply)
		case "silent":
			answered = true
		case "read":
			_, err = io.CopyN(io.Discard, s.br, int64(a.Bytes))
		default:
			err = s.misbehave(a)
		}
		if err != nil {
			return code, err
		}
	}
	if answered {
		return code, nil
	}
	return s.reply(fallback)
}

func (s *session) misbehave(a Act) error {
	switch a.Verb {
	case "delay":
		return s.pause(a.Delay)
	case "hang":
		<-s.e.done
	case "reset":
		if c, ok := s.raw.(interface{ Reset() }); ok {
			c.Reset()
		} else if c, ok := s.raw.(*net.TCPConn); ok {
			_ = c.SetLinger(0)
			_ = c.Close()
		}
	}
	return errEnd
}

func (s *session) pause(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.e.done:
		return errEnd
	}
}

func (s *session) reply(text string) (byte, error) {
	if text == "" {
		return 0, nil
	}
	lines := wire(text)
	_, err := s.rw.Write([]byte(lines))
	if err != nil {
		return 0, fmt.Errorf("replying: %w", err)
	}
	last := strings.LastIndexByte(strings.TrimSuffix(lines, "\r\n"), '\n')
	return lines[last+1], nil
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
