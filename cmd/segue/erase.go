// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/seguemta/segue/mta/api"
)

type contactErase struct {
	Who string `arg:"" name:"address|user-id" help:"The address, or a user id."`
	Yes bool   `help:"It is meant: this cannot be undone."`
}

// Run erases a person and prints the receipt.
func (c *contactErase) Run(a *app) error {
	if !c.Yes {
		return errors.New("nothing was erased: this cannot be undone; say --yes if it is meant")
	}
	return show(a, func(ctx context.Context, m api.Methods) (api.Erased, error) {
		return m.EraseContact(ctx, api.Erase{Contact: c.Who})
	}, a.receipt)
}

func (a *app) receipt(e api.Erased) error {
	list := [][2]string{{"erased", a.when(e.At)}, {"known as", "#" + e.Hash + " in suppression ls"}}
	for _, x := range []struct {
		name string
		n    uint64
	}{
		{"contacts", e.Counts.Contacts},
		{"visitors", e.Counts.Visitors},
		{"histories", e.Counts.States},
		{"identities", e.Counts.Identities},
		{"accounts", e.Counts.Accounts},
		{"segments", e.Counts.Segments},
		{"events", e.Counts.Events},
		{"scores", e.Counts.Scores},
		{"opens and clicks", e.Counts.Hits},
		{"deadlines", e.Counts.Deadlines},
		{"suppressions kept", e.Counts.Suppressions},
		{"queued mail dropped", e.Counts.Mail},
	} {
		if x.n > 0 {
			list = append(list, [2]string{x.name, number(x.n)})
		}
	}
	files := "the bytes are still in files of the contacts, and are being taken out: erase again to see when"
	if !e.FilesDone.IsZero() {
		files = "the bytes are out of the files of the contacts since " + stamp(e.FilesDone)
	}
	return a.pairs(append(list,
		[2]string{"files", files},
		[2]string{"queue's log", "shown without the person, and gone by " + stamp(e.EventsUntil)},
		[2]string{"feedback index", "gone by " + stamp(e.SentUntil)},
		[2]string{"backups", e.Backups},
	)...)
}
