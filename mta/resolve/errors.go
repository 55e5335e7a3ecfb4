// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"errors"
	"time"
)

// Kind is why there is no answer.
type Kind string

// The kinds.
const (
	NXDomain Kind = "nxdomain" // the name does not exist
	NoData   Kind = "nodata"   // the name exists, without records of this type
	ServFail Kind = "servfail" // servers failed, refused, or answered nonsense
	Timeout  Kind = "timeout"  // no server answered in time
)

// Error is a question without an answer.
type Error struct {
	Kind Kind
	Name string // as asked
	Type string // "MX", "A", "AAAA", "TXT", "PTR"
	Err  error  // what the last server did; nil where it just said so

	// Until is when it is worth asking again; before that the cache gives the
	// same answer. Zero: at once.
	Until time.Time
}

// Error is one line for an operator.
func (e *Error) Error() string {
	s := "looking up " + e.Type + " of " + e.Name + ": "
	switch e.Kind {
	case NXDomain:
		s += "no such name"
	case NoData:
		s += "no such record"
	case Timeout:
		s += "no server answered"
	default:
		s += "server failure"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports that another time may bring an answer.
func (e *Error) Temporary() bool { return e.Kind == ServFail || e.Kind == Timeout }

// KindOf is the kind of a lookup error, "" for any other (a cancelled context).
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}

// worse returns the error that says less about the name: no kind (context), then
// timeout, servfail, nodata, nxdomain.
func worse(a, b error) error {
	rank := func(err error) int {
		switch KindOf(err) {
		case NXDomain:
			return 1
		case NoData:
			return 2
		case ServFail:
			return 3
		case Timeout:
			return 4
		default:
			return 5
		}
	}
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case rank(b) > rank(a):
		return b
	default:
		return a
	}
}
