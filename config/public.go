// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
)

// Public is the outside: unsubscribe links and tracking, nothing else. It is
// off without an address.
type Public struct {
	// Where to listen. Off by default: it is the one part that strangers reach.
	Address Listen `toml:"address" defaultdoc:"off"`

	// How the outside reaches this address; links in mail begin with it. It has to
	// be said with address, since a proxy that ends TLS usually stands in between.
	// One-click unsubscribe (RFC 8058) demands https.
	URL string `toml:"url" format:"url"`

	// The certificate chain in PEM, where the engine ends TLS itself; renewed files are
	// taken up within a minute. By default a proxy does, or the address is loopback.
	CertFile Path `toml:"cert_file"`

	// The private key of the certificate in PEM.
	KeyFile Path `toml:"key_file"`

	// The proxies that stand in between: what they say of their clients, in
	// X-Forwarded-For, is believed. By default none is, and the rate is that of whoever
	// connects.
	Proxies []Prefix `toml:"proxies" default:""`

	// Requests of one IPv4 address or IPv6 /64; what is above it gets 429. The default
	// leaves room for a large provider, which unsubscribes for all its users from few
	// addresses, and none for guessing.
	Rate Rate `toml:"rate" default:"600/m"`

	// Connections at one time. The default is plenty for requests of milliseconds.
	MaxConnections int `toml:"max_connections" default:"500" min:"1" max:"100000"`
}

// Suppression says when an address that keeps failing for now gets no more marketing
// mail for a while.
type Suppression struct {
	// The score that suppresses. A bounce that is no verdict on the address (mailbox full,
	// and mail that expired so) adds 1; a delivery, a click or a login ends the count. 0
	// never suppresses. With the default and daily mail that is the sixth bounce in a row,
	// far from one bad weekend.
	SoftBounces float64 `toml:"soft_bounces" default:"5" min:"0" max:"1000"`

	// In this time a bounce loses half of its score. The default lets those of a monthly
	// newsletter fade before they add up.
	HalfLife Duration `toml:"half_life" default:"30d" min:"1h"`

	// The least time from the first of them to the last. Many bounces of one bad day are
	// one fault of a server; the default outlasts a weekend.
	Over Duration `toml:"over" default:"3d"`

	// How long the suppression holds; then the address is tried again, and the count
	// begins anew. The default is about as long as people leave a mailbox full and come
	// back to it.
	Expires Duration `toml:"expires" default:"90d" min:"1h"`
}

// Lengths of the name of a sender in Feedback-ID, by Gmail's description.
const (
	minFeedbackID = 5
	maxFeedbackID = 15
)

// verifyFeedbackID checks the name of a sender in Feedback-ID.
func verifyFeedbackID(s string) (text, hint string) {
	if n := len(feedbackID(s)); n != len(s) || n < minFeedbackID || n > maxFeedbackID {
		return fmt.Sprintf("%q is not %d to %d letters and digits", s, minFeedbackID, maxFeedbackID), `write "examplecom"`
	}
	return "", ""
}

// feedbackID is a text without what is neither letter nor digit.
func feedbackID(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return -1
	}, s)
}

// defaultFeedbackID makes one of the name of a domain.
func defaultFeedbackID(domain string) string {
	id := feedbackID(domain)
	if len(id) < minFeedbackID {
		id += "segue"
	}
	return id[:min(len(id), maxFeedbackID)]
}

// unsubscribe reports marketing mail from which nobody could unsubscribe.
func (k *checker) unsubscribe() {
	p := k.c.Public
	if (p.CertFile == "") != (p.KeyFile == "") {
		k.fail("public", "has only one of cert_file and key_file", "TLS needs the certificate and its key")
	}
	if !p.Address.IsZero() {
		return
	}
	const hint = "set address and url of [public]"
	for _, x := range k.c.Credentials {
		if !x.OwnUnsubscribe && k.c.sendsMarketing(x.Streams) {
			k.fail("credential["+x.Name+"].streams", "may send marketing mail, and there is no [public] to unsubscribe at",
				hint+", or own_unsubscribe if its mail brings List-Unsubscribe and List-Unsubscribe-Post itself")
		}
	}
	for i, l := range k.c.Listeners {
		if len(l.Trust) > 0 && l.TrustAs == "" && l.Purpose == Submission {
			k.fail(fmt.Sprintf("listener[%d].trust", i), "trusted networks may send marketing mail, and there is no [public] to unsubscribe at",
				hint+", or trust_as a credential with own_unsubscribe")
		}
	}
}

// sendsMarketing reports whether one of some streams is for marketing mail: all are but
// transactional.
func (c *Config) sendsMarketing(streams []string) bool {
	for _, s := range streams {
		if s != StreamTransactional {
			return true
		}
	}
	return false
}
