// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"fmt"
	"time"
)

// Sign is one thing that speaks for a machine.
type Sign uint8

// The signs.
const (
	SignHoneypot  Sign = iota // a link that no reader can see was followed
	SignHead                  // the method was HEAD
	SignAgent                 // the agent is known; its weight is the agent's own
	SignNoAgent               // there is no user agent at all
	SignBurst                 // several different links within seconds
	SignBefore                // before the receiver took the mail
	SignEarly                 // within seconds of that
	SignNetwork               // from a network without readers; its weight is the network's own
	SignDomain                // every link is followed at this domain, about as fast as this one
	SignRequester             // from a requester that gave itself away in this message
	SignFlood                 // more hits at one time than anybody makes

	// Signs is the number of signs, for arrays indexed by Sign.
	Signs = int(SignFlood) + 1
)

// Evidence is a sign as it was found at one hit.
type Evidence struct {
	Sign   Sign
	Weight float64
	Name   string        // of the agent, network or domain
	Count  int           // links, or hits
	Span   time.Duration // of the burst, or between delivery and hit
	Share  float64       // of the mails at a domain
}

// String says it in words.
func (e Evidence) String() string {
	switch e.Sign {
	case SignHoneypot:
		return "it followed a link that no reader can see"
	case SignHead:
		return "it asked by HEAD"
	case SignAgent:
		return "its user agent is that of " + e.Name
	case SignNoAgent:
		return "it has no user agent"
	case SignBurst:
		return fmt.Sprintf("%d different links within %s", e.Count, short(e.Span))
	case SignBefore:
		return short(e.Span) + " before the mail was delivered"
	case SignEarly:
		return short(e.Span) + " after the mail was delivered"
	case SignNetwork:
		return "it came from " + e.Name
	case SignDomain:
		return fmt.Sprintf("at this domain %.0f%% of the mails have every link followed, after %s on average", 100*e.Share, short(e.Span))
	case SignRequester:
		return "the same requester gave itself away in this message"
	case SignFlood:
		return fmt.Sprintf("one of more than %d hits at one time", e.Count)
	default:
		return fmt.Sprintf("sign %d", e.Sign)
	}
}

// short rounds a time to what a person would say.
func short(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
