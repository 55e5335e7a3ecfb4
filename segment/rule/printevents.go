// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// call writes a function of one name.
func (p *printer) call(function, name string) {
	if err := checkEventName(name); err != nil {
		p.fail("%s: %w", function, err)
		return
	}
	p.write(function, "(", quote(name), ")")
}

func checkEventName(name string) error {
	if name == "" || len(name) > MaxEvent || !utf8.ValidString(name) {
		return fmt.Errorf("a name is 1 to %d bytes of UTF-8", MaxEvent)
	}
	return nil
}

// inside writes a function around a condition about contacts.
func (p *printer) inside(function string, o *Operand, depth int) {
	if err := o.check(); err != nil {
		p.fail("%w", err)
		return
	}
	p.write(function, "(")
	p.node(*o.Contacts, 0, depth+1)
	p.write(")")
}

func (p *printer) aggregate(e *Events, depth int) {
	if p.events++; p.events > MaxEvents {
		p.fail("the rule has more than %d conditions on events", MaxEvents)
		return
	}
	if err := e.check(); err != nil {
		p.fail("%w", err)
		return
	}
	p.call("events", e.Name)
	switch {
	case e.Younger != 0:
		p.write(".between(", spanText(e.Older), ", ", spanText(e.Younger), ")")
	case e.Older != 0:
		p.write(".within(", spanText(e.Older), ")")
	}
	if e.Where != nil {
		p.write(".where(")
		p.node(*e.Where, 0, depth+1)
		p.write(")")
	}
	p.write(".", string(e.Aggregate), "(")
	if e.Property != "" {
		p.write(quote(e.Property))
	}
	p.write(")")
}

// check reports why an aggregate cannot be written.
func (e *Events) check() error {
	if !slices.Contains([]Function{Counting, Sum, Avg, Min, Max, DistinctDays, First, Last}, e.Aggregate) {
		return fmt.Errorf("events have the unknown aggregate %q", shorten(string(e.Aggregate)))
	}
	if e.Aggregate.valued() != (e.Property != "") {
		return fmt.Errorf("%s of events lacks its property, or has one too many", e.Aggregate)
	}
	if e.Property != "" {
		if err := checkEventName(e.Property); err != nil {
			return fmt.Errorf("%s of events: %w", e.Aggregate, err)
		}
	}
	older, younger := time.Duration(e.Older), time.Duration(e.Younger)
	if older < 0 || younger < 0 || younger > 0 && younger >= older || older > maxDuration || older%time.Microsecond != 0 || younger%time.Microsecond != 0 {
		return fmt.Errorf("the window of events from %s to %s is none", e.Older, e.Younger)
	}
	return nil
}

// property writes property.a.b, or property["a b"] where that is no identifier.
func (p *printer) property(name string) {
	if err := checkEventName(name); err != nil {
		p.fail("property: %w", err)
		return
	}
	for part := range strings.SplitSeq(name, ".") {
		if !isIdentifier(part) || isWord(part) {
			p.write(propertyScope, "[", quote(name), "]")
			return
		}
	}
	p.write(propertyScope, ".", name)
}
