// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
)

// FeedbackMail says what is made of mail that comes back to a feedback listener:
// complaint reports, and mail to postmaster and abuse. Bounces and unsubscribe mail
// need no setting: they come to addresses that each message names.
type FeedbackMail struct {
	// Where complaint reports come: local parts at every return_path domain and at
	// hostname, or whole addresses whose mail is led here. Enrol these in feedback loops;
	// the default is the usual name.
	Complaints []string `toml:"complaints" default:"fbl"`

	// Ask for complaints in the mail itself (RFC 9477): each message names the first of
	// complaints, at the return_path of its domain, in CFBL-Address, and a signed
	// CFBL-Feedback-ID. Off by default: the standard is experimental, and a header more
	// is a header more.
	CFBL bool `toml:"cfbl" default:"false"`

	// Where mail to postmaster and abuse goes, at every return_path domain and at
	// hostname: a mailbox that somebody reads, outside of these domains. RFC 5321
	// section 4.5.1 asks for postmaster. There is no default, and without it such mail is
	// refused, since nobody would read it.
	Forward string `toml:"forward" defaultdoc:"nowhere"`

	// How much of it is forwarded; what comes faster is told to come again. The default
	// is more than people write, and little for a flood.
	ForwardRate Rate `toml:"forward_rate" default:"60/h"`

	// Who answers for complaints: the owner of every case of the complaint register. The
	// default is whom RFC 5321 holds responsible for a mail system.
	Owner string `toml:"owner" default:"postmaster"`
}

func (k *checker) feedback() {
	f := &k.c.Feedback
	if !slices.ContainsFunc(k.c.Listeners, func(l Listener) bool { return l.Purpose == Feedback }) {
		return
	}
	for i, a := range f.Complaints {
		key := fmt.Sprintf("feedback.complaints[%d]", i)
		full := a
		if !strings.Contains(a, "@") {
			full = a + "@" + "example.com"
		}
		if _, err := rfc5321.ParseAddress(full); err != nil {
			k.fail(key, fmt.Sprintf("%q is neither a local part nor an address", a), "write fbl, or fbl@example.com")
			continue
		}
		if local, _, _ := strings.Cut(strings.ToLower(a), "@"); local == "postmaster" || local == "abuse" {
			k.fail(key, fmt.Sprintf("%q is an address that people write to", a), "take another for reports; one that comes to abuse or postmaster is understood all the same")
		}
	}
	if f.Forward == "" {
		k.warn("feedback.forward", "is missing: mail to postmaster and abuse of the return_path domains is refused", "name a mailbox that somebody reads")
		return
	}
	to, err := rfc5321.ParseAddress(f.Forward)
	if err != nil {
		k.fail("feedback.forward", fmt.Sprintf("%q is not an address", f.Forward), "write ops@example.com")
		return
	}
	if to.Domain == strings.ToLower(k.c.Hostname) || slices.ContainsFunc(k.c.Domains, func(d Domain) bool { return d.ReturnPath == to.Domain }) {
		k.fail("feedback.forward", fmt.Sprintf("%q comes back here: a loop", f.Forward), "name a mailbox of another domain")
	}
}
