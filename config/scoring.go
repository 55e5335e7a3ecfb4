// SPDX-License-Identifier: Apache-2.0

package config

// Scoring says how lead scores are added up. A score is fit, how well a contact
// and its account match, and behaviour, how active the contact is; each is what
// the [[score]] tables of its dimension give.
type Scoring struct {
	// Fit is at most this. The default halves the usual scale of 100 between fit and
	// behaviour, so that neither alone makes a hot lead.
	FitMax float64 `toml:"fit_max" default:"50" min:"0" max:"1000000"`

	// Behaviour is at most this, at any instant; the default as that of fit_max.
	BehaviourMax float64 `toml:"behaviour_max" default:"50" min:"0" max:"1000000"`

	// After this long, what a contact did counts half, after twice as long a quarter.
	// The default makes a click of last quarter count an eighth, as sales teams who
	// count activity over a rolling month expect.
	HalfLife Duration `toml:"half_life" default:"30d" min:"1h" max:"36500d"`

	// The score of an account: max is that of its best contact, top3 the sum of its
	// best three. The default does not depend on how many colleagues are known.
	Account AccountScore `toml:"account" default:"max" enum:"max,top3"`
}

// AccountScore is how the score of an account follows from those of its contacts.
type AccountScore string

// The ways.
const (
	AccountMax  AccountScore = "max"
	AccountTop3 AccountScore = "top3"
)

// Score gives points. Of dimension fit, to every contact for which a condition
// holds; of dimension behaviour, for each event, from its own time on. Opens and
// clicks of machines give none, and a complaint sets a score to 0 for good.
type Score struct {
	// Which of the two it adds to.
	Dimension Dimension `toml:"dimension" required:"true" need:"say fit or behaviour" enum:"fit,behaviour"`

	// For fit: the condition, in CEL. It reads attributes of contact and account; no
	// score, tier, event or time, so that fit changes only when something is written.
	Where string `toml:"where"`

	// For behaviour: the name of the event.
	Event string `toml:"event"`

	// For behaviour: a condition of the event's properties, in CEL, such as
	// property.plan == "pro". By default every event of the name counts.
	Filter string `toml:"filter" defaultdoc:"every event of the name"`

	// The points. Below 0 they take away, as for an unsubscription.
	Points float64 `toml:"points" required:"true" need:"say how many points it gives" min:"-1000000" max:"1000000"`

	// For behaviour: at most so many points of this table in one day (UTC). 0, the
	// default, is no cap; without one, who clicks ten links in one mail is ten times
	// as interested.
	PerDay float64 `toml:"per_day" default:"0" min:"0" max:"1000000"`
}

// Dimension is what a score is about.
type Dimension string

// The dimensions.
const (
	DimensionFit       Dimension = "fit"
	DimensionBehaviour Dimension = "behaviour"
)

// Signal says how opens and clicks of people are told from those of machines:
// mail gateways follow links before anybody reads the mail. Each open and click
// is held for a while and judged with what else came for the same message. What a
// machine did never raises a tier and gives no points.
type Signal struct {
	// How long an open or a click is held before it counts. The default is as long as
	// slow gateways take between two looks at a mail, and nobody waits for a score.
	Hold Duration `toml:"hold" default:"45s" min:"1s" max:"1h"`

	// So many different links of one message within links_within are followed by a
	// machine. The default lets people open two tabs.
	Links int `toml:"links" default:"3" min:"2" max:"64"`

	// See links. The default is short for reading and long for a scanner. It has to
	// be shorter than hold.
	LinksWithin Duration `toml:"links_within" default:"5s" min:"100ms" max:"10m"`

	// An open or a click sooner than this after the other server took the mail is a
	// machine's. The default is less than a person needs to see a mail and click.
	AfterDelivery Duration `toml:"after_delivery" default:"10s" min:"0s" max:"10m"`

	// What is learned about the gateway of a recipient domain counts half after this
	// long. The default forgets one that was turned off within a season.
	LearnFor Duration `toml:"learn_for" default:"30d" min:"1h" max:"36500d"`

	// Networks from which only machines come. By default none are known: lists age.
	Scanners []Prefix `toml:"scanners" default:""`

	// Networks of data centres. Companies send the traffic of their people through
	// some, so coming from there is not enough to be a machine, but one more sign is.
	// By default none are known.
	DataCentres []Prefix `toml:"data_centres" default:""`

	// User agents that are known here, before those that Segue knows.
	Agents []SignalAgent `toml:"agent"`
}

// SignalAgent says what a user agent is.
type SignalAgent struct {
	// A part of the user agent; capital letters make no difference.
	Contains string `toml:"contains" required:"true" identity:"true" need:"say what the user agent contains"`

	// machine: nobody is behind it. proxy: it loads pictures when a person opens a
	// mail, and follows no links. person: nothing speaks against it, whatever the
	// built-in table says.
	Is AgentKind `toml:"is" required:"true" need:"say machine, proxy or person" enum:"machine,proxy,person"`
}

// AgentKind is what a user agent is.
type AgentKind string

// The kinds.
const (
	AgentMachine AgentKind = "machine"
	AgentProxy   AgentKind = "proxy"
	AgentPerson  AgentKind = "person"
)
