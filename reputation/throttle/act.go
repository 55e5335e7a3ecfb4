// SPDX-License-Identifier: Apache-2.0

package throttle

import (
	"fmt"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/wilson"
)

// Kind is what an act does.
type Kind string

// The kinds: what rules do, what time does, what operators do.
const (
	Slow      Kind = "slow"
	Suspend   Kind = "suspend"
	Alert     Kind = "alert"     // nothing changed; somebody should look
	Resume    Kind = "resume"    // a suspension ended
	Raise     Kind = "raise"     // one step upward
	Recovered Kind = "recovered" // the normal limits hold again
	Pinned    Kind = "pinned"
	Unpinned  Kind = "unpinned"
	Cancelled Kind = "cancelled"
)

// Act is one change with its evidence. Empty fields are those it does not have.
type Act struct {
	Kind     Kind      `json:"kind"`
	Time     time.Time `json:"time"`
	Source   string    `json:"source"`
	Provider string    `json:"provider"` // "other" for sites without one
	Target   Target    `json:"target"`
	Name     string    `json:"name,omitempty"` // of a lane or segment

	Rule    string        `json:"rule,omitempty"`
	Pattern string        `json:"pattern,omitempty"` // what it asks
	Reply   string        `json:"reply,omitempty"`   // the last that matched
	Count   uint64        `json:"count,omitempty"`
	Of      uint64        `json:"of,omitempty"` // rate rules: recipients
	Window  time.Duration `json:"window,omitempty"`

	Rate          float64   `json:"rate,omitempty"` // limits from now on; 0 = the normal ones
	Connections   int       `json:"connections,omitempty"`
	PerConnection int       `json:"per_connection,omitempty"`
	Held          bool      `json:"held,omitempty"`    // pinned: suspended
	Until         time.Time `json:"until,omitzero"`    // suspension: its end; otherwise the next step upward
	Strikes       int       `json:"strikes,omitempty"` // suspensions in a row
	Next          string    `json:"next,omitempty"`    // what an operator should do
	Note          string    `json:"note,omitempty"`
}

func (a *Act) limits(w *Slowed) {
	a.Rate, a.Connections, a.PerConnection, a.Until = w.Rate, w.Connections, w.PerConnection, w.Until
}

// Undo is the command that undoes the act, or "".
func (a Act) Undo() string {
	var b strings.Builder
	switch a.Kind {
	case Slow, Suspend, Resume, Raise:
		fmt.Fprintf(&b, "segue provider cancel %s --source %s", a.Provider, a.Source)
	case Pinned:
		fmt.Fprintf(&b, "segue provider pin %s --source %s --off", a.Provider, a.Source)
	default:
		return ""
	}
	if a.Name != "" {
		fmt.Fprintf(&b, " --%s %s", a.Target, a.Name)
	}
	return b.String()
}

// limit is the limits of the act for people: "1/m, 1 connection".
func (a Act) limit() string { return WriteLimits(a.Held, a.Rate, a.Connections, a.PerConnection) }

// WriteLimits writes limits for people: "1/m, 1 connection". Those that are 0 are left
// out; where all are, it is "no limit".
func WriteLimits(suspended bool, rate float64, connections, perConnection int) string {
	var parts []string
	if suspended {
		parts = append(parts, "suspended")
	}
	if rate > 0 {
		parts = append(parts, writeRate(rate))
	}
	if connections > 0 {
		parts = append(parts, plural(connections, "connection"))
	}
	if perConnection > 0 {
		parts = append(parts, plural(perConnection, "transaction")+" each")
	}
	if len(parts) == 0 {
		return "no limit"
	}
	return strings.Join(parts, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// String is the act on one line: what, why, until when, what next, how to undo it.
func (a Act) String() string {
	var b strings.Builder
	b.WriteString(a.Source + " at " + a.Provider)
	if a.Name != "" {
		fmt.Fprintf(&b, ", %s %s", a.Target, a.Name)
	}
	b.WriteString(": " + a.what())
	if why := a.Why(); why != "" {
		b.WriteString("; " + why)
	}
	for _, part := range [][2]string{{"", a.Note}, {"next: ", a.Next}, {"undo: ", a.Undo()}} {
		if part[1] != "" {
			b.WriteString("; " + part[0] + part[1])
		}
	}
	return b.String()
}

func (a Act) what() string {
	until := a.Until.Format(time.DateTime)
	switch a.Kind {
	case Slow:
		return fmt.Sprintf("slowed to %s until %s", a.limit(), until)
	case Suspend:
		return fmt.Sprintf("suspended until %s (%s, number %d in a row)", until, short(a.Until.Sub(a.Time)), a.Strikes)
	case Resume:
		if a.Target != TargetSource {
			return "suspension is over"
		}
		return fmt.Sprintf("suspension is over, begins with %s, next step %s", a.limit(), until)
	case Raise:
		return fmt.Sprintf("raised to %s, next step %s", a.limit(), until)
	case Recovered:
		return "the normal limits hold again"
	case Pinned:
		return "pinned to " + a.limit()
	default:
		return string(a.Kind)
	}
}

// Why is the rule of the act and what it has seen, or "".
func (a Act) Why() string {
	if a.Count == 0 {
		return ""
	}
	return "rule " + a.Rule + ": " + a.evidence()
}

func (a Act) evidence() string {
	window := " within " + short(a.Window)
	if a.Of > 0 {
		return a.Pattern + window + ": " + wilson.Interval(a.Count, a.Of).String()
	}
	times := "once"
	if a.Count > 1 {
		times = fmt.Sprintf("%d times", a.Count)
	}
	return fmt.Sprintf("%s matched %s%s, last %q", a.Pattern, times, window, a.Reply)
}

// short writes 2h0m0s as 2h.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
