// SPDX-License-Identifier: Apache-2.0

package rfc5321

import (
	"fmt"
	"strconv"
	"strings"
)

// Reply is one SMTP reply (RFC 5321 section 4.2), its lines joined by a space.
type Reply struct {
	Code     int          // 200 to 599
	Enhanced EnhancedCode // zero where the server gave none
	Text     string       // without code and enhanced code
}

// EnhancedCode is an RFC 3463 status: class, subject, detail.
type EnhancedCode [3]int

// String is "5.1.1", or "" for the zero code.
func (e EnhancedCode) String() string {
	if e == (EnhancedCode{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
}

// String is the reply on one line, as a log or a rule sees it.
func (r Reply) String() string {
	s := strconv.Itoa(r.Code)
	if e := r.Enhanced.String(); e != "" {
		s += " " + e
	}
	if r.Text != "" {
		s += " " + r.Text
	}
	return s
}

// Permanent reports a 5xx reply.
func (r Reply) Permanent() bool { return r.Code >= 500 }

// Temporary reports a 4xx reply.
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

// CutEnhanced splits an enhanced status code off the front of a reply text.
// The zero code is returned with the whole text where there is none.
func CutEnhanced(text string) (EnhancedCode, string) {
	word, rest, _ := strings.Cut(text, " ")
	code, ok := ParseEnhanced(word)
	if !ok {
		return EnhancedCode{}, text
	}
	return code, rest
}

// ParseEnhanced reads "5.1.1": class 2, 4 or 5, subject and detail up to 999.
func ParseEnhanced(s string) (EnhancedCode, bool) {
	var code EnhancedCode
	rest := s
	for i := range code {
		part := rest
		if i < 2 {
			var found bool
			if part, rest, found = strings.Cut(rest, "."); !found {
				return EnhancedCode{}, false
			}
		}
		if len(part) == 0 || len(part) > 3 {
			return EnhancedCode{}, false
		}
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return EnhancedCode{}, false
		}
		code[i] = int(n)
	}
	if code[0] != 2 && code[0] != 4 && code[0] != 5 {
		return EnhancedCode{}, false
	}
	return code, true
}
