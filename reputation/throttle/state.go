// SPDX-License-Identifier: Apache-2.0

package throttle

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/codec"
	"github.com/seguemta/segue/reputation/bounce"
)

// Bounds of a state: they hold whatever is observed.
const (
	maxCounters = 64  // of matches; beyond, the one that matched longest ago goes
	maxLanes    = 32  // suspended lanes and segments; beyond, it is the source that is suspended
	maxStrikes  = 16  // suspensions in a row that are told apart
	maxReply    = 200 // octets of a reply that an act keeps
	maxStored   = 1 << 18
	slots       = 16 // parts of a rate rule's window
)

// leastSites is how many sites must say a thing, where sites have no provider in common,
// before it is taken for what is thought of the source and not for what one of them thinks.
const leastSites = 3

// version is that of the stored form.
const version = 1

// ErrState is wrapped by the errors of [Decode].
var ErrState = errors.New("bad throttle state")

// State is what is known of one source at one provider, and what is in force
// there. Make it with [New], store it with [State.Encode].
type State struct {
	Version   int          `json:"version"`
	Source    string       `json:"source"`
	Provider  string       `json:"provider,omitempty"` // "" = other
	Slowed    *Slowed      `json:"slowed,omitempty"`
	Suspended *Suspension  `json:"suspended,omitempty"` // of the source at the provider
	Lanes     []Suspension `json:"lanes,omitempty"`     // of lanes and segments, by target and name
	Pinned    *Pin         `json:"pinned,omitempty"`
	Down      int64        `json:"down,omitempty"`    // last change downward, Unix milliseconds
	Alerted   int64        `json:"alerted,omitempty"` // last alert, Unix milliseconds
	AlertRule string       `json:"alert_rule,omitempty"`
	Up        int64        `json:"up,omitempty"`        // last step upward, Unix milliseconds
	InFlight  uint64       `json:"in_flight,omitempty"` // replies that a running suspension left out
	Counters  []counter    `json:"counters,omitempty"`
	Rings     []ring       `json:"rings,omitempty"`

	words  *bounce.Words // the last reply: memory for the next one
	policy *Policy       // that Counters and Rings are made for
	due    int64         // when advance has something to do, Unix milliseconds; never = nothing
}

// Slowed is limits in force that are below the normal ones; 0 = the normal one.
type Slowed struct {
	Rate          float64   `json:"rate,omitempty"`
	Connections   int       `json:"connections,omitempty"`
	PerConnection int       `json:"per_connection,omitempty"`
	Rule          string    `json:"rule"`
	Until         time.Time `json:"until"` // the next step upward
}

// Suspension is one that runs, or ended within [Damping.Memory].
type Suspension struct {
	Target  Target    `json:"target"`
	Name    string    `json:"name,omitempty"` // of a lane or segment
	Rule    string    `json:"rule"`
	Running bool      `json:"running,omitempty"`
	Strikes int       `json:"strikes"` // suspensions in a row, this one counted
	Until   time.Time `json:"until"`
}

// Pin is a fixed value that an operator has set; zero = no limit of that kind.
type Pin struct {
	Suspended     bool      `json:"suspended,omitempty"`
	Rate          float64   `json:"rate,omitempty"`
	Connections   int       `json:"connections,omitempty"`
	PerConnection int       `json:"per_connection,omitempty"`
	By            string    `json:"by"`
	Reason        string    `json:"reason,omitempty"`
	At            time.Time `json:"at"`
}

// counter holds the last matches of a rule, for the source or for one lane.
type counter struct {
	Rule  string   `json:"rule"`
	Name  string   `json:"name,omitempty"`
	Times []int64  `json:"times"`           // Unix milliseconds, oldest first
	Sites []uint32 `json:"sites,omitempty"` // at sites without a provider: digests of those that said it, one time each
	Fired int      `json:"fired,omitempty"` // whens that have acted on these matches
}

// ring counts for one rate rule over its window in slots; slot is the number of the newest.
type ring struct {
	Rule string        `json:"rule"`
	Slot int64         `json:"slot"`
	Hits [slots]uint32 `json:"hits"`
	Of   [slots]uint32 `json:"of"`
}

// New is the state of a source at a provider of which nothing is known.
func New(source, provider string) *State {
	return &State{Version: version, Source: source, Provider: provider}
}

// Encode is the stored form.
func (s *State) Encode() ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("storing the limits of %s at %s: %w", s.Source, s.provider(), err)
	}
	return b, nil
}

// Decode reads the stored form. Errors wrap [ErrState]: a state that cannot be
// read is not to be taken for one without suspensions.
func Decode(b []byte) (*State, error) {
	s := &State{}
	if err := codec.JSON(b, maxStored, version, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%w of %q at %q: %w", ErrState, s.Source, s.Provider, err)
	}
	return s, nil
}

func (s *State) check() error {
	if len(s.Counters) > maxCounters || len(s.Lanes) > maxLanes || len(s.Rings) > maxRates {
		return errors.New("more entries than a state can have")
	}
	for _, c := range s.Counters {
		if len(c.Times) == 0 || len(c.Times) > maxMatches || !slices.IsSorted(c.Times) || c.Fired < 0 ||
			s.Provider == "" && len(c.Sites) != len(c.Times) || s.Provider != "" && len(c.Sites) > 0 {
			return fmt.Errorf("counter of rule %q is not one", c.Rule)
		}
	}
	for _, r := range s.Rings {
		if r.Slot < 0 || r.Slot > 1<<40 {
			return fmt.Errorf("counts of rule %q are of no time", r.Rule)
		}
	}
	for i := range s.Lanes {
		if err := s.Lanes[i].check(); err != nil {
			return err
		}
	}
	if s.Suspended != nil {
		if err := s.Suspended.check(); err != nil {
			return err
		}
	}
	if w := s.Slowed; w != nil && (w.Until.IsZero() || !sane(w.Rate, w.Connections, w.PerConnection) ||
		w.Rate == 0 && w.Connections == 0 && w.PerConnection == 0) {
		return errors.New("slowed without an end or a limit")
	}
	if p := s.Pinned; p != nil && !sane(p.Rate, p.Connections, p.PerConnection) {
		return errors.New("pinned to a negative limit")
	}
	return nil
}

func sane(rate float64, connections, perConnection int) bool {
	return rate >= 0 && connections >= 0 && perConnection >= 0
}

func (p *Suspension) check() error {
	if p.Strikes < 1 || p.Strikes > maxStrikes || p.Until.IsZero() {
		return fmt.Errorf("suspension of %s %q by rule %q is not one", p.Target, p.Name, p.Rule)
	}
	return nil
}

// clone is a copy that shares nothing.
func (s *State) clone() *State {
	c := *s
	c.words = nil
	if s.Slowed != nil {
		slowed := *s.Slowed
		c.Slowed = &slowed
	}
	if s.Suspended != nil {
		suspended := *s.Suspended
		c.Suspended = &suspended
	}
	c.Lanes, c.Rings = slices.Clone(s.Lanes), slices.Clone(s.Rings)
	c.Counters = slices.Clone(s.Counters)
	for i := range c.Counters {
		c.Counters[i].Times = slices.Clone(c.Counters[i].Times)
		c.Counters[i].Sites = slices.Clone(c.Counters[i].Sites)
	}
	return &c
}

// provider is the provider's name for people.
func (s *State) provider() string {
	if s.Provider == "" {
		return "other"
	}
	return s.Provider
}

// use prepares a state for a policy: counts of rules that are no more go,
// rings come into the order of the rules.
func (s *State) use(p *Policy) {
	if s.policy == p {
		return
	}
	s.Counters = slices.DeleteFunc(s.Counters, func(c counter) bool {
		return !slices.ContainsFunc(p.rules, func(r *replyRule) bool { return r.name == c.Rule })
	})
	rings := make([]ring, len(p.rates))
	for i, r := range p.rates {
		rings[i].Rule = r.name
		for _, old := range s.Rings {
			if old.Rule == r.name {
				rings[i] = old
			}
		}
	}
	s.Rings, s.policy = rings, p
	s.plan(p)
}

// lane finds the suspension of a lane or segment, or nil.
func (s *State) lane(target Target, name string) *Suspension {
	for i := range s.Lanes {
		if s.Lanes[i].Target == target && s.Lanes[i].Name == name {
			return &s.Lanes[i]
		}
	}
	return nil
}

// counter finds the matches of a rule for the source or a lane, or makes them.
func (s *State) counter(rule, name string) *counter {
	oldest := 0
	for i := range s.Counters {
		c := &s.Counters[i]
		if c.Rule == rule && c.Name == name {
			return c
		}
		if last(c.Times) < last(s.Counters[oldest].Times) {
			oldest = i
		}
	}
	if len(s.Counters) >= maxCounters {
		s.Counters = slices.Delete(s.Counters, oldest, oldest+1)
	}
	s.Counters = append(s.Counters, counter{Rule: rule, Name: name})
	return &s.Counters[len(s.Counters)-1]
}

func last(times []int64) int64 {
	if len(times) == 0 {
		return 0
	}
	return times[len(times)-1]
}

// add counts a match, keeps those of the last while, and at most so many. A site
// that said it before says nothing new; site is nil where there is a provider.
func (c *counter) add(at int64, site *uint32, within time.Duration, most int) {
	if site != nil {
		if i := slices.Index(c.Sites, *site); i >= 0 {
			c.Times, c.Sites = slices.Delete(c.Times, i, i+1), slices.Delete(c.Sites, i, i+1)
		}
		c.Sites = append(c.Sites, *site)
	}
	// A clock that was set back must not make later matches early ones.
	c.Times = append(c.Times, max(at, last(c.Times)))
	gone := max(0, len(c.Times)-most)
	for gone < len(c.Times) && c.Times[gone] <= at-within.Milliseconds() {
		gone++
	}
	c.Times = slices.Delete(c.Times, 0, gone)
	if site != nil {
		c.Sites = slices.Delete(c.Sites, 0, gone)
	}
}

// site is the digest of an observation's site where matches are told apart by it, else nil.
func (s *State) site(o *Observation) *uint32 {
	if s.Provider != "" {
		return nil
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(o.Site)) // never fails
	sum := h.Sum32()
	return &sum
}

// need is how many matches a when waits for.
func (s *State) need(w *when) int {
	if s.Provider == "" {
		return max(w.count, leastSites)
	}
	return w.count
}

// since counts the matches of the last while.
func (c *counter) since(at int64, within time.Duration) int {
	n := 0
	for _, t := range c.Times {
		if t > at-within.Milliseconds() {
			n++
		}
	}
	return n
}

// count adds to the slot of a time; those between it and the newest were empty.
func (r *ring) count(at, length int64, hits, of uint32) {
	if at >= (r.Slot+1)*length {
		r.turn(at / length)
	}
	i := uint64(r.Slot) % slots //nolint:gosec // slots have no sign
	r.Hits[i] += hits
	r.Of[i] += of
}

func (r *ring) turn(slot int64) {
	if slot-r.Slot >= slots {
		*r = ring{Rule: r.Rule, Slot: slot}
		return
	}
	for r.Slot < slot {
		r.Slot++
		i := uint64(r.Slot) % slots //nolint:gosec // slots have no sign
		r.Hits[i], r.Of[i] = 0, 0
	}
}

func (r *ring) sum() (hits, of uint64) {
	for i := range slots {
		hits += uint64(r.Hits[i])
		of += uint64(r.Of[i])
	}
	return hits, of
}
