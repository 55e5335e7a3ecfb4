// SPDX-License-Identifier: Apache-2.0

package rfc5321

// Refusal is an error whose reply is meant for the client: policy said no, and
// Reply says why in words that may leave the house. Every other error stays
// inside, and the client hears a bare 451.
type Refusal struct { //nolint:errname // it is a reply first, and an error on its way to the client
	Reply Reply
	Err   error // private reason for the log; nil where the reply says it all
}

// Refuse makes a Refusal.
func Refuse(code int, enhanced EnhancedCode, text string) *Refusal {
	return &Refusal{Reply: Reply{Code: code, Enhanced: enhanced, Text: text}}
}

// Error is the reply, followed by the private reason.
func (r *Refusal) Error() string {
	if r.Err == nil {
		return r.Reply.String()
	}
	return r.Reply.String() + " (" + r.Err.Error() + ")"
}

// Unwrap gives the private reason.
func (r *Refusal) Unwrap() error { return r.Err }
