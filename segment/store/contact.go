// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"time"
)

// Contact is the cold part of a contact: what imports and identify calls write.
type Contact struct {
	Address    string // as first given, in SMTP form; "" for a visitor
	UserID     string // the last one given; others may lead here too
	Batch      string // the import that made the contact; "" = made by mail or by tracking
	Zone       string // IANA name of the time zone
	Language   string // tag of BCP 47: "en", "de-CH"
	Source     string // where the contact came from
	Created    time.Time
	Consent    time.Time // zero = not known
	ConsentBy  string    // where it was given: a form, a contract
	Identified int64     // time of the newest tracking call that wrote attributes, in microseconds since 1970
	Tags       []string  // sorted
	Lists      []string  // sorted names of the lists the contact is on
	Edges      []Edge    // the accounts the contact belongs to, the primary one first
	Former     []Edge    // those it left; Told is when
	Attributes []byte    // a record of package rule; this package does not open it
}

// Edge says that a contact belongs to an account.
type Edge struct {
	ID      uint64 // dense; 0 in records of layout 1 until they are written again
	Account uint64
	Role    string
	Since   time.Time // when it joined
	Told    time.Time // time of the newest call that said so: what is older and says otherwise came late
}

// Account returns the primary account, 0 if there is none.
func (c *Contact) Account() uint64 {
	if len(c.Edges) == 0 {
		return 0
	}
	return c.Edges[0].Account
}

// Account is a company.
type Account struct {
	Name       string
	Domain     string
	Group      string    // Segment's groupId
	Parent     uint64    // the account it is a part of; 0 = none
	Identified int64     // as in Contact
	Deleted    time.Time // zero = it is not; a deleted account has no contacts
	Attributes []byte    // a record of package rule
}

// State is the hot part of a contact: what every event writes. Times are
// seconds since 1970 in UTC, 0 where it never happened; they do so until 2106.
type State struct {
	FirstSent   uint32
	LastSent    uint32
	LastEngaged uint32
	Sends       uint32 // deliveries
	Since       uint32 // deliveries since the last engagement
	SoftBounces uint32 // bounces with verdict "count" since the last engagement
	Complaints  uint32
	Address     uint32 // AddressSum of the contact's address key
}

// The newest layouts. Layout 1 of a contact had one account and no more than
// address, user id, batch, zone, created, consent and attributes; layout 1 of an
// account had name, domain and attributes.
const (
	contactLayout = 2
	contactProven = 3 // with ConsentBy at its end
	accountLayout = 2
)

// Append appends the record's binary form.
func (c *Contact) Append(b []byte) []byte {
	if c.ConsentBy == "" {
		b = append(b, contactLayout)
	} else {
		b = append(b, contactProven)
	}
	for _, s := range []string{c.Address, c.UserID, c.Batch, c.Zone, c.Language, c.Source} {
		b = appendString(b, s)
	}
	b = appendTime(b, c.Created)
	b = appendTime(b, c.Consent)
	b = binary.AppendVarint(b, c.Identified)
	b = appendStrings(b, c.Tags)
	b = appendStrings(b, c.Lists)
	b = appendEdges(b, c.Edges)
	b = appendEdges(b, c.Former)
	b = appendBytes(b, c.Attributes)
	if c.ConsentBy != "" {
		b = appendString(b, c.ConsentBy)
	}
	return b
}

func appendEdges(b []byte, edges []Edge) []byte {
	b = binary.AppendUvarint(b, uint64(len(edges)))
	for i := range edges {
		b = binary.AppendUvarint(b, edges[i].ID)
		b = binary.AppendUvarint(b, edges[i].Account)
		b = appendString(b, edges[i].Role)
		b = appendTime(b, edges[i].Since)
		b = appendTime(b, edges[i].Told)
	}
	return b
}

// edgeSize is the fewest bytes of an edge.
const edgeSize = 5

func (r *reader) edges() []Edge {
	n := r.count()
	if n == 0 {
		return nil
	}
	list := make([]Edge, 0, min(n, len(r.rest)/edgeSize))
	for range n {
		list = append(list, Edge{ID: r.uvarint(), Account: r.uvarint(), Role: r.string(), Since: r.time(), Told: r.time()})
	}
	return list
}

// DecodeContact reads what [Contact.Append] wrote, now or in an older version.
// Attributes are a part of value, not a copy. Errors wrap [ErrCorrupt].
func DecodeContact(value []byte) (Contact, error) {
	r, version := newReaderUpTo(contactProven, value)
	if version == layout {
		return firstContact(r)
	}
	c := Contact{
		Address: r.string(), UserID: r.string(), Batch: r.string(), Zone: r.string(), Language: r.string(), Source: r.string(),
		Created: r.time(), Consent: r.time(), Identified: r.varint(),
		Tags: r.strings(), Lists: r.strings(), Edges: r.edges(), Former: r.edges(),
	}
	c.Attributes = r.bytes()
	if version == contactProven {
		c.ConsentBy = r.string()
	}
	return c, r.done("contact")
}

// firstContact reads layout 1. Its account becomes an edge without an id.
func firstContact(r *reader) (Contact, error) {
	c := Contact{Address: r.string(), UserID: r.string()}
	account := r.uvarint()
	c.Batch, c.Zone, c.Created, c.Consent = r.string(), r.string(), r.time(), r.time()
	c.Attributes = r.bytes()
	if account != 0 {
		c.Edges = []Edge{{Account: account, Since: c.Created, Told: c.Created}}
	}
	return c, r.done("contact")
}

// Append appends the record's binary form.
func (a *Account) Append(b []byte) []byte {
	b = append(b, accountLayout)
	b = appendString(b, a.Name)
	b = appendString(b, a.Domain)
	b = appendString(b, a.Group)
	b = binary.AppendUvarint(b, a.Parent)
	b = binary.AppendVarint(b, a.Identified)
	b = appendTime(b, a.Deleted)
	return appendBytes(b, a.Attributes)
}

// DecodeAccount reads what [Account.Append] wrote, as [DecodeContact] does.
func DecodeAccount(value []byte) (Account, error) {
	r, version := newReaderUpTo(accountLayout, value)
	a := Account{Name: r.string(), Domain: r.string()}
	if version > layout {
		a.Group, a.Parent, a.Identified, a.Deleted = r.string(), r.uvarint(), r.varint(), r.time()
	}
	a.Attributes = r.bytes()
	return a, r.done("account")
}

// Append appends the record's binary form.
func (s *State) Append(b []byte) []byte {
	b = append(b, layout)
	for _, v := range []uint32{s.FirstSent, s.LastSent, s.LastEngaged, s.Sends, s.Since, s.SoftBounces, s.Complaints, s.Address} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return b
}

// DecodeState reads what [State.Append] wrote. Errors wrap [ErrCorrupt].
func DecodeState(value []byte) (State, error) {
	r := newReader(value)
	s := State{
		FirstSent: r.uint32(), LastSent: r.uint32(), LastEngaged: r.uint32(),
		Sends: r.uint32(), Since: r.uint32(), SoftBounces: r.uint32(), Complaints: r.uint32(), Address: r.uint32(),
	}
	return s, r.done("contact state")
}

// AddressSum is a short sum of an address key (FNV-1a, 32 bits). The state of a
// contact holds it, so that a contact id that came from another store is noticed
// in memory and cannot blame a stranger. It is never 0: a state with a sum of 0
// is no contact's.
func AddressSum(key string) uint32 { return max(fnv(key), 1) }

func fnv(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}
