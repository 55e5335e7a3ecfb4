// SPDX-License-Identifier: Apache-2.0

package mx

import (
	"errors"
	"time"

	"github.com/seguemta/segue/mta/resolve"
	"github.com/seguemta/segue/mta/rfc5321"
)

// Kind is why mail for a domain cannot go out.
type Kind string

// The kinds.
const (
	BadDomain Kind = "bad_domain" // the domain does not exist: permanent
	NullMX    Kind = "null_mx"    // the domain says that it takes no mail (RFC 7505): permanent
	NoAddress Kind = "no_address" // no MX and no address, or a host without an address: permanent
	NoRoute   Kind = "no_route"   // MX records without a single usable name: permanent
	Loop      Kind = "loop"       // we are the best exchanger ourselves: permanent
	Forbidden Kind = "forbidden"  // every address is one that mail may not go to: permanent
	DNS       Kind = "dns"        // the DNS failed or did not answer: temporary
	NoFamily  Kind = "no_family"  // the host has addresses, none of a family that the source can use: temporary
)

// Error says why, and what the sender is told.
type Error struct {
	Kind   Kind
	Domain string    // the recipient domain or the host
	Until  time.Time // before this the answer will be the same; zero: unknown
	Err    error     // what the DNS or the guard said; may be nil
}

// Error is one line with the reply.
func (e *Error) Error() string {
	s := "routing mail for " + e.Domain + ": " + e.Reply().String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Permanent reports that the mail bounces.
func (e *Error) Permanent() bool { return e.Reply().Permanent() }

// Reply is the error in the form of an SMTP reply, for bounce classes and
// reports (RFC 3463, RFC 7505 section 4.2).
func (e *Error) Reply() rfc5321.Reply {
	reply := func(code, subject, detail int, text string) rfc5321.Reply {
		return rfc5321.Reply{Code: code, Enhanced: rfc5321.EnhancedCode{code / 100, subject, detail}, Text: text}
	}
	switch e.Kind {
	case BadDomain:
		return reply(550, 1, 2, "domain "+e.Domain+" does not exist")
	case NullMX:
		return reply(556, 1, 10, "domain "+e.Domain+" accepts no mail (null MX)")
	case NoAddress:
		return reply(550, 4, 4, e.Domain+" has neither a mail exchanger nor an address")
	case NoRoute:
		return reply(550, 4, 4, "the MX records of "+e.Domain+" name no host")
	case Loop:
		return reply(554, 4, 6, "mail for "+e.Domain+" loops back to this server")
	case Forbidden:
		return reply(550, 4, 4, "mail for "+e.Domain+" may not go to its addresses")
	case NoFamily:
		return reply(451, 4, 4, e.Domain+" has no address of a family that this source can use")
	default:
		return reply(451, 4, 3, "DNS gave no answer about "+e.Domain)
	}
}

// Hopeful picks the error to report when several hosts of a target failed: a
// temporary one if there is any. nil errors are skipped.
func Hopeful(errs ...error) error {
	var picked error
	for _, err := range errs {
		var e *Error
		switch {
		case err == nil:
		case !errors.As(err, &e) || !e.Permanent():
			return err
		case picked == nil:
			picked = err
		}
	}
	return picked
}

// lookupError is a failed lookup about a domain. The error of a context stays
// what it is.
func lookupError(domain string, err error) error {
	kind := DNS
	switch resolve.KindOf(err) {
	case resolve.NXDomain:
		kind = BadDomain
	case resolve.NoData:
		kind = NoAddress
	case "":
		return err
	default:
	}
	return &Error{Kind: kind, Domain: domain, Until: untilOf(err), Err: err}
}

func untilOf(err error) time.Time {
	if e, ok := errors.AsType[*resolve.Error](err); ok {
		return e.Until
	}
	return time.Time{}
}
