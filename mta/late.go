// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"errors"
	"fmt"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

// before calls f for each earlier event about the same recipient that is still kept.
func before(mail *store.Store, ev *event.Event, f func(*event.Event)) error {
	list, err := mail.Timeline(ev.Message)
	if err != nil {
		return fmt.Errorf("reading the events of a message: %w", err)
	}
	for i := range list {
		if list[i].Recipient == ev.Recipient && list[i].Sequence < ev.Sequence {
			f(&list[i])
		}
	}
	return nil
}

// firstReport is the delivery that a DSN, complaint or unsubscription is about. It is nil where
// the same was said before, so that what comes twice counts once, and where the sent
// index knows nobody: that counts nowhere.
func firstReport(mail *store.Store, ev *event.Event) (*store.Sent, error) {
	if ev.Message == 0 {
		return nil, nil //nolint:nilnil // nobody is no error
	}
	sent, err := mail.SentRecord(store.ID{Message: ev.Message, Recipient: ev.Recipient})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // nobody is no error
	}
	if err != nil {
		return nil, fmt.Errorf("reading the sent index: %w", err)
	}
	again := false
	err = before(mail, ev, func(x *event.Event) {
		again = again || x.Kind == ev.Kind && (ev.Kind != event.DSN || hard(x)) // a program may have answered before
	})
	if err != nil || again {
		return nil, err
	}
	return &sent, nil
}
