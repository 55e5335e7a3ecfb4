// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// act runs the rule of a phase, or gives the fallback reply. It returns the
// first digit of the last reply given.
func (s *session) act(phase, line, fallback string) (byte, error) {
	r := s.e.rule(s, phase, line)
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
		case "drip":
			answered = true
			code, err = s.drip(a)
		case "flood":
			answered = true
			err = s.flood(a)
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
	case "sip":
		return s.sip(a)
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
	lines := wire(strings.ReplaceAll(text, "{ip}", s.client.addr.String()))
	code := lines[strings.LastIndexByte(strings.TrimSuffix(lines, "\r\n"), '\n')+1]
	s.answered(code)
	if _, err := s.rw.Write([]byte(lines)); err != nil {
		return 0, fmt.Errorf("replying: %w", err)
	}
	return code, nil
}

// drip replies octet by octet.
func (s *session) drip(a Act) (byte, error) {
	text := []byte(wire(a.Reply))
	for i := range text {
		if err := s.pause(a.Delay); err != nil {
			return 0, err
		}
		if i == len(text)-1 {
			s.answered(text[0])
		}
		if _, err := s.rw.Write(text[i : i+1]); err != nil {
			return 0, err
		}
	}
	return text[0], nil
}

// sip reads a little at a time.
func (s *session) sip(a Act) error {
	for {
		if err := s.pause(a.Delay); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, s.br, int64(a.Bytes)); err != nil {
			return err
		}
	}
}

// flood says the same line again and again.
func (s *session) flood(a Act) error {
	for range a.Bytes {
		if _, err := io.WriteString(s.rw, a.Reply+"\r\n"); err != nil {
			return err
		}
	}
	return nil
}
