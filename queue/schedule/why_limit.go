// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"time"
)

// place names where a source's limits hold.
func place(p *path) string {
	if n := p.site.key.provider; n != "" {
		return n
	}
	return p.site.key.name
}

// providerName names a site's provider as operators do.
func providerName(s *site) string {
	if s.key.provider == "" {
		return Other
	}
	return s.key.provider
}

// showProvider is the command that says why a limit is in force, and how to end it.
func showProvider(s *site) string { return "see `segue provider show " + providerName(s) + "`" }

// forever is how far away the end of a pause is that has none: its operator gives a date that nobody waits for.
const forever = 50 * 365 * 24 * time.Hour

// whyRests says that a source is paused or suspended.
func whyRests(p *path, r rest) string {
	switch src := p.source.name; {
	case !r.suspended && r.until.IsZero():
		return fmt.Sprintf("source %s is paused until it is resumed: see `segue source show %s`", src, src)
	case !r.suspended:
		return fmt.Sprintf("source %s is paused until %s: see `segue source show %s`", src, clock(r.until), src)
	case r.until.IsZero():
		return fmt.Sprintf("source %s is suspended at %s: %s", src, providerName(p.site), showProvider(p.site))
	default:
		return fmt.Sprintf("source %s is suspended at %s until %s: %s", src, providerName(p.site), clock(r.until), showProvider(p.site))
	}
}

func whyRate(p *path) string {
	s := fmt.Sprintf("waits for the rate of %s: %.6g recipients a second from source %s", place(p), p.gate.rate(), p.source.name)
	if l := p.gate.lim; l != nil && l.step > 0 {
		s += ", a limit in force now: " + showProvider(p.site)
	}
	return s
}

func (m *Machine) whyConnections(p *path) string {
	g, src := p.gate, p.source.name
	switch {
	case p.failures > 0 && p.dialling > 0:
		return fmt.Sprintf("%s failed before: one connection from source %s tries whether it answers", p.site.key.name, src)
	case g.open >= g.limit(&m.o) && g.lim != nil && g.lim.def.Connections > 0:
		return fmt.Sprintf("source %s may have %s to %s, a limit in force now: %s", src, count(g.lim.def.Connections, "connection"), place(p), showProvider(p.site))
	case g.open >= g.limit(&m.o):
		return fmt.Sprintf("all %s of source %s are busy", count(g.open, "connection"), src)
	case g.scope.full():
		return fmt.Sprintf("all %s to %s are busy", count(g.scope.open, "connection"), g.scope.prov.name)
	}
	return fmt.Sprintf("all %s of this engine are busy", count(m.open, "connection"))
}
