// SPDX-License-Identifier: Apache-2.0

// Package rfc5321 is the vocabulary of SMTP that both directions share:
// addresses (section 4.1.2), replies (section 4.2) with the enhanced codes of
// RFC 3463, and nothing that touches a network.
//
// [ParseAddress] is the only way to make an [Address] from outside bytes; it is
// strict, because an address that arrives in one transaction leaves in another
// command line: control bytes, bare line ends and unquoted specials would let a
// recipient inject SMTP parameters. [Address.String] quotes what needs quotes.
package rfc5321

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ErrAddress is wrapped by every error of [ParseAddress].
var ErrAddress = errors.New("bad address")

// Limits of RFC 5321 section 4.5.3.1, in octets.
const (
	MaxLocal   = 64
	MaxDomain  = 255
	MaxAddress = 254
)

// Address is a mailbox: a local part without its quotes and a domain in
// lower-case A-labels (ASCII). The zero Address is the null reverse-path <>.
type Address struct {
	Local  string
	Domain string
}

// IsZero reports whether a is the null reverse-path.
func (a Address) IsZero() bool { return a.Local == "" && a.Domain == "" }

// String is the address as SMTP sends it, without angle brackets: the local
// part quoted where its bytes demand it.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	if dotAtom(a.Local) {
		return a.Local + "@" + a.Domain
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(a.Local) {
		if c := a.Local[i]; c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(a.Local[i])
	}
	b.WriteString(`"@`)
	b.WriteString(a.Domain)
	return b.String()
}

// Key is the form under which a contact is found: the whole address in lower
// case. Dots and +tags stay: they name different mailboxes for all we know.
func (a Address) Key() string { return strings.ToLower(a.String()) }

// NeedsUTF8 reports whether the local part holds non-ASCII and so can only be
// sent to a server that offers SMTPUTF8 (RFC 6531).
func (a Address) NeedsUTF8() bool {
	for i := range len(a.Local) {
		if a.Local[i] >= 0x80 {
			return true
		}
	}
	return false
}

// ParseAddress reads local@domain, the local part as dot-atom or quoted
// string. It accepts UTF-8 in both (RFC 6531) and turns the domain into lower-case
// A-labels. It refuses control bytes, address literals, routes, and anything
// over the limits of section 4.5.3.1. The error wraps [ErrAddress] and can be
// shown to the sender.
func ParseAddress(s string) (Address, error) {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return Address{}, fmt.Errorf("%w: no @", ErrAddress)
	}
	local, err := parseLocal(s[:at])
	if err != nil {
		return Address{}, err
	}
	return NewAddress(local, s[at+1:])
}

// NewAddress checks a local part that carries no quotes and a domain, as a
// server library hands them over after unquoting. The rules are those of
// [ParseAddress].
func NewAddress(local, domain string) (Address, error) {
	switch {
	case local == "":
		return Address{}, fmt.Errorf("%w: empty local part", ErrAddress)
	case len(local) > MaxLocal:
		return Address{}, fmt.Errorf("%w: local part over %d octets", ErrAddress, MaxLocal)
	}
	if err := checkText(local); err != nil {
		return Address{}, err
	}
	d, err := ParseDomain(domain)
	if err != nil {
		return Address{}, err
	}
	a := Address{Local: local, Domain: d}
	const quotes = 2
	if 2*len(local)+quotes+1+len(d) > MaxAddress && len(a.String()) > MaxAddress { // with each byte quoted it would be that long
		return Address{}, fmt.Errorf("%w: over %d octets", ErrAddress, MaxAddress)
	}
	return a, nil
}

// ParseDomain turns a domain name into lower-case A-labels and refuses what
// DNS cannot hold. The error wraps [ErrAddress].
func ParseDomain(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("%w: empty domain", ErrAddress)
	}
	if s[0] == '[' {
		return "", fmt.Errorf("%w: address literals are not accepted", ErrAddress)
	}
	if !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) {
		return "", fmt.Errorf("%w: broken UTF-8 in the domain", ErrAddress)
	}
	d := s
	if !plainASCII(s) {
		var err error
		if d, err = idna.Lookup.ToASCII(s); err != nil {
			return "", fmt.Errorf("%w: domain %q is not valid IDNA", ErrAddress, s)
		}
	}
	d = strings.ToLower(d)
	if len(d) > MaxDomain {
		return "", fmt.Errorf("%w: domain over %d octets", ErrAddress, MaxDomain)
	}
	for label := range strings.SplitSeq(d, ".") {
		if err := checkLabel(label); err != nil {
			return "", err
		}
	}
	if last := d[strings.LastIndexByte(d, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return "", fmt.Errorf("%w: domain %q ends in a number, as only IP addresses do", ErrAddress, d)
	}
	return d, nil
}

func checkLabel(label string) error {
	if label == "" || len(label) > 63 {
		return fmt.Errorf("%w: domain label of %d octets (1 to 63 are allowed)", ErrAddress, len(label))
	}
	if label[0] == '-' || label[len(label)-1] == '-' {
		return fmt.Errorf("%w: domain label %q begins or ends with a hyphen", ErrAddress, label)
	}
	for i := range len(label) {
		c := label[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return fmt.Errorf("%w: byte %q in the domain", ErrAddress, c)
		}
	}
	return nil
}

func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func parseLocal(s string) (string, error) {
	if s == "" || s[0] != '"' {
		if !dotAtom(s) {
			return "", fmt.Errorf("%w: local part %q is neither a dot-atom nor quoted", ErrAddress, s)
		}
		return s, nil
	}
	if len(s) < 3 || s[len(s)-1] != '"' {
		return "", fmt.Errorf("%w: unfinished quoted local part", ErrAddress)
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		switch s[i] {
		case '"':
			return "", fmt.Errorf("%w: quote inside a quoted local part", ErrAddress)
		case '\\':
			i++
			if i == len(s)-1 {
				return "", fmt.Errorf("%w: unfinished quoted local part", ErrAddress)
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), nil
}

func checkText(s string) error {
	for _, r := range s {
		switch {
		case unicode.IsControl(r), r == utf8.RuneError:
			return fmt.Errorf("%w: control byte or broken UTF-8 in the local part", ErrAddress)
		case unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control):
			return fmt.Errorf("%w: line separator or direction mark %U in the local part", ErrAddress, r)
		}
	}
	return nil
}

// dotAtom reports whether s is a dot-string of section 4.1.2, with the UTF-8 of RFC 6531.
func dotAtom(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= 0x80, c == '.':
		case strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0:
		default:
			return false
		}
	}
	return true
}
