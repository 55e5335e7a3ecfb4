// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/rule"
)

// mailEventName is the name that an event of the queue has in a contact's log, ""
// where it has none there. Engaged is not among them: who saw the person click or
// reply writes that event itself.
func mailEventName(k event.Kind) string {
	switch k {
	case event.Delivered:
		return EventEmailDelivered
	case event.Bounced, event.DSN:
		return EventEmailBounced
	case event.Complained:
		return EventEmailMarkedAsSpam
	case event.Unsubscribed:
		return EventUnsubscribed
	default:
		return ""
	}
}

// mailEvent adds what happened to a contact's mail to the contact's log, with the
// properties of Segment's e-mail specification and some of our own. Its message
// id is the place in the queue's log, so that a replay writes it over itself.
func (t *tx) mailEvent(id uint64, e *event.Event) error {
	name := mailEventName(e.Kind)
	if name == "" {
		return nil
	}
	properties := map[string]rule.Value{}
	for property, v := range map[string]string{
		"campaign_id": e.Campaign, "stream": e.Stream, "segment": e.Segment, "provider": e.Provider,
		"enhanced_code": e.Enhanced, "bounce_class": e.Class,
	} {
		if v != "" {
			properties[property] = rule.TextValue(v)
		}
	}
	if e.Message != 0 {
		properties["email_id"] = rule.TextValue(messageID(e))
	}
	if e.Code != 0 {
		properties["smtp_code"] = rule.NumberValue(float64(e.Code))
	}
	return t.happen(id, rule.Event{
		Name: name, Time: e.Time.UnixMicro(), Message: fmt.Sprintf("mail-%x-%d", t.epoch, e.Sequence), Properties: properties,
	})
}

// messageID is the id of a message as answers and operators write it.
func messageID(e *event.Event) string { return strings.ToUpper(strconv.FormatUint(e.Message, 36)) }
