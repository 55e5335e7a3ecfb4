// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"time"
)

// Contact is the cold part of a contact: what imports write.
type Contact struct {
	Address    string // as first given, in SMTP form
	UserID     string
	Account    uint64 // 0 = none
	Batch      string // the import that made the contact; "" = made by mail
	Zone       string // IANA name of the time zone
	Created    time.Time
	Consent    time.Time // zero = not known
	Attributes []byte    // a record of package rule; this package does not open it
}

// Account is a company.
type Account struct {
	Name       string
	Domain     string
	Attributes []byte // a record of package rule
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

// Append appends the record's binary form.
func (c *Contact) Append(b []byte) []byte {
	b = append(b, layout)
	b = appendString(b, c.Address)
	b = appendString(b, c.UserID)
	b = binary.AppendUvarint(b, c.Account)
	b = appendString(b, c.Batch)
	b = appendString(b, c.Zone)
	b = appendTime(b, c.Created)
	b = appendTime(b, c.Consent)
	return appendBytes(b, c.Attributes)
}

// DecodeContact reads what [Contact.Append] wrote. Attributes are a part of
// value, not a copy. Errors wrap [ErrCorrupt].
func DecodeContact(value []byte) (Contact, error) {
	r := newReader(value)
	c := Contact{
		Address: r.string(), UserID: r.string(), Account: r.uvarint(), Batch: r.string(), Zone: r.string(),
		Created: r.time(), Consent: r.time(),
	}
	c.Attributes = r.bytes()
	return c, r.done("contact")
}

// Append appends the record's binary form.
func (a *Account) Append(b []byte) []byte {
	b = append(b, layout)
	b = appendString(b, a.Name)
	b = appendString(b, a.Domain)
	return appendBytes(b, a.Attributes)
}

// DecodeAccount reads what [Account.Append] wrote, as [DecodeContact] does.
func DecodeAccount(value []byte) (Account, error) {
	r := newReader(value)
	a := Account{Name: r.string(), Domain: r.string()}
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
func AddressSum(key string) uint32 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return max(h, 1)
}
