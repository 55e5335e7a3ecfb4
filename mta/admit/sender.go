// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
)

// checkSender finds the domain that the message is sent as, which is the one
// in From and the one that signs, and checks that the credential may use it.
func (a *Admitter) checkSender(d *draft) error {
	value, n := d.get("From")
	if n != 1 {
		return rfc5321.Refuse(554, rfc5321.EnhancedCode{5, 6, 0}, fmt.Sprintf("the message has %d From fields; RFC 5322 section 3.6 asks for one", n))
	}
	names := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: unread}}
	list, err := names.ParseList(strings.ToValidUTF8(value, "?"))
	if err != nil || len(list) == 0 {
		return rfc5321.Refuse(554, rfc5321.EnhancedCode{5, 6, 0}, "the From field holds no address that can be read")
	}
	for _, from := range list {
		_, domain, _ := cutLast(from.Address)
		if domain, err = rfc5321.ParseDomain(domain); err != nil {
			return rfc5321.Refuse(554, rfc5321.EnhancedCode{5, 6, 0}, "the From field holds a domain that cannot be read")
		}
		if err := a.allowed(d, domain); err != nil {
			return err
		}
		if d.domain == "" {
			d.domain = domain
		}
	}
	if d.From.Domain != "" {
		return a.allowed(d, d.From.Domain)
	}
	return nil
}

// unread leaves a name in a charset that Go does not know as it is: only the address behind
// it is looked at.
func unread(_ string, text io.Reader) (io.Reader, error) { return text, nil }

func cutLast(address string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address, "", false
	}
	return address[:i], address[i+1:], true
}

func (a *Admitter) allowed(d *draft, domain string) error {
	if !a.o.Domains[domain] {
		return refuse("this server does not send for domain " + domain)
	}
	if len(d.Domains) > 0 && !slices.Contains(d.Domains, domain) {
		return refuse("this credential may not send as domain " + domain)
	}
	return nil
}
