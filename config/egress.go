// SPDX-License-Identifier: Apache-2.0

package config

// Source is one way out: an address to send from, with its warm-up state per
// provider.
type Source struct {
	// The name, also a metric label.
	Name string `toml:"name" required:"true" identity:"true" format:"name" need:"each source has a name"`

	// The IPv4 and IPv6 address to bind, at most one of each. By default the system
	// chooses, which is right for a machine with one address.
	Addresses []Addr `toml:"addresses" defaultdoc:"chosen by the system"`

	// The name in EHLO, which the addresses should resolve to and back. The default
	// is the name of the machine, which is right for its only source.
	Hostname string `toml:"hostname" format:"domain" defaultdoc:"hostname of the machine"`

	// The warm-up plan: one of [[plan]], or a published schedule by its name (`segue
	// warmup plan` lists them). By default there is none: the source counts as warm and
	// has no daily budget, as one that is in use already.
	Plan string `toml:"plan" defaultdoc:"none: a warm source"`
}

// Pool is a weighted set of sources.
type Pool struct {
	// The name, also a metric label.
	Name string `toml:"name" required:"true" identity:"true" format:"name" need:"each pool has a name"`

	// What happens to mail for which no source of the pool has budget left today, or
	// whose tier no stage admits: hold waits, overflow goes through the pool named
	// next, refuse bounces it. The default loses nothing and risks no reputation.
	Excess Excess `toml:"excess" default:"hold" enum:"hold,overflow,refuse"`

	// The pool that takes the excess when excess is overflow.
	Overflow string `toml:"overflow"`

	// The sources of the pool.
	Members []Member `toml:"member"`
}

// Excess is what a pool does with mail over its budget.
type Excess string

// What to do with excess.
const (
	Hold     Excess = "hold"
	Overflow Excess = "overflow"
	Refuse   Excess = "refuse"
)

// Member is a source in a pool.
type Member struct {
	// The source.
	Source string `toml:"source" required:"true" identity:"true" need:"name the source"`

	// Its share of the pool's mail; 0 keeps it in the pool without giving it mail.
	// By default all sources are equal.
	Weight int `toml:"weight" default:"1" min:"0" max:"1000"`
}

// Plan is a warm-up schedule: stages of daily volume per provider, and the tiers
// that each stage admits. A source moves on per provider.
type Plan struct {
	// The name, also in events.
	Name string `toml:"name" required:"true" identity:"true" format:"name" need:"each plan has a name"`

	// The hours over which a day's budget is released, in budget_zone. The default,
	// the whole day, suits recipients around the world.
	Window Window `toml:"window" defaultdoc:"the whole day"`

	// Release the budget evenly over the window; false releases all of it at once.
	// On by default, so that engaged mail arriving at noon still finds some, and
	// because receivers dislike bursts from an address that they do not know.
	Pace bool `toml:"pace" default:"true"`

	// The stages, in order; a source that used up the last one is warm: no limit.
	Stages []Stage `toml:"stage"`

	Gate Gate `toml:"gate"`
}

// Stage is one step of a plan.
type Stage struct {
	// The tiers that may use the stage's budget, best first or in any order. There is
	// no default: whom a cold source writes to is the point of a warm-up.
	Tiers []string `toml:"tiers" required:"key" need:"say which tiers the stage admits" enum:"new,active,warm,cooling,dormant,dead"`

	// The share of the stage reserved for tier new: contacts that nobody knows yet.
	// The default, where the stage admits new, lets a list grow during a warm-up and
	// stays within the 15 % that senders use for untested groups.
	NewShare float64 `toml:"new_share" defaultdoc:"0.15 if the stage admits new, else 0" min:"0" max:"1"`

	// Recipients a day: default for each [[provider]] that is not named here, other
	// for all remaining sites together, total for the source, and any provider by its
	// name. Without default only total limits, without total only the others do; one
	// of the two is needed. other is by default the same as default.
	PerDay map[string]int64 `toml:"per_day" required:"true" need:"say how many recipients a day, such as { default = 500, total = 3000 }" min:"0"`
}

// Names in per_day that are not providers.
const (
	PerDayDefault = "default" // each provider that is not named
	PerDayOther   = "other"   // all sites without provider together
	PerDayTotal   = "total"   // the source
)

// Gate is the evidence that a stage asks for before the next: limits that
// hold a source where it is or take it a step back, as shares of the recipients of the last
// seven days at a provider. A limit speaks only when even the low end of the rate's 95 %
// interval is above it and at least three were counted: one complaint of ten
// messages is noise.
type Gate struct {
	// The share of the day's budget that has to be used. The default asks for a real
	// day's work: a ramp by calendar alone warms nothing.
	Used float64 `toml:"used" default:"0.9" min:"0" max:"1"`

	// The largest share that was refused for the source's or the domain's reputation, of
	// the recipients attempted. Receivers defer before they block; greylisting and full
	// mailboxes do not count, so that the default is already far from what a good
	// sender sees.
	MaxDeferred float64 `toml:"max_deferred" default:"0.10" min:"0" max:"1"`

	// The largest share that bounced for good because the address is none, at once or
	// by a bounce mail later. The default is the limit at which most sending
	// services stop a customer.
	MaxBounced float64 `toml:"max_bounced" default:"0.05" min:"0" max:"1"`

	// The largest share that complained, of the mail delivered at providers that report
	// complaints or about which figures are imported. The default is what Gmail asks
	// bulk senders to stay below; 0.003 is where it blocks.
	MaxComplained float64 `toml:"max_complained" default:"0.001" min:"0" max:"1"`

	// The largest share that unsubscribed, of the mail delivered where complaints are
	// unknown: who finds no other button presses that one. The default is several
	// times what a list that is well looked after has.
	MaxUnsubscribed float64 `toml:"max_unsubscribed" default:"0.01" min:"0" max:"1"`

	// How many times a limit takes a source a stage back; 0 is never. The default is
	// the distance between Gmail's two figures.
	StepBack float64 `toml:"step_back" default:"3" min:"0" max:"1000"`
}

// Provider is a named group of sites with one policy. A site belongs to at most
// one; sites that belong to none use the limits in [delivery].
type Provider struct {
	// The name, also a metric label and a key in per_day.
	Name string `toml:"name" required:"true" identity:"true" format:"name" need:"each provider has a name"`

	// Host names of its mail exchangers; *.example.com is every name below
	// example.com. By default none; a provider has at least one of mx and domains.
	MX []string `toml:"mx" default:"" format:"pattern"`

	// Recipient domains that belong to it whatever their mail exchangers are called.
	// By default none: exchangers tell more domains apart than any list.
	Domains []string `toml:"domains" default:"" format:"domain"`

	// Connections at one time from one source. By default those of [delivery].
	Connections int `toml:"connections" defaultdoc:"delivery.connections" min:"1" max:"10000"`

	// Connections at one time from all sources together; 0 is without limit, the
	// default, since the limits that are known count each address.
	TotalConnections int `toml:"total_connections" default:"0" min:"0" max:"100000"`

	// Whether it sends us a report of each complaint. Elsewhere no complaint is no good
	// news: the rate is unknown, not 0. By default yes for the names of those that run a
	// feedback loop for senders (yahoo, aol, microsoft, comcast, cox, fastmail,
	// rackspace, zoho, laposte, orange, libero, seznam, mailru, yandex), so
	// register with theirs; no for all others, google and apple among them.
	ReportsComplaints bool `toml:"reports_complaints" defaultdoc:"by name"`

	// Messages on one connection. By default those of [delivery].
	PerConnection int `toml:"per_connection" defaultdoc:"delivery.per_connection" min:"1" max:"10000"`

	// Recipients per unit of time from one source. By default without limit: a warm
	// source is bounded by its connections, a cold one by its plan.
	Rate Rate `toml:"rate" defaultdoc:"without limit"`
}

// Route sends a domain to a smarthost instead of its mail exchangers.
type Route struct {
	// The recipient domain.
	Domain string `toml:"domain" required:"true" identity:"true" format:"domain" need:"name the recipient domain"`

	// Where its mail goes.
	Via HostPort `toml:"via" required:"true" need:"say where its mail goes, such as smtp.corp.example:25"`
}
