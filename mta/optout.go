// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/inbound"
	"github.com/seguemta/segue/queue/store"
)

// unsubscribe does what an unsubscribe token asks for: the recipient wants no more mail
// of the stream that the token came with.
func (e *Engine) unsubscribe(ctx context.Context, token string) error {
	f := e.feedback
	sub, err := f.tokens.DecodeUnsubscribe(token)
	if err != nil {
		return &unresolved{reasonOf(err), err.Error()}
	}
	id := store.ID{Message: sub.Message, Recipient: sub.Recipient}
	sent, err := f.mail.SentRecord(id)
	if err != nil {
		return &unresolved{inbound.Expired, id.String() + " is not in the sent index"}
	}
	_, err = f.commit(ctx, []fact{{
		id: id, event: about(id, sent, event.Unsubscribed), asks: store.HeardUnsubscribe, marks: store.HeardUnsubscribe,
	}}, "")
	return err
}
