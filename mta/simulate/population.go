// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Domain is a recipient domain and who has its mail.
type Domain struct {
	Name     string
	Provider string // "" = nobody: a typing error that DNS does not know
}

// Person is one recipient with what a customer database knows of them.
type Person struct {
	Address  string
	Tier     string // what the history below was made for
	Imported bool   // false: the database does not know them, only a message does
	Dead     bool   // the mailbox does not exist

	Account    string // name of the company
	Employees  int
	Industry   string
	Status     string // lead, trial or customer
	Newsletter bool

	FirstSent, LastSent, LastEngaged time.Time // zero = never
	Unanswered                       int       // mails since the last engagement
}

// Domain is the part of the address behind the @.
func (p *Person) Domain() string {
	_, domain, _ := strings.Cut(p.Address, "@")
	return domain
}

// Population is everybody who can be written to.
type Population struct {
	People  []Person
	Domains []Domain

	index map[string]int // by address
}

// mailbox reports whether an address is known here, and whether it is dead.
func (p *Population) mailbox(address string) (exists, dead bool) {
	i, ok := p.index[address]
	return ok, ok && p.People[i].Dead
}

// Find returns a person by address, nil if there is none.
func (p *Population) Find(address string) *Person {
	if i, ok := p.index[strings.ToLower(address)]; ok {
		return &p.People[i]
	}
	return nil
}

// habit is what people of a tier have in common: the days since they last
// answered, the mails since then, their share of all, and how many of their
// mailboxes are gone by now.
type habit struct {
	tier             string
	share            float64
	silent           [2]int // days since the last engagement; {0, 0}: never engaged
	mails            [2]int
	gone             float64
	neverMailedShare float64
}

// habits are well inside the default tiers, so that a run that crosses midnight
// moves nobody. Addresses die with silence: that is why tiers are worth having.
func habits() []habit {
	return []habit{
		{"active", 0.22, [2]int{1, 28}, [2]int{0, 3}, 0.003, 0},
		{"warm", 0.18, [2]int{33, 86}, [2]int{1, 8}, 0.01, 0},
		{"new", 0.12, [2]int{}, [2]int{0, 3}, 0.03, 0.4},
		{"cooling", 0.20, [2]int{95, 175}, [2]int{3, 12}, 0.04, 0},
		{"dormant", 0.18, [2]int{185, 360}, [2]int{6, 30}, 0.12, 0},
		{"dead", 0.10, [2]int{370, 900}, [2]int{10, 60}, 0.35, 0},
	}
}

// Shares of people beside the tiers.
const (
	strangers = 0.03  // beyond the contacts: recipients that no database knows
	typos     = 0.002 // of all: a domain that does not exist
	workplace = 0.65  // of trials and customers: an address of their company
)

// typoDomain does not exist.
const typoDomain = "gmial.test"

// NewPopulation makes n contacts, and some strangers beside them, whose history
// ends at now. The same arguments give the same people.
func NewPopulation(seed uint64, n int, now time.Time) *Population {
	g := &generator{
		rand: rand.New(rand.NewPCG(seed, 0x5e90e)), now: now.UTC().Truncate(time.Hour), //nolint:gosec // it has to repeat
		p: &Population{index: make(map[string]int)},
	}
	g.makeDomains(max(12, n/80))
	count := n + int(float64(n)*strangers)
	for i := range count {
		person := g.person(i < n)
		g.p.index[person.Address] = len(g.p.People)
		g.p.People = append(g.p.People, person)
	}
	g.rand.Shuffle(len(g.p.People), func(i, j int) {
		a, b := &g.p.People[i], &g.p.People[j]
		*a, *b = *b, *a
		g.p.index[a.Address], g.p.index[b.Address] = i, j
	})
	return g.p
}

// Contacts is how many people the database knows.
func (p *Population) Contacts() int {
	n := 0
	for i := range p.People {
		if p.People[i].Imported {
			n++
		}
	}
	return n
}

// WriteCSV writes the contacts in the columns of a contact import. Its
// attributes are contact.status (text), contact.newsletter (boolean),
// account.employees (number) and account.industry (text).
func (p *Population) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	row := []string{
		"email", "user_id", "account", "first_sent_at", "last_sent_at", "last_engaged_at", "sends_since_engagement",
		"contact.status", "contact.newsletter", "account.employees", "account.industry",
	}
	if err := c.Write(row); err != nil {
		return fmt.Errorf("writing contacts: %w", err)
	}
	for i := range p.People {
		x := &p.People[i]
		if !x.Imported {
			continue
		}
		employees := ""
		if x.Account != "" {
			employees = strconv.Itoa(x.Employees)
		}
		row = append(row[:0], x.Address, "u"+strconv.Itoa(i), x.Account, stamp(x.FirstSent), stamp(x.LastSent), stamp(x.LastEngaged),
			strconv.Itoa(x.Unanswered), x.Status, strconv.FormatBool(x.Newsletter), employees, x.Industry)
		if err := c.Write(row); err != nil {
			return fmt.Errorf("writing contacts: %w", err)
		}
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("writing contacts: %w", err)
	}
	return nil
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}
