// SPDX-License-Identifier: Apache-2.0

package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
	"time"
)

// Hash is the HMAC-SHA256 of an address key under the store's secret. It stands
// for the address in keys, so that a suppression outlives the erasure of the
// address itself.
type Hash [32]byte

// Head is the beginning of a hash, which tells addresses apart as well: 88 keyed
// bits do not collide. An unsubscribe link has room for no more, so a suppression that came
// from one alone has a hash that goes on with zeros.
type Head [11]byte

// Head is the beginning of the hash.
func (h *Hash) Head() Head { return Head(h[:len(Head{})]) }

// HashAddress computes the hash of an address key.
func HashAddress(secret []byte, addressKey string) Hash {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(addressKey))
	var h Hash
	m.Sum(h[:0])
	return h
}

// Hasher computes hashes under one secret, many of them at half the cost.
type Hasher struct{ pool sync.Pool }

type hashing struct {
	mac hash.Hash
	buf []byte
}

// NewHasher makes one for a secret.
func NewHasher(secret []byte) *Hasher {
	return &Hasher{sync.Pool{New: func() any { return &hashing{mac: hmac.New(sha256.New, secret)} }}}
}

// Address is [HashAddress].
func (s *Hasher) Address(addressKey string) (h Hash) {
	x := s.pool.Get().(*hashing) //nolint:forcetypeassert // New makes nothing else
	defer s.pool.Put(x)
	x.mac.Reset()
	x.buf = append(x.buf[:0], addressKey...)
	x.mac.Write(x.buf)
	x.buf = x.mac.Sum(x.buf[:0])
	copy(h[:], x.buf)
	return h
}

// User is the hash of a user id, which is no hash of an address.
func (s *Hasher) User(user string) Hash { return s.Address("\x00u" + user) }

// Suppression is one reason not to mail one address in one scope.
type Suppression struct {
	Hash     Hash
	Scope    string // "all", "stream:NAME", "domain:NAME" or "list:NAME"
	Address  string // address key; "" once the contact was erased
	Reason   string
	Source   string // who said so: "event", "operator", "import", ...
	Evidence string // what was seen: a reply, a report, a note
	Created  time.Time
	Expires  time.Time // zero = never
	Provider string    // that said so, of a hard bounce; "" = one without a name, or none
}

// suppressionLayout is that of a suppression: 2 has the provider, 1 has none.
const suppressionLayout = 2

// Flip says that something changed for a contact that mail already queued, or
// whoever follows a segment, must know.
type Flip struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Contact  uint64    `json:"contact"` // 0 = no contact has the address
	Address  string    `json:"address"` // address key
	Kind     string    `json:"kind"`    // suppressed | lifted | tier | entered | left | rebuilt
	Scope    string    `json:"scope,omitempty"`
	From     string    `json:"from,omitempty"` // tier before
	To       string    `json:"to,omitempty"`   // tier now
	Cause    string    `json:"cause"`
	Segment  string    `json:"segment,omitempty"` // of entered, left and rebuilt
	Version  uint64    `json:"version,omitempty"` // of its rule
	Entered  uint64    `json:"entered,omitempty"` // of rebuilt: how many
	Left     uint64    `json:"left,omitempty"`    // of rebuilt: how many
}

// flipLayout is that of a flip: 2 has the segment, 1 ended before it.
const flipLayout = 2

// Cursor is a consumer's place in the log of another store.
type Cursor struct {
	Epoch    uint64
	Sequence uint64
	Time     time.Time // of the event with that sequence
}

// Progress is how far an import came and what it counted until there.
type Progress struct {
	Row      uint64 // last row whose effect is in the store
	Sum      uint64 // sum over all rows up to Row
	Done     bool
	Created  uint64
	Updated  uint64
	Same     uint64
	Rejected uint64
	Moved    uint64
	At       time.Time
}

func (s *Suppression) append(b []byte) []byte {
	b = append(b, suppressionLayout)
	b = appendString(b, s.Address)
	b = appendString(b, s.Reason)
	b = appendString(b, s.Source)
	b = appendString(b, s.Evidence)
	b = appendTime(b, s.Created)
	return appendString(appendTime(b, s.Expires), s.Provider)
}

func decodeSuppression(key, value []byte) (Suppression, error) {
	r, version := newReaderUpTo(suppressionLayout, value)
	s := Suppression{
		Address: r.string(), Reason: r.string(), Source: r.string(), Evidence: r.string(),
		Created: r.time(), Expires: r.time(),
	}
	if version == suppressionLayout {
		s.Provider = r.string()
	}
	head := len(prefixSuppression)
	if len(key) <= head+len(s.Hash) {
		r.fail()
	} else {
		copy(s.Hash[:], key[head:])
		s.Scope = string(key[head+len(s.Hash):])
	}
	return s, r.done("suppression")
}

func (f *Flip) append(b []byte) []byte {
	b = append(b, flipLayout)
	b = appendTime(b, f.Time)
	b = binary.AppendUvarint(b, f.Contact)
	for _, s := range []string{f.Address, f.Kind, f.Scope, f.From, f.To, f.Cause, f.Segment} {
		b = appendString(b, s)
	}
	for _, v := range []uint64{f.Version, f.Entered, f.Left} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func decodeFlip(value []byte) (Flip, error) {
	r := &reader{rest: value}
	version := r.byte()
	f := Flip{
		Time: r.time(), Contact: r.uvarint(), Address: r.string(), Kind: r.string(),
		Scope: r.string(), From: r.string(), To: r.string(), Cause: r.string(),
	}
	switch version {
	case layout:
	case flipLayout:
		f.Segment, f.Version, f.Entered, f.Left = r.string(), r.uvarint(), r.uvarint(), r.uvarint()
	default:
		r.fail()
	}
	return f, r.done("flip")
}

func (c *Cursor) append(b []byte) []byte {
	b = append(b, layout)
	b = binary.AppendUvarint(b, c.Epoch)
	b = binary.AppendUvarint(b, c.Sequence)
	return appendTime(b, c.Time)
}

func decodeCursor(value []byte) (Cursor, error) {
	r := newReader(value)
	c := Cursor{Epoch: r.uvarint(), Sequence: r.uvarint(), Time: r.time()}
	return c, r.done("cursor")
}

func (p *Progress) append(b []byte) []byte {
	done := byte(0)
	if p.Done {
		done = 1
	}
	b = append(b, layout, done)
	for _, v := range []uint64{p.Row, p.Sum, p.Created, p.Updated, p.Same, p.Rejected, p.Moved} {
		b = binary.AppendUvarint(b, v)
	}
	return appendTime(b, p.At)
}

func decodeProgress(value []byte) (Progress, error) {
	r := newReader(value)
	p := Progress{Done: r.byte() == 1}
	p.Row, p.Sum = r.uvarint(), r.uvarint()
	p.Created, p.Updated, p.Same, p.Rejected, p.Moved = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	p.At = r.time()
	return p, r.done("import progress")
}
