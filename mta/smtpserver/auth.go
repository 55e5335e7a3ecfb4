// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"bytes"

	"github.com/emersion/go-sasl"

	"github.com/seguemta/segue/mta/rfc5321"
)

var (
	_ sasl.Server = (*plainServer)(nil)
	_ sasl.Server = (*loginServer)(nil)
)

// plainServer is AUTH PLAIN (RFC 4616), with or without an initial response.
type plainServer struct{ s *session }

// Next implements sasl.Server.
func (p *plainServer) Next(response []byte) ([]byte, bool, error) {
	if response == nil {
		return nil, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 {
		return nil, true, p.s.refuse(malformed())
	}
	if identity := parts[0]; len(identity) > 0 && !bytes.Equal(identity, parts[1]) {
		return nil, true, p.s.refuse(rfc5321.Refuse(535, rfc5321.EnhancedCode{5, 7, 8}, "nobody acts for another here"))
	}
	return nil, true, p.s.authenticate(parts[1], parts[2])
}

// loginServer is AUTH LOGIN (draft-murchison-sasl-login), which has no standard
// and many clients. The name may come as initial response.
type loginServer struct {
	s     *session
	named bool
	name  []byte
}

// Next implements sasl.Server.
func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case !l.named:
		l.named = true
		l.name = bytes.Clone(response)
		return []byte("Password:"), false, nil
	default:
		return nil, true, l.s.authenticate(l.name, response)
	}
}

func (s *session) authenticate(name, password []byte) error {
	a, ok := s.h.(Authenticator)
	if !ok || len(name) == 0 || len(password) == 0 {
		return s.refuse(malformed())
	}
	if err := a.Authenticate(s.c.ctx, string(name), password); err != nil {
		return s.refuse(err)
	}
	return nil
}

func malformed() *rfc5321.Refusal {
	return rfc5321.Refuse(501, rfc5321.EnhancedCode{5, 5, 2}, "malformed AUTH response")
}
