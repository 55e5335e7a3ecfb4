// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/api"
)

type contactCmd struct {
	remote
	Show   contactShow   `cmd:"" help:"Show what is known of an address."`
	Import contactImport `cmd:"" help:"Import contacts from CSV or JSON lines, gzip or not."`
}

type contactShow struct {
	Address string `arg:"" help:"The address."`
}

// Run prints one contact.
func (c *contactShow) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.Contact, error) { return m.Contact(ctx, c.Address) }, a.contact)
}

func (a *app) contact(c api.Contact) error {
	tier := c.Tier
	if c.TierReason != "" {
		tier += " (" + c.TierReason + ")"
	}
	list := [][2]string{
		{"contact", c.Address},
		{"user id", c.UserID},
		{"account", c.Account},
		{"tier", tier},
		{"segments", strings.Join(c.Segments, " ")},
		{"first sent", a.when(c.FirstSent)},
		{"last sent", a.when(c.LastSent)},
		{"last engaged", a.when(c.LastEngaged)},
		{"sends", number(c.Sends) + ", " + number(c.SendsSince) + " since the last engagement"},
		{"queued", number(c.Queued)},
		{"import batch", c.Batch},
	}
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
