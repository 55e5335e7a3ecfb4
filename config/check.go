// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seguemta/segue/reputation/plans"
)

// checker collects what is wrong with a configuration as a whole.
type checker struct {
	c        *Config
	problems []Problem
}

func (k *checker) fail(key, text, hint string) {
	k.problems = append(k.problems, k.c.Problem(key, text, hint))
}

func (k *checker) warn(key, text, hint string) {
	k.problems = append(k.problems, k.c.Warning(key, text, hint))
}

// check reports everything that more than one key is needed to see.
func (c *Config) check() []Problem {
	k := &checker{c: c}
	if c.Hostname != "" && !strings.Contains(c.Hostname, ".") {
		k.warn("hostname", "is a short name", "receivers expect a full one, such as mta1.mail.example.net")
	}
	k.references()
	k.listeners()
	k.addresses()
	k.http()
	k.unsubscribe()
	k.feedback()
	k.submitters()
	k.writeKeys()
	k.sources()
	k.pools()
	k.overflows()
	k.providers()
	k.tiers()
	k.policies()
	k.canary()
	k.scores()
	k.signal()
	for _, plan := range c.Plans {
		k.plan(plan)
	}
	return k.problems
}

// names returns what identifies the elements of a list.
func names[T any](list []T, name func(T) string) []string {
	out := make([]string, 0, len(list))
	for _, element := range list {
		if n := name(element); n != "" {
			out = append(out, n)
		}
	}
	return out
}

func (c *Config) poolNames() []string { return names(c.Pools, func(p Pool) string { return p.Name }) }

func (c *Config) providerNames() []string {
	return names(c.Providers, func(p Provider) string { return p.Name })
}

func (c *Config) domainNames() []string {
	return names(c.Domains, func(d Domain) string { return d.Name })
}

// refer reports a name that nothing of its kind has. An empty one is a value
// left out.
func (k *checker) refer(key, kind, name string, known []string) {
	if name == "" || slices.Contains(known, name) {
		return
	}
	hint := didYouMean(name, known)
	if len(known) == 0 {
		hint = fmt.Sprintf("declare it with [[%s]]", kind)
	}
	k.fail(key, fmt.Sprintf("there is no %s %q", kind, name), hint)
}

// references reports names of pools, plans, streams, domains, credentials and
// sources that refer to nothing.
func (k *checker) references() {
	c, pools := k.c, k.c.poolNames()
	own := names(c.Plans, func(p Plan) string { return p.Name })
	plan := func(key, name string) {
		if _, published := plans.Find(name); !published {
			k.refer(key+".plan", "plan", name, own)
		}
	}
	streams := names(c.Streams, func(s Stream) string { return s.Name })
	credentials := names(c.Credentials, func(x Credential) string { return x.Name })
	k.refer("delivery.pool", "pool", c.Delivery.Pool, pools)
	if c.Delivery.Pool == "" && len(pools) > 1 {
		k.fail("delivery.pool", "is missing", "there are several pools, say which takes mail that nothing else assigns: "+listed(pools))
	}
	for _, s := range c.Streams {
		k.refer(fmt.Sprintf("stream[%s].pool", s.Name), "pool", s.Pool, pools)
	}
	for _, t := range c.Tiers {
		k.refer(fmt.Sprintf("tier[%s].pool", t.Name), "pool", t.Pool, pools)
	}
	for _, s := range c.Segments {
		k.refer(fmt.Sprintf("segment[%s].pool", s.Name), "pool", s.Pool, pools)
		k.lists(&s)
		for _, a := range s.Assign {
			key := fmt.Sprintf("segment[%s].assign[%s]", s.Name, a.Tier)
			k.refer(key+".pool", "pool", a.Pool, pools)
			plan(key, a.Plan)
			if a.Pool == "" && a.Plan == "" {
				k.fail(key, "assigns nothing", "name a pool or a plan")
			}
		}
	}
	for _, s := range c.Sources {
		plan("source["+s.Name+"]", s.Plan)
	}
	for _, d := range c.Domains {
		plan("domain["+d.Name+"]", d.Plan)
	}
	for _, x := range c.Credentials {
		for i, name := range x.Streams {
			k.refer(fmt.Sprintf("credential[%s].streams[%d]", x.Name, i), "stream", name, streams)
		}
		for i, name := range x.Domains {
			k.refer(fmt.Sprintf("credential[%s].domains[%d]", x.Name, i), "domain", name, c.domainNames())
		}
	}
	for i, l := range c.Listeners {
		k.refer(fmt.Sprintf("listener[%d].trust_as", i), "credential", l.TrustAs, credentials)
	}
}

// submitters reports credentials and domains that are declared and cannot do
// their work.
func (k *checker) submitters() {
	for _, x := range k.c.Credentials {
		trusted := slices.ContainsFunc(k.c.Listeners, func(l Listener) bool { return l.TrustAs == x.Name })
		if x.PasswordHash == "" && !trusted && !k.c.IsSet("credential["+x.Name+"].password_hash") {
			k.warn(fmt.Sprintf("credential[%s]", x.Name), "cannot be used: it has no password_hash and no listener trusts as it",
				"make a hash with segue check --hash")
		}
	}
	for _, d := range k.c.Domains {
		if len(d.DKIM) == 0 {
			k.warn(fmt.Sprintf("domain[%s]", d.Name), "has no DKIM key: its mail is not signed", "Gmail and Yahoo refuse bulk mail without a signature")
		}
	}
	if len(k.c.Domains) == 0 && !k.c.IsSet("domain[0]") {
		k.warn("domain", "there is none: nothing may be sent", "declare the domains that mail is sent as with [[domain]]")
	}
}
