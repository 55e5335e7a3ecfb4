// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/reputation/throttle"
)

// Codes of alarms about limits.
const (
	codeSuspended = "suspended"
	codeSlowed    = "slowed"
	codePinned    = "pinned"
	codeLane      = "suspended_lane"
	codeAlert     = "alert"
)

// alertLasts is how long an alert of a rule is told after it was raised.
const alertLasts = 24 * time.Hour

// limits finds what is in force at every provider.
func (c *checkup) limits(ctx context.Context) error {
	list, err := c.m.Providers(ctx)
	c.inForce = make(map[pair]api.Limit)
	for _, p := range list {
		for _, l := range p.Sources {
			c.inForce[pair{l.Source, p.Name}] = l
		}
	}
	return err
}

// limited looks at what rules or an operator have in force of a source at a provider.
func (c *checkup) limited(h *api.SourceHealth) {
	l, ok := c.inForce[pair{h.Source, h.Provider}]
	if !ok {
		return
	}
	acts := readActs(l.Acts)
	for i := range l.Lanes {
		c.lane(h, &l.Lanes[i], acts)
	}
	if l.State != "normal" || len(l.Lanes) > 0 {
		shown := l
		shown.Acts = []api.LimitAct{} // segue health acts has them
		h.Limit = &shown
	}
	a := api.Alarm{
		About: where(h.Source, h.Provider), Source: h.Source, Provider: h.Provider, Queued: h.Queued, Until: l.Until,
		Undo: throttle.Act{Kind: throttle.Slow, Source: h.Source, Provider: h.Provider}.Undo(), Look: "segue provider show " + h.Provider,
	}
	switch l.State {
	case "suspended":
		h.State = "suspended"
		a.Level, a.Code, a.What = api.LevelStopped, codeSuspended, "suspended: nothing leaves from it there"
		a.Since, a.Why = because(acts, throttle.Suspend, throttle.Slow)
	case "slowed":
		h.State = "slowed"
		a.Level, a.Code, a.What = api.LevelSlowed, codeSlowed, "slowed to "+l.Text
		_, a.Why = because(acts, throttle.Slow, throttle.Suspend)
		a.Since = began(acts)
	case "pinned":
		a.Level, a.Code, a.What = api.LevelWarning, codePinned, "pinned to "+l.Text+": rules only watch"
		a.Since, a.Why = l.Pin.At, by(l.Pin.By, l.Pin.Reason)
		a.Undo = throttle.Act{Kind: throttle.Pinned, Source: h.Source, Provider: h.Provider}.Undo()
		if l.Suspended {
			h.State, a.Level = "suspended", api.LevelStopped
		}
	default:
		a.Level, a.Code, a.What, a.Undo = api.LevelWarning, codeAlert, "a rule asks somebody to look", ""
		if a.Since, a.Why = because(acts, throttle.Alert); a.Since.IsZero() || c.now.Sub(a.Since) > alertLasts {
			return
		}
	}
	c.alarm(a)
}

// by is who did something and why.
func by(who, reason string) string {
	if reason != "" {
		who += ": " + reason
	}
	return "by " + who
}

// lane tells of a lane or a segment whose mail a provider refuses.
func (c *checkup) lane(h *api.SourceHealth, l *api.LaneLimit, acts []throttle.Act) {
	a := api.Alarm{
		Level: api.LevelStopped, Code: codeLane, About: l.Target + " " + l.Name + " at " + h.Provider, Source: h.Source, Provider: h.Provider, Until: l.Until,
		What: "suspended there: its mail waits, from every source", Look: "segue provider show " + h.Provider,
		Undo: throttle.Act{Kind: throttle.Suspend, Source: h.Source, Provider: h.Provider, Target: throttle.Target(l.Target), Name: l.Name}.Undo(),
	}
	if l.Target == string(throttle.TargetSegment) {
		a.Segment, a.Queued = l.Name, c.lanes[l.Name]
	}
	of := slices.DeleteFunc(slices.Clone(acts), func(x throttle.Act) bool { return x.Name != l.Name })
	a.Since, a.Why = because(of, throttle.Suspend)
	c.alarm(a)
}

// readActs reads the last acts back, oldest first.
func readActs(list []api.LimitAct) []throttle.Act {
	var acts []throttle.Act
	for i := range list {
		var a throttle.Act
		if json.Unmarshal(list[i].Evidence, &a) == nil {
			acts = append(acts, a)
		}
	}
	return acts
}

// because is the newest act of some kinds: when it was, and on what evidence.
func because(acts []throttle.Act, kinds ...throttle.Kind) (time.Time, string) {
	for i := range slices.Backward(acts) {
		if slices.Contains(kinds, acts[i].Kind) {
			return acts[i].Time, acts[i].Why()
		}
	}
	return time.Time{}, ""
}

// began is when limits that are in force began: the first act that nothing has ended since.
func began(acts []throttle.Act) (since time.Time) {
	for i := range slices.Backward(acts) {
		switch acts[i].Kind {
		case throttle.Slow, throttle.Suspend, throttle.Resume, throttle.Raise:
			since = acts[i].Time
		case throttle.Alert:
		case throttle.Recovered, throttle.Cancelled, throttle.Pinned, throttle.Unpinned:
			return since
		}
	}
	return since
}
