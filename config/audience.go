// SPDX-License-Identifier: Apache-2.0

package config

// Attribute declares one fact about contacts or accounts. Rules are checked
// against these; a name that is not declared is an error there.
type Attribute struct {
	// contact.x or account.x. Bare names (tier, score, lists and so on) are built in.
	Name string `toml:"name" required:"true" identity:"true" format:"attribute" need:"each attribute has a name"`

	// The type of its values. There is no default: a rule that compares a number with
	// a text is found when it is written only if the type was said.
	Type AttributeType `toml:"type" required:"true" need:"say text, number, boolean, time, list or topics" enum:"text,number,boolean,time,list,topics"`
}

// AttributeType is the type of an attribute's values.
type AttributeType string

// Types of attributes.
const (
	Text    AttributeType = "text"
	Number  AttributeType = "number"
	Boolean AttributeType = "boolean"
	Time    AttributeType = "time"
	List    AttributeType = "list"   // of texts
	Topics  AttributeType = "topics" // text to boolean: subscriptions
)

// Events says how long it is remembered what contacts did: the calls of the
// tracking API, and what became of their mail.
type Events struct {
	// Events older than this are removed, once a day. Segments count what they need
	// when an event comes and go on knowing it; this is what a new segment can look
	// back on, and what a contact's history shows. The default is a year and a month,
	// so that "this time last year" can be asked.
	Retention Duration `toml:"retention" default:"400d" min:"1d" max:"36500d"`
}

// Tier is a degree of engagement. All six exist without being declared; a table
// overrides what it names. A contact is in the first whose condition holds, in
// the order dead, active, warm, cooling, new, dormant; where none does, in
// cooling. Only human engagement counts (click, reply, login, purchase), never
// machine opens or scanner clicks. active, warm, cooling and new are bounded by
// within and max_sends; dormant and dead, which are about silence, by beyond and
// min_sends.
type Tier struct {
	// One of the six.
	Name string `toml:"name" required:"true" identity:"true" need:"say which of the six tiers" enum:"new,active,warm,cooling,dormant,dead"`

	// At most this long since the last human engagement; for new, since the first
	// send to a contact that never engaged. The defaults are the days at which
	// published engagement cohorts break.
	Within Duration `toml:"within" defaultdoc:"30d for new and active, 90d for warm, 180d for cooling" min:"1m" max:"36500d"`

	// For dormant and dead: silent for longer than this, counted from the last human
	// engagement, or from the first send where there was none. The defaults are half
	// a year, the usual end of an engaged list, and a year, after which an address is
	// as likely abandoned as read.
	Beyond Duration `toml:"beyond" defaultdoc:"180d for dormant, 365d for dead" min:"1m" max:"36500d"`

	// For dormant and dead: at least so many sends without an answer. Days alone would
	// punish those who are rarely written to; the defaults give the reader of a
	// monthly letter a fair chance first.
	MinSends int `toml:"min_sends" defaultdoc:"6 for dormant, 10 for dead" min:"0" max:"1000000"`

	// For the others: at most so many sends without an answer. By default only new is
	// bounded: four in the first month are enough to stop calling a contact new.
	MaxSends int `toml:"max_sends" defaultdoc:"4 for new, else no limit" min:"1" max:"1000000"`

	// The pool of its mail, where the segment names none. By default delivery.pool.
	Pool string `toml:"pool" defaultdoc:"delivery.pool"`

	// The share of connections and rate against other lanes of a site, where the
	// segment names none. The defaults double with how much the mail is wanted.
	Weight int `toml:"weight" defaultdoc:"8 for active, 4 for new and warm, 2 for cooling, else 1" min:"1" max:"1000"`
}

// Segment is a named, ordered, live rule over contacts. The first segment that a
// contact is in decides the lane of its mail; all are recorded.
type Segment struct {
	// The name, also a metric label and what X-Segue-Segment names.
	Name string `toml:"name" required:"true" identity:"true" format:"name" need:"each segment has a name"`

	// Segments are asked in this order, lowest first; equal ones as they stand in the
	// files. The default is behind all that have a usual number, so that a segment
	// without one takes no mail away from those that have.
	Order int `toml:"order" default:"1000"`

	// The rule, in CEL.
	Where string `toml:"where" required:"true" need:"say which contacts are in it"`

	// Lists whose contacts are in the segment, whatever the rule says. Lists come with
	// imports. With the rule "false" a segment is its lists and nothing else.
	Include []string `toml:"include" format:"list"`

	// Lists whose contacts are not in it, even those of an included one.
	Exclude []string `toml:"exclude" format:"list"`

	// The stage of the customer journey that its contacts are in, such as "customer". Of
	// several segments with a stage that a contact is in, the first counts. Rules read it
	// as stage. By default the segment says nothing about it.
	Stage string `toml:"stage" format:"name"`

	// The pool of its mail, where no assignment names one for the tier. By default the
	// tier's.
	Pool string `toml:"pool" defaultdoc:"the tier's"`

	// The share of connections and rate against other lanes of a site. 0, the default:
	// the tier's weight.
	Weight int `toml:"weight" default:"0" min:"0" max:"1000"`

	// The part of the day in which its mail may leave, by the clock where the
	// recipient lives: the contact's time zone, else budget_zone. Mail outside of it
	// waits for the opening, retries too, and may expire while it waits. It may pass
	// midnight, "20:00-02:00". By default mail leaves at any hour. Like the caps and the
	// holdback, it never holds for transactional mail.
	SendWindow SendWindow `toml:"send_window" defaultdoc:"the whole day"`

	// At most so many messages to a contact in any span of so long, "3/7d". Every
	// message of the marketing streams counts, whichever segment it left by; the segment
	// that decides the lane of a message decides the cap for it. By default there is none.
	ContactCap Frequency `toml:"contact_cap" defaultdoc:"no cap"`

	// The same for all contacts of an account together, for each account of the
	// contact. By default there is none.
	AccountCap Frequency `toml:"account_cap" defaultdoc:"no cap"`

	// What becomes of a message that a cap does not let leave: wait until there is
	// room, or drop it with an event. The default waits, because a message was accepted
	// to be delivered.
	Capped string `toml:"capped" default:"wait" enum:"wait,drop"`

	// How long a message waits for room at most; then it is dropped with an event.
	// The default of two days keeps news from arriving when it is none any more.
	CappedWait Duration `toml:"capped_wait" default:"48h" min:"1m" max:"366d"`

	// The share of its contacts that is not mailed, to compare with those that are:
	// accepted, then dropped with the reason holdback. Who is held back is decided by a hash
	// of segment and address, and so the same in every campaign. By default nobody is.
	Holdback float64 `toml:"holdback" default:"0" min:"0" max:"1"`

	// What becomes of queued mail when its contact leaves the segment that decided
	// the lane: keep the lane, choose it anew from tier and segments as they are then, or
	// drop the mail with an event. The default keeps what was promised at admission.
	OnLeave string `toml:"on_leave" default:"keep" enum:"keep,relane,drop"`

	// Where mail of one tier of the segment goes.
	Assign []Assign `toml:"assign"`
}

// Values of capped and on_leave.
const (
	CappedWait  = "wait"
	CappedDrop  = "drop"
	LeaveKeep   = "keep"
	LeaveRelane = "relane"
	LeaveDrop   = "drop"
)

// Assign sends one tier of a segment through a pool, or gives it a plan, or
// both.
type Assign struct {
	// The tier whose mail is assigned.
	Tier string `toml:"tier" required:"true" identity:"true" need:"say which tier" enum:"new,active,warm,cooling,dormant,dead"`

	// The pool. By default the segment's, then the tier's.
	Pool string `toml:"pool" defaultdoc:"the segment's, then the tier's"`

	// A plan by which this lane itself is ramped, beside those of the sources. By
	// default there is none.
	Plan string `toml:"plan" defaultdoc:"none"`
}
