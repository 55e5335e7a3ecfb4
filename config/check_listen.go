// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"net/url"
)

func (k *checker) listeners() {
	for i, l := range k.c.Listeners {
		key := fmt.Sprintf("listener[%d]", i)
		k.certificate(key, l)
		k.trust(key, l)
		if l.Purpose != Submission {
			continue
		}
		if l.TLS == TLSNone && len(k.c.Credentials) > 0 && !l.Address.IsZero() && !l.Address.Loopback() {
			k.warn(key+".tls", "passwords cross the network in the clear", "set tls to starttls or implicit, or listen on loopback")
		}
		if len(l.Trust) == 0 && len(k.c.Credentials) == 0 {
			k.warn(key, "nobody may submit here: there are no credentials and no trusted networks", "declare a [[credential]], or set trust")
		}
	}
}

func (k *checker) certificate(key string, l Listener) {
	switch l.TLS {
	case TLSStart, TLSImplicit:
		for _, file := range []struct {
			key   string
			value Path
		}{{"cert_file", l.CertFile}, {"key_file", l.KeyFile}} {
			if file.value == "" {
				k.fail(key+"."+file.key, "is missing", fmt.Sprintf("tls = %q needs a certificate and its key", l.TLS))
			}
		}
	case TLSNone:
		for _, file := range []string{"cert_file", "key_file"} {
			if k.c.IsSet(key+"."+file) && (l.CertFile != "" || l.KeyFile != "") {
				k.warn(key+"."+file, `is not used while tls is "none"`, "set tls to starttls or implicit")
			}
		}
	}
}

func (k *checker) trust(key string, l Listener) {
	if l.Purpose == Feedback {
		for _, name := range []string{"trust", "trust_as"} {
			if k.c.IsSet(key + "." + name) {
				k.warn(key+"."+name, "is not used: a feedback listener takes no submissions", "move it to the submission listener")
			}
		}
		return
	}
	for i, p := range l.Trust {
		if wide(p.Prefix) {
			k.fail(fmt.Sprintf("%s.trust[%d]", key, i), fmt.Sprintf("%q trusts a large part of the internet: an open relay", p), "name the networks of those who submit")
		}
	}
	if l.TrustAs != "" && len(l.Trust) == 0 {
		k.warn(key+".trust_as", "is not used: there is no network in trust", "set trust, or leave trust_as out")
	}
}

// wide reports whether a network is larger than any that one operator runs.
func wide(p netip.Prefix) bool {
	least := 8
	if p.Addr().Is6() {
		least = 7 // fc00::/7 is the private part
	}
	return p.Bits() < least
}

// addresses reports listeners that cannot be opened together.
func (k *checker) addresses() {
	type user struct {
		key     string
		address Listen
	}
	var users []user
	for i, l := range k.c.Listeners {
		users = append(users, user{fmt.Sprintf("listener[%d].address", i), l.Address})
	}
	users = append(users, user{"http.address", k.c.HTTP.Address}, user{"public.address", k.c.Public.Address})
	for i, later := range users {
		for _, earlier := range users[:i] {
			if later.address.clashes(earlier.address) {
				file, line := k.c.Position(earlier.key)
				k.fail(later.key, fmt.Sprintf("%s clashes with %s of %s", later.address, earlier.address, earlier.key),
					fmt.Sprintf("at %s:%d; give one of them another port", file, line))
				break
			}
		}
	}
}

func (k *checker) http() {
	h, p := k.c.HTTP, k.c.Public
	switch {
	case h.TokenFile != "":
	case !h.Address.Loopback() && !h.Address.IsZero():
		k.fail("http.token_file", fmt.Sprintf("is missing, and %s is reached from other machines", h.Address),
			"name a file with a token, or listen on 127.0.0.1")
	default:
		k.warn("http.token_file", "is missing: every local user may send mail and read the queue", "name a file with a token")
	}
	switch {
	case p.Address.IsZero() && p.URL != "" && !k.c.IsSet("public.address"):
		k.fail("public.address", "is missing", "say where to listen, such as :8080")
	case !p.Address.IsZero() && p.URL == "" && !k.c.IsSet("public.url"):
		k.fail("public.url", "is missing", "say how the outside reaches the address, such as https://u.example.com")
	}
	if u, err := url.Parse(p.URL); err == nil && u.Scheme == "http" && !local(u.Hostname()) {
		k.warn("public.url", "one-click unsubscribe needs https (RFC 8058)", "put a proxy with a certificate in front")
	}
}

func local(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
