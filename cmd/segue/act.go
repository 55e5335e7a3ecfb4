// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/seguemta/segue/mta/api"
)

// target is whom an order reaches: recipients by id, those of a filter, or all.
type target struct {
	IDs []string `arg:"" optional:"" name:"id" help:"Recipients, as queue ls shows them."`
	filter
	All bool `help:"Everything in the queue."`
}

type queueHold struct {
	target
	Name   string `help:"Name of the hold." placeholder:"NAME"`
	Reason string `help:"Why, for the event." placeholder:"TEXT"`
}

// Run parks mail.
func (c *queueHold) Run(a *app) error {
	return a.act(c.target, api.QueueAct{Action: "hold", Name: c.Name, Reason: c.Reason}, "held")
}

type queueRelease struct{ target }

// Run gives parked mail back.
func (c *queueRelease) Run(a *app) error {
	return a.act(c.target, api.QueueAct{Action: "release"}, "released")
}

type queueDrop struct {
	target
	Reason string `help:"Why, for the event." placeholder:"TEXT"`
}

// Run removes mail.
func (c *queueDrop) Run(a *app) error {
	return a.act(c.target, api.QueueAct{Action: "drop", Reason: c.Reason}, "dropped")
}

type queueMove struct {
	target
	To string `required:"" help:"The pool to move to." placeholder:"POOL"`
}

// Run moves mail.
func (c *queueMove) Run(a *app) error {
	return a.act(c.target, api.QueueAct{Action: "move", Pool: c.To}, "moved to "+c.To)
}

type queueRetry struct{ target }

// Run makes mail due now.
func (c *queueRetry) Run(a *app) error {
	return a.act(c.target, api.QueueAct{Action: "retry"}, "due now")
}

// act gives an order to everyone that it is meant for and says how many it reached.
func (a *app) act(t target, act api.QueueAct, done string) error {
	act.Query, act.All = t.query(), t.All
	if len(t.IDs) == 0 && act.Query.IsZero() && !t.All {
		return errors.New("this names no recipients: give ids or a filter such as --tier cooling, or --all for everything")
	}
	if len(t.IDs) > 0 && (t.All || !act.Query.IsZero()) {
		return errors.New("this names recipients in two ways: give ids, or a filter, or --all")
	}
	if t.All && !act.Query.IsZero() {
		return errors.New("this names recipients in two ways: a filter needs no --all")
	}
	give := func(ctx context.Context, m api.Methods) (api.QueueActed, error) {
		if len(t.IDs) == 0 {
			return m.QueueAct(ctx, act)
		}
		var sum api.QueueActed
		for _, id := range t.IDs {
			act.ID = id
			got, err := m.QueueAct(ctx, act)
			sum.Recipients += got.Recipients
			if err != nil && sum.Recipients == 0 {
				return sum, err
			}
			if err != nil {
				return sum, fmt.Errorf("%w (%s before it %s)", err, plural(sum.Recipients, "recipient"), done)
			}
		}
		return sum, nil
	}
	return show(a, give, func(r api.QueueActed) error { return a.say("%s %s", plural(r.Recipients, "recipient"), done) })
}
