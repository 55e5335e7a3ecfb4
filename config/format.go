// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// maxName is the length of a name: names are metric labels, and parts of file
// names and keys.
const maxName = 64

// verifyFormat says what is wrong with a text that has to have a format. An
// empty text is a value left out.
func verifyFormat(format, s string) (text, hint string) {
	if s == "" {
		return "", ""
	}
	switch format {
	case "name":
		return verifyName(s)
	case "domain":
		return verifyDomain(s)
	case "pattern":
		if bad, _ := verifyDomain(strings.TrimPrefix(s, "*.")); bad != "" {
			return fmt.Sprintf("%q is not a host name or *.DOMAIN", s), `write "mx.example.com" or "*.example.com"`
		}
	case "selector":
		if !isDomain(s + ".example") {
			return fmt.Sprintf("%q is not a DKIM selector", s), "write letters, digits and hyphens"
		}
	case "attribute":
		return verifyAttribute(s)
	case "feedback_id":
		return verifyFeedbackID(s)
	case "list":
		return verifyList(s)
	case "url":
		return verifyURL(s)
	case "argon2id":
		if !strings.HasPrefix(s, "$argon2id$") || strings.Count(s, "$") != 5 {
			return "is not an argon2id hash", "make one with segue check --hash"
		}
	case "sha256":
		digits, ok := strings.CutPrefix(s, "sha256:")
		if sum, err := hex.DecodeString(digits); !ok || err != nil || len(sum) != 32 {
			return "is not sha256: and 64 hexadecimal digits", "make a key and its hash with segue check --write-key"
		}
	}
	return "", ""
}

// maxList is the length of the name of a list of contacts.
const maxList = 256

// verifyList checks the name of a list of contacts, as an import would.
func verifyList(s string) (text, hint string) {
	if len(s) > maxList {
		return fmt.Sprintf("is longer than %d octets", maxList), "no list has such a name"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r == '|' || unicode.IsControl(r) }) {
		return fmt.Sprintf("%q has a | or a control character", s), "no list has such a name"
	}
	return "", ""
}

// verifyName checks a name: a-z 0-9 _ . -, because names are metric labels.
func verifyName(s string) (text, hint string) {
	if len(s) > maxName {
		return fmt.Sprintf("is longer than %d characters", maxName), "names are metric labels, keep them short"
	}
	if strings.IndexFunc(s, notInName) < 0 {
		return "", ""
	}
	hint = "names are metric labels"
	if fixed := strings.Join(strings.FieldsFunc(strings.ToLower(s), notInName), "-"); fixed != "" {
		hint += fmt.Sprintf("; write %q", fixed)
	}
	return fmt.Sprintf("%q has characters other than a-z 0-9 _ . -", s), hint
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("_.-", r)
}

// verifyDomain checks a domain or host name: lower case, in its DNS form.
func verifyDomain(s string) (text, hint string) {
	switch {
	case isDomain(s) && s == strings.ToLower(s):
		return "", ""
	case isDomain(s):
		return fmt.Sprintf("%q is not in lower case", s), fmt.Sprintf("write %q", strings.ToLower(s))
	case isDomain(strings.TrimSuffix(s, ".")):
		return fmt.Sprintf("%q ends with a dot", s), fmt.Sprintf("write %q", strings.TrimSuffix(s, "."))
	case strings.IndexFunc(s, func(r rune) bool { return r > '~' }) >= 0:
		return fmt.Sprintf("%q is not a domain name in its DNS form", s), "write names beyond ASCII in their xn-- form"
	default:
		return fmt.Sprintf("%q is not a domain name", s), `write labels of letters, digits and hyphens with dots between: "mail.example.com"`
	}
}

// verifyAttribute checks the name of an attribute: contact.x or account.x.
func verifyAttribute(s string) (text, hint string) {
	owner, name, _ := strings.Cut(s, ".")
	for i, r := range name {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			name = ""
			break
		}
	}
	if name == "" || owner != "contact" && owner != "account" || len(s) > maxName {
		return fmt.Sprintf("%q is not the name of an attribute", s), "write contact.x or account.x, with letters, digits and _ in x"
	}
	return "", ""
}

// verifyURL checks the address that links in mail begin with.
func verifyURL(s string) (text, hint string) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Sprintf("%q is not a web address", s), `write "https://u.example.com"`
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return fmt.Sprintf("%q has more than host and path", s), "leave out user, ? and #"
	default:
		return "", ""
	}
}
