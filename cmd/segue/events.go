// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

type eventsCmd struct {
	remote
	Tail eventsTail `cmd:"" help:"Print the newest events, and with --follow those that come."`
}

type eventsTail struct {
	Lines  uint64   `short:"n" default:"20" help:"Begin so many events ago."`
	After  uint64   `help:"Begin behind this sequence instead." placeholder:"SEQUENCE"`
	Follow bool     `short:"f" help:"Go on until interrupted."`
	Kind   []string `help:"Only these kinds, such as bounced,deferred." placeholder:"KIND"`
}

// followEvery is how often the engine is asked for news.
const followEvery = time.Second

// Run prints events, with --json one object a line.
func (c *eventsTail) Run(a *app) error {
	if err := checkKinds(c.Kind); err != nil {
		return err
	}
	m, err := a.client()
	if err != nil {
		return err
	}
	at, err := c.start(a.ctx, m)
	if err != nil {
		return err
	}
	for {
		const page = 1000
		list, err := m.Events(a.ctx, at, page)
		if err != nil {
			return err
		}
		for i := range list {
			at = list[i].Sequence
			if err := c.print(a, &list[i]); err != nil {
				return err
			}
		}
		switch {
		case len(list) == page:
		case !c.Follow:
			return nil
		default:
			wait := time.NewTimer(followEvery)
			select {
			case <-a.ctx.Done():
				wait.Stop()
				return nil // being interrupted is how following ends
			case <-wait.C:
			}
		}
	}
}

// start is the sequence to begin behind.
func (c *eventsTail) start(ctx context.Context, m api.Methods) (uint64, error) {
	if c.After > 0 {
		return c.After, nil
	}
	h, err := m.Health(ctx)
	if err != nil || h.Sequence <= c.Lines {
		return 0, err
	}
	return h.Sequence - c.Lines, nil
}

func (c *eventsTail) print(a *app, e *event.Event) error {
	if len(c.Kind) > 0 && !slices.Contains(c.Kind, string(e.Kind)) {
		return nil
	}
	if a.remote.JSON {
		return json.NewEncoder(a.out).Encode(e)
	}
	id := "-"
	if e.Message != 0 {
		id = store.ID{Message: e.Message, Recipient: e.Recipient}.String()
	}
	words := []string{stamp(e.Time), fmt.Sprintf("%-9s", e.Kind), id, e.Address}
	for _, p := range [][2]string{
		{"stream", e.Stream}, {"segment", e.Segment}, {"tier", e.Tier}, {"pool", e.Pool}, {"source", e.Source}, {"provider", e.Provider},
	} {
		if p[1] != "" {
			words = append(words, p[0]+"="+p[1])
		}
	}
	if text := said(e); text != "" {
		words = append(words, text)
	}
	return a.say("%s", strings.Join(words, " "))
}

// checkKinds refuses a misspelt kind, for which one would wait in vain.
func checkKinds(kinds []string) error {
	for _, k := range kinds {
		if !slices.Contains(event.Kinds(), event.Kind(k)) {
			return fmt.Errorf("--kind: no event is %q: there are %s", k, strings.Trim(fmt.Sprint(event.Kinds()), "[]"))
		}
	}
	return nil
}

// said is what the other server, or the engine, gave as the reason. A reply stays in one piece, for
// operators copy it into rules of their own; what the engine makes of it follows.
func said(e *event.Event) string {
	code, class := "", e.Class
	if e.Code != 0 {
		code = strconv.Itoa(e.Code)
	}
	if e.Subject != "" {
		class += ", reputation of " + e.Subject
	}
	if class != "" {
		class = "[" + class + "]"
	}
	return strings.Join(slices.DeleteFunc([]string{code, e.Enhanced, e.Reply, class, e.Reason}, func(s string) bool { return s == "" }), " ")
}
