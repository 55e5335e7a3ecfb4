// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/api"
)

type contactCmd struct {
	remote
	Show   contactShow   `cmd:"" help:"Show what is known of an address."`
	Import contactImport `cmd:"" help:"Import contacts, accounts, events or lists from CSV or JSON lines, gzip or not."`
	Export contactExport `cmd:"" help:"Export contacts, accounts, events or lists, in a form that imports again."`
	Erase  contactErase  `cmd:"" help:"Erase a person: all that is known of it, and its queued mail. Prints a receipt."`
}

type contactShow struct {
	Address string `arg:"" help:"The address."`
}

// Run prints one contact.
func (c *contactShow) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.Contact, error) { return m.Contact(ctx, c.Address) }, a.contact)
}

// membership is one account of a contact as a person reads it: "Team, group t1, part
// of Acme (champion)". Two accounts may have the same name, groups not.
func membership(m api.Membership) string {
	text := m.Name
	if m.GroupID != "" && m.GroupID != m.Name {
		text += ", group " + m.GroupID
	}
	if m.Parent != "" {
		text += ", part of " + m.Parent
	}
	if m.Role != "" {
		text += " (" + m.Role + ")"
	}
	if m.Score != nil {
		text += fmt.Sprintf(", score %.1f", *m.Score)
	}
	return text
}

func (a *app) contact(c api.Contact) error {
	tier := c.Tier
	if c.TierReason != "" {
		tier += " (" + c.TierReason + ")"
	}
	stage := c.Stage
	if c.StageBy != "" {
		stage += " (because of segment " + c.StageBy + ")"
	}
	score := ""
	if x := c.Scores; x != nil {
		score = fmt.Sprintf("%.1f: fit %.1f, behaviour %s", x.Score, x.Fit, x.Why)
	}
	list := [][2]string{{"contact", c.Address}, {"user id", c.UserID}}
	for _, m := range c.Accounts {
		list = append(list, [2]string{"account", membership(m)})
	}
	list = append(list, [][2]string{
		{"tags", strings.Join(c.Tags, " ")},
		{"lists", strings.Join(c.Lists, " ")},
		{"language", c.Language},
		{"time zone", c.TimeZone},
		{"source", c.Source},
		{"tier", tier},
		{"stage", stage},
		{"score", score},
		{"segments", strings.Join(c.Segments, " ")},
		{"first sent", a.when(c.FirstSent)},
		{"last sent", a.when(c.LastSent)},
		{"last engaged", a.when(c.LastEngaged)},
		{"sends", number(c.Sends) + ", " + number(c.SendsSince) + " since the last engagement"},
		{"queued", number(c.Queued)},
		{"import batch", c.Batch},
	}...)
	for _, name := range slices.Sorted(maps.Keys(c.Attributes)) {
		list = append(list, [2]string{name, c.Attributes[name]})
	}
	if err := a.pairs(list...); err != nil || len(c.Suppressions) == 0 {
		return err
	}
	if err := a.say(""); err != nil {
		return err
	}
	return a.suppressions(c.Suppressions)
}
