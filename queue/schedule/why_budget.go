// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"time"
)

// whyBudget explains a budget that has no token for a claim now.
func (m *Machine) whyBudget(c *claim, level, ahead int) Reason {
	b := c.budgets[level]
	r := Reason{Code: WhyBudget, Budget: b.key}
	name := b.name(c)
	switch {
	case !b.valid(m.now):
		r.Text = fmt.Sprintf("%s has no allowance for today yet", name)
		return r
	case !b.admits(c.tier()):
		r.Code, r.Until = WhyTier, b.cap.End
		r.Text = fmt.Sprintf("the stage of %s does not admit tier %s; earliest change %s", name, c.tier(), clock(b.cap.End))
		return r
	}
	place := m.placeAt(c, b) + ahead
	r.Expected = b.expected(m.now, place)
	b.explain(m.now, c, &r)
	r.Expected = later(r.Expected, r.Until)
	r.Text = fmt.Sprintf("waits for %s: %s", name, r.Text)
	return r
}

// explain writes what the budget lacks and until when.
func (b *budget) explain(now time.Time, c *claim, r *Reason) {
	cp := &b.cap
	used := fmt.Sprintf("%d of %d used today", b.used, cp.Allowed)
	left := b.ceiling(now) - b.used
	held := b.reserve(now)
	switch {
	case b.spent(now, c.tier()):
		r.Until = b.nextDay()
		if cp.Reserved > b.usedNew && b.used < cp.Allowed {
			used += fmt.Sprintf(", %d reserved for tier new", cp.Reserved-b.usedNew)
			if t := b.lastTenth(); t.After(now) {
				r.Until = t
			}
		}
		r.Text = fmt.Sprintf("%s, next release %s", used, clock(r.Until))
	case now.Before(cp.Open):
		r.Code, r.Until = WhyPaced, cp.Open
		r.Text = fmt.Sprintf("%s, its window opens at %s", used, clock(cp.Open))
	case !now.Before(cp.Close):
		r.Code, r.Until = WhyPaced, b.nextDay()
		r.Text = fmt.Sprintf("%s, its window closed at %s and opens at %s", used, clock(cp.Close), clock(r.Until))
	case b.rolling(now) <= b.used:
		r.Until = b.change(now)
		r.Text = fmt.Sprintf("%s, and the last 24 hours may not exceed %d; next release %s", used, cp.Allowed+cp.Allowed/4, clock(r.Until))
	case left <= 0 || left <= held && c.tier() != tierNew:
		r.Code, r.Until = WhyPaced, b.change(now)
		r.Text = fmt.Sprintf("%s, %d released so far, next release %s", used, b.released(now), clock(r.Until))
	default:
		r.Text = fmt.Sprintf("%s, the %d released are claimed by better tiers and older mail", used, left)
	}
}

// name is the budget in an operator's words.
func (b *budget) name(c *claim) string {
	at := "at " + place(c.path)
	switch b.key.Provider {
	case Total:
		at = "at all providers"
	case Other:
		at = "at other providers"
	}
	if b.key.Source != "" {
		return fmt.Sprintf("the warm-up budget of source %s %s", b.key.Source, at)
	}
	if b.key.Domain != "" {
		return fmt.Sprintf("the warm-up budget of domain %s %s", b.key.Domain, at)
	}
	return fmt.Sprintf("the plan %s of segment %s, tier %s, %s", b.key.Plan, b.key.Segment, b.key.Tier, at)
}

// nextDay is when tomorrow's budget opens, if tomorrow is like today.
func (b *budget) nextDay() time.Time { return b.cap.End.Add(b.cap.Open.Sub(b.cap.Start)) }

// placeAt counts the recipients that are served before a claim at a budget.
func (m *Machine) placeAt(c *claim, b *budget) int {
	n := b.main.ahead(c, true) + b.fresh.ahead(c, true)
	for _, p := range [...]*purse{&b.main, &b.fresh} {
		for _, ref := range p.parked {
			if ref.c != c && ref.c.first(c) {
				n += ref.c.lane.due
			}
		}
	}
	return n
}

// expected is when the budget will have given out enough for the recipient
// with so many ahead, if nothing better arrives and tomorrow allows what today does.
func (b *budget) expected(now time.Time, ahead int) time.Time {
	most := b.cap.Allowed - max(0, b.cap.Reserved-b.usedNew)
	n := b.used + ahead + 1
	if n <= most && now.Before(b.cap.Close) {
		return later(now, b.releaseTime(n))
	}
	if b.cap.Allowed <= 0 {
		return time.Time{}
	}
	if now.Before(b.cap.Close) {
		ahead -= max(0, most-b.used)
	}
	days := max(0, ahead) / b.cap.Allowed
	if days > 366 {
		return time.Time{}
	}
	rest := max(0, ahead)%b.cap.Allowed + 1
	return b.releaseTime(rest).Add(b.cap.End.Sub(b.cap.Start) * time.Duration(days+1))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
