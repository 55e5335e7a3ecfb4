// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"time"
)

// CallKind is what a call of the tracking API does.
type CallKind uint8

// The kinds of calls. Their names are those of Segment's API.
const (
	CallIdentify CallKind = iota + 1 // traits of a person
	CallTrack                        // the person did something: Event, Properties
	CallPage                         // the person saw a page: the event "Page Viewed"
	CallScreen                       // the same in an app: "Screen Viewed"
	CallGroup                        // traits of an account, and the person belongs to it
	CallAlias                        // PreviousID and UserID are one person
)

// Call is one call of the tracking API in a form of its own: checked for size
// and form, with the outer context of its batch merged in. [DB.Ingest] takes it.
//
// A call names its person by user id, anonymous id or an e-mail address, at
// least one of them. The address comes from Email, from the trait "email", or,
// in the event "Signed Up", from the property of that name, in this order.
type Call struct {
	Kind       CallKind
	MessageID  string // "" = the call is recognised by its content
	UserID     string
	Anonymous  string // anonymousId
	PreviousID string // alias: the id given up, a user id or an anonymous id
	Email      string // context.traits.email; "" = see above
	GroupID    string // group: the account
	Time       time.Time

	// Event is the event's name (track), or the name of the page or screen.
	Event    string
	Category string // of a page or a screen

	// Properties (track, page, screen) and Traits (identify, group) are the JSON
	// objects as encoding/json decodes them into an interface: string, float64 or
	// json.Number, bool, nil, []any and map[string]any. Ingest keeps no reference.
	Properties map[string]any
	Traits     map[string]any

	Context CallContext
}

// CallContext is what counts of a call's context.
type CallContext struct {
	IP        string
	UserAgent string
	Locale    string // "en-US": the language of a contact that has none
	Timezone  string // the time zone of a contact that has none
	GroupID   string // the account that the event is about
	Source    string // campaign.source: where a contact that the call makes came from
}

// ErrRejected is wrapped by every error about one call that cannot be applied
// and will not be when it is sent again.
var ErrRejected = errors.New("rejected")
