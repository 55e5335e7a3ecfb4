// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/seguemta/segue/mta/rfc5321"
)

// errRefused tells go-smtp that a command failed; the client hears Conn.override.
var errRefused = errors.New("refused")

// session is what go-smtp calls: it turns its calls into those of a Handler.
type session struct {
	c    *Conn
	h    Handler
	utf8 bool // the open transaction has SMTPUTF8
}

var _ smtp.AuthSession = (*session)(nil)

func newSession(sc *smtp.Conn) (smtp.Session, error) {
	f, ok := sc.Conn().(*face)
	if !ok {
		return nil, fmt.Errorf("unexpected connection %T", sc.Conn())
	}
	s := &session{c: f.c, h: f.c.srv.opts.NewHandler(f.c)}
	f.c.authOffered = s.authAllowed()
	return s, nil
}

// Mail implements smtp.Session. The path is read from the command line itself.
func (s *session) Mail(_ string, o *smtp.MailOptions) error {
	from, err := s.path("MAIL", "FROM:", o.UTF8)
	if err != nil {
		return s.refuse(err)
	}
	p := Params{Size: o.Size, UTF8: o.UTF8, EnvelopeID: o.EnvelopeID}
	if err := s.h.Mail(from, p); err != nil {
		return s.refuse(err)
	}
	s.utf8, s.c.declared = o.UTF8, o.Size
	s.c.setTx(true)
	s.c.override = &rfc5321.Reply{Code: 250, Enhanced: rfc5321.EnhancedCode{2, 1, 0}, Text: "sender ok"}
	return nil
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(string, *smtp.RcptOptions) error {
	to, err := s.path("RCPT", "TO:", s.utf8)
	switch {
	case err != nil:
		return s.refuse(err)
	case to.IsZero():
		return s.refuse(rfc5321.Refuse(501, rfc5321.EnhancedCode{5, 1, 3}, "a recipient cannot be empty"))
	case s.c.rcpts >= s.c.srv.opts.MaxRecipients:
		return s.refuse(rfc5321.Refuse(452, rfc5321.EnhancedCode{4, 5, 3}, "too many recipients, send the rest in another transaction"))
	}
	if err := s.h.Rcpt(to); err != nil {
		return s.refuse(err)
	}
	s.c.rcpts++
	s.c.override = &rfc5321.Reply{Code: 250, Enhanced: rfc5321.EnhancedCode{2, 1, 5}, Text: "recipient ok"}
	return nil
}

// path reads the address of the current command strictly.
func (s *session) path(verb, keyword string, utf8 bool) (rfc5321.Address, error) {
	line := strings.TrimLeft(s.c.command.line[len(verb):], " ")
	if len(line) < len(keyword) || !strings.EqualFold(line[:len(keyword)], keyword) {
		return rfc5321.Address{}, rfc5321.Refuse(501, rfc5321.EnhancedCode{5, 5, 4}, "expected "+verb+" "+keyword+"<address>")
	}
	rest := strings.TrimLeft(line[len(keyword):], " ")
	a, params, err := rfc5321.CutPath(rest)
	if err != nil {
		code := rfc5321.EnhancedCode{5, 1, 3}
		if verb == "MAIL" {
			code = rfc5321.EnhancedCode{5, 1, 7}
		}
		return a, rfc5321.Refuse(553, code, err.Error())
	}
	for i := range len(rest) - len(params) {
		if rest[i] >= 0x80 && !utf8 {
			return a, rfc5321.Refuse(553, rfc5321.EnhancedCode{5, 6, 7}, "an address outside ASCII needs SMTPUTF8")
		}
	}
	return a, nil
}

// Data implements smtp.Session. What go-smtp reads is an empty message; the
// text is with the Conn.
func (s *session) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err // the connection is dead
	}
	t := s.c.text
	if t.refusal != nil {
		return s.refuse(t.refusal)
	}
	reply, err := s.h.Data(s.c.ctx, Message{
		Data: t.data, Truncated: t.truncated, EightBit: eightBit(t.data), Received: t.received,
	})
	if err != nil {
		return s.refuse(err)
	}
	s.c.override = &reply
	return nil
}

// eightBit reports an octet above 127.
func eightBit(data []byte) bool {
	var seen byte
	for len(data) >= 8 {
		seen |= data[0] | data[1] | data[2] | data[3] | data[4] | data[5] | data[6] | data[7]
		data = data[8:]
	}
	for _, b := range data {
		seen |= b
	}
	return seen >= 0x80
}

// Reset implements smtp.Session: the transaction is over.
func (s *session) Reset() {
	s.h.Reset()
	s.c.forget()
	s.c.rcpts = 0
	s.utf8 = false
	s.c.setTx(false)
}

// Logout implements smtp.Session: the conversation is over.
func (s *session) Logout() error {
	s.Reset()
	return nil
}

func (s *session) authAllowed() bool {
	a, ok := s.h.(Authenticator)
	return ok && a.AuthAllowed()
}

// AuthMechanisms implements smtp.AuthSession; our own reply to EHLO lists them.
func (s *session) AuthMechanisms() []string {
	if !s.authAllowed() {
		return nil
	}
	return []string{sasl.Plain, sasl.Login}
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	if _, ok := s.h.(Authenticator); !ok {
		return nil, s.refuse(rfc5321.Refuse(502, rfc5321.EnhancedCode{5, 5, 1}, "AUTH is not offered"))
	}
	if !s.authAllowed() {
		return nil, s.refuse(rfc5321.Refuse(538, rfc5321.EnhancedCode{5, 7, 11}, "AUTH is offered over TLS only"))
	}
	switch mechanism {
	case sasl.Plain:
		return &plainServer{s: s}, nil
	case sasl.Login:
		return &loginServer{s: s}, nil
	default:
		return nil, s.refuse(rfc5321.Refuse(504, rfc5321.EnhancedCode{5, 5, 4}, "PLAIN and LOGIN are the mechanisms here"))
	}
}

func (s *session) refuse(err error) error {
	r := s.c.refusal(err)
	s.c.override = &r
	return errRefused
}
