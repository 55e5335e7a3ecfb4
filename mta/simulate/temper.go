// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"net/netip"
	"time"
)

// Temper is how a provider behaves. Shares are of recipients, chosen by seed and
// address; limits are per client address. The zero value takes everything.
type Temper struct {
	Name    string     // of the provider
	Address netip.Addr // where its servers listen
	Zone    string     // its hosts are mx1.ZONE and mx2.ZONE
	// HostPerDomain gives each domain a host of its own, NAME.ZONE, and so a site of
	// its own.
	HostPerDomain bool

	UnknownUser string // reply to RCPT for mailboxes that are not there; "" = 550 5.1.1
	Late        bool   // takes unknown users, and sends a notification later

	Connections int     // at one time; more are greeted by 421
	PerSecond   int     // recipients a second, beyond which RCPT gets 451
	Quota       int     // recipients of a client address without history, beyond which MAIL gets 421 4.7.28
	Greylist    float64 // deferred at the first attempt from each client address
	GreylistFor time.Duration
	Drop        float64 // the connection is cut in the middle of the first attempt's message
	Full        float64 // a notification of a full mailbox comes later
	Complain    float64 // a complaint comes later
}

// Names of the five providers.
const (
	Google    = "google"
	Microsoft = "microsoft"
	Yahoo     = "yahoo"
	Apple     = "apple"
	Mailhost  = "mailhost" // hosts small companies, each behind a name of its own
)

// Cast returns the five providers with their tempers.
func Cast() []Temper {
	at := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, last}) }
	return []Temper{
		{
			Name: Google, Address: at(2), Zone: "google.test", Quota: 400, PerSecond: 2000,
			UnknownUser: "550 5.1.1 The email account that you tried to reach does not exist. https://support.google.test/mail/?p=NoSuchUser - gsmtp",
		},
		{
			Name: Microsoft, Address: at(3), Zone: "outlook.test", Quota: 300, Connections: 10, PerSecond: 120,
			UnknownUser: "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).",
		},
		{
			Name: Yahoo, Address: at(4), Zone: "yahoo.test", Quota: 300, Greylist: 0.25, GreylistFor: 2 * time.Second, Complain: 0.004, Full: 0.003,
			UnknownUser: "554 delivery error: dd This user doesn't have a yahoo.test account [0] - mta1.mail.yahoo.test",
		},
		{Name: Apple, Address: at(5), Zone: "icloud.test", Quota: 300, Late: true, Complain: 0.003},
		{
			Name: Mailhost, Address: at(6), Zone: "mailhost.test", HostPerDomain: true, Drop: 0.002, Greylist: 0.02, GreylistFor: time.Second,
			UnknownUser: "550 5.1.1 Recipient address rejected: User unknown in virtual mailbox table",
		},
	}
}

// notThere is the reply where a temper has none of its own.
const notThere = "550 5.1.1 No such user here"

// chance decides something about an address: by the seed, and always the same.
func (w *World) chance(what, address string, share float64) bool {
	return Chance(share, w.o.Seed, what, address)
}

// Chance reports whether something falls into a share, 0 to 1: by the seed and
// its names alone, and always the same.
func Chance(share float64, seed uint64, names ...string) bool {
	const scale = 1 << 32
	return share > 0 && float64(digest(seed, names...)>>32) < share*scale
}

// digest is FNV-1a over its arguments, stirred once more so that every bit counts.
func digest(seed uint64, parts ...string) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037) ^ seed
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * prime
		}
		h = (h ^ 0xff) * prime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return h
}
