// SPDX-License-Identifier: Apache-2.0

package schedule

import "time"

// levels of purses, in the order in which a claim passes them.
const (
	levelLane      = iota // a lane's own plan, per provider
	levelLaneAll          // a lane's own plan, all providers
	levelDomain           // a sending domain's own plan, per provider
	levelDomainAll        // a sending domain's own plan, all providers
	levelSource           // a source at a provider
	levelTotal            // a source at all providers
	levels
)

type class struct {
	id      ClassID
	def     Class
	pool    *pool
	defined bool
}

type source struct {
	name     string
	index    int // order of definition: the last tie-breaker
	budgeted bool
	defined  bool
	pauses   []pause
	limits   map[string]*limited // by provider, "" for sites of none; nil where there never was one
	paths    []*path
	timer    timer
}

type pause struct {
	provider string // "" = all
	until    time.Time
}

type pool struct {
	name     string
	members  []member
	excess   Excess
	overflow string
}

// member carries the state of smooth weighted round robin.
type member struct {
	source  *source
	weight  int
	current int
}

type provider struct {
	name  string
	def   DefineProvider
	scope *scope // nil for the unnamed provider: there every site is its own scope
}

type domainState uint8

const (
	domainUnknown domainState = iota
	domainPending
	domainOK
	domainFailed
	domainPermanent
)

type domain struct {
	name     string
	state    domainState
	site     *site
	until    time.Time
	backlogs []*backlog
	resting  bool // in Machine.resting
	timer    timer
	failure  string // why the last lookup failed
}

type siteKey struct{ name, provider string }

// site is where mail really goes, and the place where lanes share connections.
type site struct {
	key    siteKey
	prov   *provider
	scope  *scope
	paths  []*path
	lanes  []*lane
	ready  heap[*lane]
	vtime  [2]int64 // virtual time of transactional and of other lanes
	dirty  bool
	queues int // attached, over all lanes
	users  int // domains that resolve here
}

// scope is where a total connection limit applies: a named provider, or one site of none.
type scope struct {
	prov  *provider
	gates []*gate
	idle  connList
	open  int
	wait  waitq
}

// gate is a source in a scope: connections and rate are limited here.
type gate struct {
	source   *source
	scope    *scope
	lim      *limited // nil = the provider's figures hold
	open     int
	closing  int       // of them, asked to close
	tat      time.Time // GCRA: theoretical arrival time of the next recipient
	connWait waitq
	rateWait waitq
	timer    timer
}

// path is a source at a site: what backs off.
type path struct {
	site     *site
	source   *source
	gate     *gate
	index    int // in source.paths
	open     int
	dialling int
	failures int
	until    time.Time // back-off
	usable   bool
	idle     []*conn
	waiting  [waitKinds]bool
	dead     bool
	timer    timer
}

type waitKind uint8

const (
	waitConn waitKind = iota
	waitRate
	waitScope
	waitGlobal
	waitKinds
)

// waitq holds the paths that wait for room, first come first served.
type waitq struct {
	kind  waitKind
	gate  *gate
	scope *scope
	q     fifo[*path]
	noted bool
}

type connState uint8

const (
	connDialling connState = iota
	connBusy
	connIdle
	connClosing
)

type conn struct {
	id    Conn
	state connState
	down  bool // ConnDown came before the Concluded
	path  *path
	sent  int // transactions
	since time.Time

	next, prev   [2]*conn // in the machine's and the scope's idle list
	items        []Item
	keys         []BudgetKey
	charged      []*budget
	n            int // tokens taken from each
	day          Day
	fresh        bool // tier "new"
	transmitting bool
}

type backlogKey struct {
	domain string
	class  ClassID
}

type holdKey struct {
	domain   string
	class    ClassID
	provider string // as sites carry it; "" in Machine.holds, which hold everywhere
}

// backlog is the mail of a class for a domain: a count on disk and a window.
type backlog struct {
	key      backlogKey
	index    int // in Machine.backlogList
	live     bool
	domain   *domain
	class    *class
	count    int // on disk, those in flight included
	out      int // in flight, asked to move, or expired and waiting for its Gone
	pend     int // Queued, kept aside until the same recipient's transaction is concluded
	complete bool
	last     Position  // where incomplete: the window knows everything up to here
	next     time.Time // where incomplete: nothing behind last is due before this
	loading  bool
	wanted   bool
	failing  bool
	held     bool
	heldAt   bool     // at the provider where its domain's mail goes
	after    Position // of the load that is out
	cut      Position // earliest item not taken into the window while loading; zero = none
	ended    []ID     // left while a load was out
	main     queue
	pins     []*queue
}

// queue is a part of a backlog's window: items without a pin, or those kept to one source.
type queue struct {
	b     *backlog
	pin   *source
	items []Item
	head  int
	due   int // of the items, how many are due: the first ones
	lane  *lane
	share int // what it adds to lane.due
	slot  int // in lane.ready
	timer timer
}

type laneKey struct {
	site  *site
	class *class
	pin   *source
}

// lane is a class at a site.
type lane struct {
	key    laneKey
	index  int // in Machine.laneList
	at     int // in site.lanes
	ready  heap[*queue]
	queues int // attached
	due    int // recipients due, as far as known
	claims []claim
	open   int    // claims that may send now
	free   *claim // source from which the first item is free today
	pass   int64
	seq    uint64
	slot   int // in site.ready
	dirty  bool
	queued bool // for excess
	age    time.Time
	id     ID
}

type flightState uint8

const (
	flightSending flightState = iota
	flightAsked               // Move or Fail
	flightExpired
)

// flight is a recipient that is on disk but not in a window.
type flight struct {
	state flightState
	conn  *conn // sending
	b     *backlog
	to    *backlog // of the retry that waits for the conclusion
	item  Item     // the retry, or who was set aside as it stands on disk
}

func (p Position) before(o Position) bool {
	if c := p.Due.Compare(o.Due); c != 0 {
		return c < 0
	}
	return p.ID.before(o.ID)
}

func (id ID) before(o ID) bool {
	if id.Message != o.Message {
		return id.Message < o.Message
	}
	return id.Recipient < o.Recipient
}

func (p Position) isZero() bool { return p.ID == ID{} && p.Due.IsZero() }

func position(it *Item) Position { return Position{Due: it.Due, ID: it.ID} }

// older orders by age, then id.
func older(a time.Time, ai ID, b time.Time, bi ID) bool {
	if c := a.Compare(b); c != 0 {
		return c < 0
	}
	return ai.before(bi)
}
