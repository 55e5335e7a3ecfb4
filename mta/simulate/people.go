// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// generator makes a population from one source of chance.
type generator struct {
	rand      *rand.Rand
	now       time.Time
	p         *Population
	companies []company
}

// company is an account.
type company struct {
	name, domain, industry string
	employees              int
}

func words(list string) []string { return strings.Fields(list) }

func (g *generator) pick(list []string) string { return list[g.rand.IntN(len(list))] }

func (g *generator) between(r [2]int) int { return r[0] + g.rand.IntN(r[1]-r[0]+1) }

// consumers are the domains of private mailboxes, with their weight.
func consumers() []struct {
	Domain
	weight int
} {
	return []struct {
		Domain
		weight int
	}{
		{Domain{"gmail.test", Google}, 46},
		{Domain{"outlook.test", Microsoft}, 14},
		{Domain{"hotmail.test", Microsoft}, 8},
		{Domain{"yahoo.test", Yahoo}, 18},
		{Domain{"icloud.test", Apple}, 14},
	}
}

// makeDomains makes the companies; most have their mail with somebody large.
func (g *generator) makeDomains(n int) {
	first := words("acorn alder amber aspen basalt birch bright cedar cobalt copper coral delta ember fable fern flint garnet granite harbor hazel indigo iron jade juniper kestrel larch linden lumen maple meadow merlin mica nimbus north oak onyx opal orchid pebble pine quartz raven ridge river rowan sable sage slate spruce stone summit swift tern thistle timber topaz umber vale violet willow winter wren")
	second := words("analytics builders catering clinic cloud design dynamics energy farms finance foods foundry freight games health hotels insurance kitchens labs law legal logistics media mills motors music partners press robotics schools security software solar studio supply systems textiles tools travel ventures works")
	industries := words("software retail logistics health finance media education manufacturing")
	taken := make(map[string]bool)
	for len(g.companies) < n {
		name := g.pick(first) + "-" + g.pick(second)
		if taken[name] {
			name = fmt.Sprintf("%s-%d", name, len(g.companies))
		}
		taken[name] = true
		c := company{name: name, domain: name + ".example", industry: g.pick(industries), employees: 3 + g.rand.IntN(45)}
		if g.rand.Float64() < 0.5 {
			c.employees = 51 + g.rand.IntN(1500)
		}
		g.companies = append(g.companies, c)
		at := Mailhost
		switch x := g.rand.Float64(); {
		case x < 0.35:
			at = Google
		case x < 0.6:
			at = Microsoft
		}
		g.p.Domains = append(g.p.Domains, Domain{c.domain, at})
	}
	for _, c := range consumers() {
		g.p.Domains = append(g.p.Domains, c.Domain)
	}
	g.p.Domains = append(g.p.Domains, Domain{Name: typoDomain})
}

// person makes one; a stranger is one that the database does not know.
func (g *generator) person(known bool) Person {
	h := g.habit(known)
	p := Person{Tier: h.tier, Imported: known, Dead: g.rand.Float64() < h.gone}
	g.status(&p, h)
	domain := g.place(&p)
	if g.rand.Float64() < typos {
		domain, p.Dead = typoDomain, true
	}
	p.Address = g.address(domain)
	if known {
		g.history(&p, h)
	}
	return p
}

func (g *generator) habit(known bool) habit {
	list := habits()
	if !known {
		return list[2] // new: nobody knows them
	}
	x := g.rand.Float64()
	for _, h := range list {
		if x -= h.share; x < 0 {
			return h
		}
	}
	return list[len(list)-1]
}

// status makes the silent ones leads more often than the others.
func (g *generator) status(p *Person, h habit) {
	x := g.rand.Float64()
	if h.tier == "dormant" || h.tier == "dead" {
		x = x*0.6 + 0.4
	}
	switch {
	case x < 0.22:
		p.Status = "trial"
	case x < 0.52:
		p.Status = "customer"
	default:
		p.Status = "lead"
		p.Newsletter = g.rand.Float64() < 0.7
	}
}

// place gives a person a company, and returns the domain of their address.
func (g *generator) place(p *Person) string {
	c := g.companies[g.rand.IntN(len(g.companies))]
	if p.Status != "lead" {
		p.Account, p.Employees, p.Industry = c.name, c.employees, c.industry
		if g.rand.Float64() < workplace {
			return c.domain
		}
	}
	sum := 0
	for _, c := range consumers() {
		sum += c.weight
	}
	x := g.rand.IntN(sum)
	for _, c := range consumers() {
		if x -= c.weight; x < 0 {
			return c.Name
		}
	}
	return c.domain
}

// address makes one that nobody has yet.
func (g *generator) address(domain string) string {
	first := words("ada alan amir ana anna ben carla chen clara dana david diego elif emma eva felix finn grace hana hugo ida ines ivan jan jonas julia kai karl lara lea leo lina luca maria marta max mia milan mira nadia nils nina noah nora olga omar paul petra priya rosa ruth samir sara sofia sven tara theo tom uma vera wei yara yuki zoe")
	last := words("abel adler ahmed alves baker bauer becker berg blanc bloom brandt braun brown castro chang clark costa cruz diaz duarte evans fischer ford fuchs garcia gomez graf haas hahn hall hansen hoffman hughes ito jansen jones kaya keller khan kim klein koch kowalski kumar lang larsen lee lehmann lopez lorenz marin martin meyer miller moreau mori muller nagy nguyen novak okafor olsen park patel perez petrov pohl quinn ramos reed rossi roth sato schmidt silva singh smith sommer stein suarez tanaka torres vogel wagner walker wang weber weiss wolf wood young yilmaz zhang ziegler")
	base := g.pick(first) + "." + g.pick(last)
	address := base + "@" + domain
	for n := 2; ; n++ {
		if _, taken := g.p.index[address]; !taken {
			return address
		}
		address = fmt.Sprintf("%s%d@%s", base, n+g.rand.IntN(9000), domain)
	}
}

// history gives a contact a past that puts it into its tier.
func (g *generator) history(p *Person, h habit) {
	day := func(n int) time.Time {
		return g.now.AddDate(0, 0, -n).Add(-time.Duration(g.rand.IntN(600)) * time.Minute)
	}
	if h.silent == [2]int{} { // new
		if g.rand.Float64() < h.neverMailedShare {
			return
		}
		p.Unanswered = 1 + g.rand.IntN(h.mails[1])
		first := 1 + g.rand.IntN(24)
		p.FirstSent, p.LastSent = day(first), day(g.rand.IntN(first))
		if p.LastSent.Before(p.FirstSent) {
			p.LastSent = p.FirstSent
		}
		return
	}
	silent := g.between(h.silent)
	p.LastEngaged = day(silent)
	p.FirstSent = day(silent + 20 + g.rand.IntN(600))
	p.Unanswered = g.between(h.mails)
	p.LastSent = p.LastEngaged
	if p.Unanswered > 0 {
		p.LastSent = day(g.rand.IntN(min(silent, 14)))
		if p.LastSent.Before(p.LastEngaged) {
			p.LastSent = p.LastEngaged
		}
	}
}
