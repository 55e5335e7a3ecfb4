// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Rules is by what hits are judged. Start from [Default] and change what is
// known better; [Rules.Validate] before use. It is read only once in use, and may
// then be shared between goroutines.
type Rules struct {
	Hold          time.Duration // a hit waits so long for others
	Links         int           // so many different links are a burst
	LinksWithin   time.Duration // within so much time
	AfterDelivery time.Duration // sooner after delivery than this, nobody has read it
	Human         float64       // a score from here on is a person's
	HalfLife      time.Duration // what a Domain learned counts half after so long

	Weight   [Signs]float64 // by sign; those of agents and networks are their own
	Agents   []Agent        // the first that matches decides
	Networks []Network      // the first that holds the address decides
}

// Agent is a known kind of user agent.
type Agent struct {
	Name        string // for people
	Match       string // in lower case
	Whole       bool   // Match is the whole agent, not a part of it
	Open, Click float64
}

// Network is a range of addresses without readers in it.
type Network struct {
	Name   string // for people
	Prefix netip.Prefix
	Weight float64
}

// Weights of the agents.
const (
	scanner = 0.97 // says so itself
	program = 0.9  // a library or a tool: somebody's script
	robot   = 0.9
	relay   = 0.3 // loads pictures when a person opens the mail, but hides who
)

// Default returns the rules that work without being told anything.
//
// Why these: scanners follow the links of a mail within a second or two and
// people take longer to read one, so five seconds and ten separate them well. A
// hold of 45 s is what a slow gateway needs for its second pass, and nobody waits
// for a score to move. Each of the signs that a person practically never gives
// decides alone; a data centre does not, since companies send their people's
// traffic through one; two links at once do not, since people open tabs.
func Default() Rules {
	return Rules{
		Hold: 45 * time.Second, Links: 3, LinksWithin: 5 * time.Second, AfterDelivery: 10 * time.Second,
		Human: 0.5, HalfLife: 30 * 24 * time.Hour,
		Weight: [Signs]float64{
			SignHoneypot: 0.99, SignHead: 0.95, SignNoAgent: 0.6, SignBurst: 0.9, SignBefore: 0.95,
			SignEarly: 0.6, SignDomain: 0.9, SignRequester: 0.9, SignFlood: 0.95,
		},
		Agents: agents(),
	}
}

// agents is the table of agents that do not hide. Apple's privacy proxy sends
// nothing but the bare token; so do tools, and it does not follow links.
func agents() []Agent {
	return []Agent{
		{Name: "Apple Mail Privacy Protection", Match: "mozilla/5.0", Whole: true, Open: scanner, Click: program},
		{Name: "Gmail's image proxy", Match: "googleimageproxy", Open: relay, Click: program},
		{Name: "Yahoo's image proxy", Match: "yahoomailproxy", Open: relay, Click: program},
		{Name: "Microsoft Safe Links", Match: "safelinks", Open: scanner, Click: scanner},
		{Name: "Microsoft's link preview", Match: "bingpreview", Open: scanner, Click: scanner},
		{Name: "a Proofpoint gateway", Match: "proofpoint", Open: scanner, Click: scanner},
		{Name: "a Mimecast gateway", Match: "mimecast", Open: scanner, Click: scanner},
		{Name: "a Barracuda gateway", Match: "barracuda", Open: scanner, Click: scanner},
		{Name: "a headless browser", Match: "headlesschrome", Open: program, Click: program},
		{Name: "a headless browser", Match: "phantomjs", Open: program, Click: program},
		{Name: "curl", Match: "curl/", Open: program, Click: program},
		{Name: "Wget", Match: "wget/", Open: program, Click: program},
		{Name: "a Python program", Match: "python-", Open: program, Click: program},
		{Name: "a Python program", Match: "python/", Open: program, Click: program},
		{Name: "a Go program", Match: "go-http-client", Open: program, Click: program},
		{Name: "a Java program", Match: "java/", Open: program, Click: program},
		{Name: "a Java program", Match: "apache-httpclient", Open: program, Click: program},
		{Name: "a Perl program", Match: "libwww-perl", Open: program, Click: program},
		{Name: "a Node.js program", Match: "node-fetch", Open: program, Click: program},
		{Name: "a Node.js program", Match: "axios/", Open: program, Click: program},
		// A robot's own page about itself, or a version behind the word: the word
		// alone is also the end of a maker of phones.
		{Name: "a robot", Match: "+http", Open: robot, Click: robot},
		{Name: "a robot", Match: "bot/", Open: robot, Click: robot},
		{Name: "a robot", Match: "crawler", Open: robot, Click: robot},
		{Name: "a robot", Match: "spider", Open: robot, Click: robot},
	}
}

// Agent returns the known kind of a user agent, nil where it is none of them.
func (r *Rules) Agent(agent string) *Agent {
	lower := strings.ToLower(strings.TrimSpace(agent))
	for i := range r.Agents {
		a := &r.Agents[i]
		if a.Whole && lower == a.Match || !a.Whole && strings.Contains(lower, a.Match) {
			return a
		}
	}
	return nil
}

// network returns the network that an address belongs to, nil for none.
func (r *Rules) network(addr netip.Addr) *Network {
	addr = addr.Unmap()
	for i := range r.Networks {
		if r.Networks[i].Prefix.Contains(addr) {
			return &r.Networks[i]
		}
	}
	return nil
}

// Validate reports every value by which nothing can be judged.
func (r *Rules) Validate() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(r.LinksWithin <= 0, "links_within must be more than 0")
	wrong(r.Hold <= r.LinksWithin, "hold (%s) must be longer than links_within (%s): the last hit of a burst comes so long after the first", r.Hold, r.LinksWithin)
	wrong(r.Links < 2, "links is %d, at least 2 different links are a burst", r.Links)
	wrong(r.AfterDelivery < 0, "after_delivery must not be negative")
	wrong(!(r.Human > 0 && r.Human <= 1), "human is %g, it must be above 0 and at most 1", r.Human)
	wrong(r.HalfLife <= 0, "the half-life of what is learned must be more than 0")
	for sign, w := range r.Weight {
		wrong(!(w >= 0 && w <= 1), "the weight of sign %d is %g, it must be 0 to 1", sign, w)
	}
	for _, a := range r.Agents {
		wrong(a.Match == "" || a.Match != strings.ToLower(a.Match), "agent %q must not be empty or have capital letters", a.Match)
		wrong(!(a.Open >= 0 && a.Open <= 1 && a.Click >= 0 && a.Click <= 1), "the weights of agent %q must be 0 to 1", a.Match)
	}
	for _, n := range r.Networks {
		wrong(!n.Prefix.IsValid() || !(n.Weight >= 0 && n.Weight <= 1), "network %s must be valid, and its weight 0 to 1", n.Prefix)
	}
	return errors.Join(errs...)
}
