// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seguemta/segue/mta/api"
)

// table is lines of columns: the first so many to the left, the others to the right.
type table struct {
	left int
	rows [][]string
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// gap is what stands between two columns.
const gap = 2

func (t *table) write(b *strings.Builder) {
	var width []int
	for _, r := range t.rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, r := range t.rows {
		cells := []string{""}
		for i, c := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i < t.left {
				cells = append(cells, c+pad)
			} else {
				cells = append(cells, pad+c)
			}
		}
		b.WriteString(strings.TrimRight(strings.Join(cells, strings.Repeat(" ", gap)), " ") + "\n")
	}
}

// number is empty for nothing: what is there is easier to see.
func number(n int) string {
	if n == 0 {
		return "·"
	}
	return strconv.Itoa(n)
}

// Text is the report for people, at most 100 columns wide.
func (p *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d contacts, %d messages over SMTP, %d mailbox providers: %.1f s\n\n", p.Contacts, p.Submitted, p.Providers, p.Took)
	fmt.Fprintf(&b, "accepted %d = delivered %d + bounced %d + expired %d\n", p.Accepted, p.Delivered, p.Bounced, p.Expired)
	fmt.Fprintf(&b, "    + suppressed %d + dropped %d + held %d + deferred %d\n", p.Suppressed, p.Dropped, p.Held, p.Deferred)
	s := &p.Sink
	fmt.Fprintf(&b, "the providers received %d, refused %d, put off %d, cut %d connections;\n", s.Received, s.Rejected, s.Deferred, s.Dropped)
	fmt.Fprintf(&b, "they sent back %d bounces and %d complaints, and of %d signatures looked at found %d bad\n",
		s.Returned, s.Complained, s.Verified+s.Unverified, s.Unverified)
	b.WriteString("\nWho went where: segment x tier -> pool -> source (delivered by each)\n\n")
	p.writeLanes(&b)
	b.WriteString("\nBudgets of the day\n\n")
	p.writeBudgets(&b)
	if p.Why != nil {
		b.WriteString("\nWhy one message waits\n\n")
		writeWhy(&b, p.Why)
	}
	p.First.write(&b)
	if p.Balanced {
		b.WriteString("\nIt balances: nothing lost, nothing twice, no budget exceeded.\n")
	} else {
		b.WriteString("\nIT DOES NOT BALANCE: " + p.Problem + "\n")
	}
	return b.String()
}

// lane is a row of the table of lanes: providers and sources together.
type lane struct {
	stream, segment, tier, pool string
}

// writeLanes prints a row per lane and a column per source.
func (p *Report) writeLanes(b *strings.Builder) {
	sources := slices.Sorted(maps.Values(sourceNames()))
	by := make(map[lane]map[string]int)
	sums := make(map[lane]*Totals)
	var order []lane
	for i := range p.Lanes {
		l := &p.Lanes[i]
		key := lane{l.Stream, l.Segment, l.Tier, l.Pool}
		if l.Stream == "transactional" {
			key.segment, key.tier = "(transactional)", ""
		}
		if sums[key] == nil {
			sums[key], by[key] = &Totals{}, make(map[string]int)
			order = append(order, key)
		}
		sums[key].add(&l.Totals)
		by[key][l.Source] += l.Delivered
	}
	t := &table{left: 3}
	t.row(append(append([]string{"segment", "tier", "pool", "all"}, sources...), "bounced", "suppressed", "waiting")...)
	last := ""
	for _, key := range order {
		sum := sums[key]
		name := cmp.Or(key.segment, "(none)")
		shown := name
		if name == last {
			shown = ""
		}
		last = name
		cells := []string{shown, key.tier, key.pool, number(sum.Accepted)}
		for _, s := range sources {
			cells = append(cells, number(by[key][s]))
		}
		t.row(append(cells, number(sum.Bounced), number(sum.Suppressed+sum.Expired+sum.Dropped), number(sum.Deferred+sum.Held))...)
	}
	t.write(b)
}

// writeBudgets prints sources and lanes with a plan, one row each.
func (p *Report) writeBudgets(b *strings.Builder) {
	var owners, providers []string
	cells := make(map[[2]string]string)
	for i := range p.Budgets {
		x := &p.Budgets[i]
		owner := x.Source
		if owner == "" {
			owner = x.Segment + " " + x.Tier
		}
		if !slices.Contains(owners, owner) {
			owners = append(owners, owner)
		}
		if !slices.Contains(providers, x.Provider) {
			providers = append(providers, x.Provider)
		}
		cells[[2]string{owner, x.Provider}] = fmt.Sprintf("%d/%d", x.Used, x.Allowed)
	}
	slices.Sort(owners)
	slices.SortFunc(providers, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(aggregate(a)), len(aggregate(b))), cmp.Compare(a, b))
	})
	t := &table{left: 1}
	t.row(append([]string{"used/allowed"}, providers...)...)
	for _, o := range owners {
		row := []string{o}
		for _, name := range providers {
			row = append(row, cmp.Or(cells[[2]string{o, name}], "·"))
		}
		t.row(row...)
	}
	t.write(b)
}

// aggregate is the name of a budget that is no provider's.
func aggregate(provider string) string {
	if provider == "other" || provider == "total" {
		return provider
	}
	return ""
}

// writeWhy prints what `segue queue why` says.
func writeWhy(b *strings.Builder, w *api.Why) {
	fmt.Fprintf(b, "  $ segue queue why %s\n", w.ID)
	for _, line := range wrap(w.Text, textWidth) {
		b.WriteString("  " + line + "\n")
	}
	b.WriteString("\n")
	t := &table{left: 2}
	for _, x := range [][2]string{
		{"lane", w.Lane},
		{"provider", w.Provider},
		{"source", w.Source},
		{"ahead", strconv.Itoa(w.Ahead)},
		{"until", utc(w.Until)},
		{"expected", utc(w.Expected)},
	} {
		if x[1] != "" {
			t.row(x[0], x[1])
		}
	}
	t.write(b)
}

func utc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime) + " UTC"
}

// textWidth is how wide a sentence is printed.
const textWidth = 90

// wrap breaks a sentence between words.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for w := range strings.FieldsSeq(s) {
		if line != "" && len(line)+1+len(w) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return append(lines, line)
}

// write prints whom the cold source reached first.
func (c *Counterfactual) write(b *strings.Builder) {
	fmt.Fprintf(b, "\nThe first %d messages of the cold source %s: whom they reach\n\n", c.Run.Recipients, c.Source)
	t := &table{left: 1}
	t.row(append(append([]string{""}, tiers()...), "dead addresses hit")...)
	for _, x := range []struct {
		name string
		f    *First
	}{{"this run", &c.Run}, {"scheduler, in tier order", &c.Tier}, {"scheduler, in arrival order", &c.Arrival}} {
		row := []string{x.name}
		for _, name := range tiers() {
			row = append(row, number(x.f.Tiers[name]))
		}
		t.row(append(row, number(x.f.Dead))...)
	}
	t.write(b)
}
