// SPDX-License-Identifier: Apache-2.0

package schedule

import "time"

// ID names one recipient of one message.
type ID struct {
	Message   uint64
	Recipient uint32
}

// ClassID is the number that the queue's store gave a class.
type ClassID uint32

// Class is a lane before it is known where the mail goes: what the store
// interns as one number. Opaque but for rank, weight, pool, tier and plan.
type Class struct {
	Stream, Segment, Tier string
	Pool                  string
	Plan                  string // plan that ramps this lane itself; "" = none
	Domain                string // sending domain with a plan of its own; "" = none
	Rank                  int    // order in which scarce budget is spent: lower first
	Weight                int    // share of connections and rate, at least 1
	Transactional         bool   // first at every connection, never waits for a warm-up budget
}

// Conn numbers a connection; the machine gives the numbers.
type Conn uint64

// Day is a day of the budget zone, counted from 1970-01-01.
type Day int32

// Names of a budget's provider that are no provider.
const (
	Other = "other" // all sites without a named provider, together
	Total = "total" // all providers, together
)

// BudgetKey is what a budget limits, never its value. Either Source is set (a
// source's warm-up at a provider), or Domain is (a sending domain's), or Plan, Segment
// and Tier are (a lane's own ramp).
type BudgetKey struct {
	Source              string
	Domain              string
	Plan, Segment, Tier string
	Provider            string // a provider, [Other] or [Total]
}

// Charge remembers that a recipient was counted against a source on a day:
// another attempt from that source on that day is free.
type Charge struct {
	Source string
	Day    Day
}

// Item is what the machine knows of one waiting recipient.
type Item struct {
	ID       ID
	Due      time.Time // not before
	Queued   time.Time // age within a rank
	Expires  time.Time
	Pin      string // source to keep (greylisting) until PinUntil, unless it is paused
	PinUntil time.Time
	Charged  Charge
	Attempts int
}

// Fact is something that happened; [Machine.Step] takes one.
type Fact interface{ fact() }

// Facts about the configuration. A second one of the same name replaces the first.
type (
	// DefineClass introduces a class before any item of it.
	DefineClass struct {
		ID    ClassID
		Class Class
	}
	// DefineSource introduces a source. Budgeted sources spend only what Cap facts
	// give them; a source that is not budgeted is warm: no daily limit.
	DefineSource struct {
		Name     string
		Budgeted bool
	}
	// DefinePool introduces a pool and what happens to mail no member can take today.
	DefinePool struct {
		Name     string
		Members  []Member
		Excess   Excess
		Overflow string // pool, for ExcessOverflow
	}
	// DefineProvider introduces the limits of a provider; the empty name holds the
	// limits of every site that belongs to none (they apply per site).
	DefineProvider struct {
		Name             string
		Connections      int     // per source (per source and site for the empty name); 0 = default
		TotalConnections int     // over all sources; 0 = no limit
		PerConnection    int     // transactions before a connection is closed; 0 = default
		Rate             float64 // recipients a second over all connections of a source; 0 = no limit
	}
)

// Member is a source in a pool.
type Member struct {
	Source string
	Weight int // 0 = never chosen
}

// Excess is a pool's policy for mail that no member may send today, because
// the budget is spent or the tier is not admitted.
type Excess string

// The excess policies.
const (
	ExcessHold     Excess = "hold"
	ExcessOverflow Excess = "overflow"
	ExcessRefuse   Excess = "refuse"
)

// Facts about mail.
type (
	// Queued says that a recipient is durably scheduled: new mail, a retry, a
	// release or the arrival from another lane.
	Queued struct {
		Domain string
		Class  ClassID
		Item   Item
	}
	// Counted says at start what is on disk: Count entries, the first due at Head.
	Counted struct {
		Domain string
		Class  ClassID
		Count  int
		Head   time.Time
	}
	// Loaded answers a Load: entries in order of due and id. More says that the
	// disk holds further entries behind the last one. Entries may be in flight
	// or gone by now; the machine skips those it knows to be in flight, the
	// driver answers Skipped for those that are gone.
	Loaded struct {
		Domain string
		Class  ClassID
		Items  []Item
		More   bool
	}
	// Gone says that a waiting recipient left its lane without having been sent:
	// expired, suppressed, dropped, parked, moved.
	Gone struct {
		Domain string
		Class  ClassID
		ID     ID
	}
)

// Facts about the world.
type (
	// Resolved answers a Resolve. Site "" with Permanent means that the domain
	// takes no mail; Site "" without it that the lookup failed for now. Until is when the
	// answer must be asked for again.
	Resolved struct {
		Domain    string
		Site      string
		Provider  string // "" = other
		Permanent bool
		Until     time.Time
		Failure   string // why the lookup failed, for operators
	}
	// ConnUp says that a dialled connection greeted and works.
	ConnUp struct{ Conn Conn }
	// ConnDown says that a connection is gone. Failed: it never came up (refused, banner,
	// EHLO, TLS) or the server closed it with 421: source and site back off. A transaction
	// that was running on it must have been Concluded before.
	ConnDown struct {
		Conn   Conn
		Failed bool
	}
	// Concluded says that the outcome of a Send (or of a Dial's first transaction) is durable. Items
	// that go on waiting come back as Queued facts before it. Refunded are those
	// recipients whose charge was given back because MAIL was never sent.
	Concluded struct {
		Conn     Conn
		Refunded int
		Usable   bool // the connection can take another transaction
	}
	// Paused says that a source (at one provider, or at all: Provider "") may not be
	// used until a time; zero Until lifts it.
	Paused struct {
		Source, Provider string
		Until            time.Time
	}
	// Limit is what holds for a source at a provider until the next Limit of the
	// pair. Zero fields are the provider's normal figures; others replace them, be they
	// lower or higher. It knows nothing of Paused: neither ends the other.
	Limit struct {
		Source    string
		Provider  string    // "" or [Other] = every site that belongs to none, each by itself
		Suspended bool      // nothing new leaves; mail goes by other members of the pool
		Until     time.Time // the suspension ends by itself; zero = with the next Limit
		// The figures hold during a suspension and after it: whoever wants the source to
		// begin slowly gives them together with Suspended.
		Rate          float64 // recipients a second
		Connections   int     // those above it are closed as they come to rest
		PerConnection int     // transactions
	}
	// Hold says that mail of a class or a domain (or both) waits until released. At a
	// provider it waits for every source, and transactional mail does not obey.
	Hold struct {
		Domain   string  // "" = all domains
		Class    ClassID // 0 = all classes; class numbers start at 1
		Provider string  // "" = wherever the mail goes; [Other] = sites that belong to none
		Off      bool
	}
	// SetBack says that the clock was set back: the next now is earlier by so
	// much than it would have been.
	SetBack struct{ By time.Duration }
)

// Facts about budgets.
type (
	// Cap is what a budget allows on a day. It arrives at start, at every day's
	// beginning and when reputation changes it during the day.
	Cap struct {
		Key         BudgetKey
		Day         Day
		Start, End  time.Time // of the day
		Open, Close time.Time // window over which the day is released evenly; Start and End where there is none
		Pace        bool      // false: all released when the window opens
		Allowed     int       // recipients a day
		Reserved    int       // of them, for tier "new"
		Admit       []string  // tiers admitted; empty = all
		Used        int       // already charged on that day
		UsedNew     int       // of them, tier "new"
		Leased      int       // durable lease so far, at least Used
		Hours       [24]int   // charged in each of the 24 hours before Start, oldest first (a rolling 24 h never exceeds 1.25 x Allowed)
	}
	// Leased answers a Lease: the durable lease of that day is now Total.
	Leased struct {
		Key   BudgetKey
		Day   Day
		Total int
	}
)

func (DefineClass) fact()    {}
func (DefineSource) fact()   {}
func (DefinePool) fact()     {}
func (DefineProvider) fact() {}
func (Queued) fact()         {}
func (Counted) fact()        {}
func (Loaded) fact()         {}
func (Gone) fact()           {}
func (Resolved) fact()       {}
func (ConnUp) fact()         {}
func (ConnDown) fact()       {}
func (Concluded) fact()      {}
func (Paused) fact()         {}
func (Limit) fact()          {}
func (Hold) fact()           {}
func (SetBack) fact()        {}
func (Cap) fact()            {}
func (Leased) fact()         {}

// Ready is what the driver is to do now. Its slices are reused by the next Take.
type Ready struct {
	Load    []Load
	Resolve []string // domains
	Dial    []Dial
	Send    []Send
	Close   []Conn // idle too long or at its transaction limit
	Lease   []Lease
	Move    []Move
	Fail    []Fail
	// Wake is when Take must be called again if no fact comes first; zero = not at all.
	Wake time.Time
}

// Load asks for up to Limit entries of a (domain, class) from After on (exclusive; zero = from the head).
type Load struct {
	Domain string
	Class  ClassID
	After  Position
	Limit  int
}

// Position is a place in a (domain, class)'s schedule.
type Position struct {
	Due time.Time
	ID  ID
}

// Transaction is one or more recipients of one message that leave together.
type Transaction struct {
	Domain    string
	Class     ClassID
	Items     []Item
	Source    string
	Provider  string // "" = other
	Site      string
	Day       Day         // the day charged; 0 where nothing is charged
	Charges   []BudgetKey // each charged once per item that is not free by its own Charge
	Overdraft bool        // transactional mail without a budget: counted and alarmed, not charged
}

// Dial asks for a new connection and for a first transaction on it. If the
// connection fails, the driver concludes the transaction as deferred.
type Dial struct {
	Conn Conn
	Transaction
}

// Send asks for another transaction on an open connection.
type Send struct {
	Conn Conn
	Transaction
}

// Lease asks for the durable lease of a budget to be raised to Total.
type Lease struct {
	Key   BudgetKey
	Day   Day
	Total int
}

// Move asks for a waiting recipient to go to another pool (overflow) or, with
// an empty Pool, to be refused under the pool's policy.
type Move struct {
	Domain string
	Class  ClassID
	Item   Item
	Pool   string
}

// Fail asks for a waiting recipient to be bounced: its domain takes no mail.
type Fail struct {
	Domain string
	Class  ClassID
	Item   Item
}

// Reason says what a recipient waits for.
type Reason struct {
	Code     string    // one of the Why constants
	Text     string    // a sentence for the operator
	Until    time.Time // when the obstacle is expected to end; zero = not known
	Expected time.Time // when the recipient is expected to leave; zero = not known
	Ahead    int       // recipients that leave before it in its lane
	Budget   BudgetKey // for WhyBudget, WhyPaced, WhyTier
	Source   string
	Provider string
	Site     string
}

// What a recipient can wait for.
const (
	WhyDue         = "due"         // its next attempt is later
	WhyResolving   = "resolving"   // MX lookup under way
	WhyDNS         = "dns"         // MX lookup failed, tried again at Until
	WhyUnreachable = "unreachable" // the site refused connections, next one at Until
	WhyHeld        = "held"        // class or domain held by an operator, or class held at the provider
	WhyPaused      = "paused"      // every source of the pool is paused or suspended
	WhyBudget      = "budget"      // the day's budget is spent or claimed by better tiers
	WhyPaced       = "paced"       // the budget is released over the window
	WhyTier        = "tier"        // the warm-up stage does not admit the tier
	WhyRate        = "rate"        // the provider's rate
	WhyConnections = "connections" // all connections busy
	WhyAhead       = "ahead"       // others of its lane are first
	WhyInFlight    = "in_flight"   // being sent
	WhyNext        = "next"        // nothing in the way
)
