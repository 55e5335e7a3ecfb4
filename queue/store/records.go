// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/codec"
	"github.com/seguemta/segue/mta/rfc5321"
)

// ID names one recipient of one message.
type ID struct {
	Message   uint64
	Recipient uint32
}

// String is the form that operators see and type: the message id in base 36,
// a dot, the recipient's index.
func (id ID) String() string {
	return FormatMessage(id.Message) + "." + strconv.FormatUint(uint64(id.Recipient), 10)
}

// FormatMessage is a message id as replies, logs and operators write it.
func FormatMessage(mid uint64) string { return strings.ToUpper(strconv.FormatUint(mid, 36)) }

// ParseID reads "2N9C.0", or "2N9C" for recipient 0.
func ParseID(s string) (ID, error) {
	message, rcpt, both := strings.Cut(s, ".")
	mid, err := strconv.ParseUint(strings.ToLower(message), 36, 64)
	if err != nil || mid == 0 {
		return ID{}, fmt.Errorf("%q is not a message id: it looks like 2N9C or 2N9C.0", s)
	}
	id := ID{Message: mid}
	if both {
		n, err := strconv.ParseUint(rcpt, 10, 32)
		if err != nil {
			return ID{}, fmt.Errorf("%q is not a recipient of a message: it looks like 2N9C.0", s)
		}
		id.Recipient = uint32(n)
	}
	return id, nil
}

// ClassID is the number of an interned class; numbers start at 1.
type ClassID uint32

// Class is the lane of a recipient as the store keeps it: names. What they
// mean (rank, weight, budgets) is configuration and is not stored.
type Class struct {
	Stream, Segment, Tier, Pool, Plan string
	Domain                            string // sending domain, where it has a plan of its own
}

// Message is what the recipients of a message share.
type Message struct {
	Received   time.Time
	Sender     rfc5321.Address // envelope sender as submitted
	Recipients uint32          // at acceptance
	Remaining  uint32          // not yet concluded
	Size       int64           // bytes of the body (header and text) as stored
	HeaderSize int64           // bytes of the header block at its front, with the empty line
	Stream     string
	Campaign   string
	Credential string
	Metadata   string // JSON
	Domain     string // domain that signs
	EightBit   bool
	UTF8       bool
	BodyHash   []byte // SHA-256 of the relaxed body (RFC 6376 section 3.4.4), for every signature
	List       string // the mailing list it goes to; "" = none
}

// Recipient is one recipient that is not concluded. It has exactly one owner: the
// schedule, a hold, or (in memory only) a connection.
type Recipient struct {
	Generation uint64 // raised by every transition; who acts names the one it saw
	Sequence   uint64 // of the event that goes with the last transition: above Durable it is not yet on disk
	Address    rfc5321.Address
	Contact    uint64 // 0 = not known at admission
	Class      ClassID
	Due        time.Time
	Hold       string // parked under this name; "" = scheduled
	Queued     time.Time
	Expires    time.Time
	Attempts   int
	Version    uint64 // of the segment that decided the lane

	Pin       string // source to keep until PinUntil
	PinUntil  time.Time
	Charged   string // source charged on ChargeDay
	ChargeDay int32

	Signature []byte // headers made at the first attempt (reference, DKIM), kept for retries; nil before a deferral
	Code      int    // last reply
	Reply     string

	// What a policy of its lane (send window, cap) makes it wait for until Due, as
	// operators read it; "" = no policy does.
	Wait string
	Base time.Time // when it would be due without that policy
	// Capped is since when it waits for room under a cap; zero = it does not.
	Capped time.Time

	Batch string // the import that made the contact; "" = none did

	Sample []string // trials of cohorts that it was let go for
}

// Counter is a budget's durable count for one day, in recipients.
type Counter struct {
	Leased  int
	Used    int
	UsedNew int // of Used, tier "new"
	Allowed int // at the last lease, for the record of a day that ended
	Hours   [24]int
}

const (
	messageVersion = 1
	messageListed  = 2 // of a message to a mailing list: its name is behind BodyHash
	rcptVersion    = 1
	rcptWaiting    = 2 // of a recipient that waits for a policy: the fields behind Reply are there
	rcptImported   = 3 // of a contact that an import made: behind those is its batch
	rcptSampled    = 4 // of one that was let go for a trial: behind those are the trials
	counterVersion = 1
	classVersion   = 1
	classDomain    = 2 // of a domain with a plan: its name follows
)

func (m *Message) append(b []byte) []byte {
	if m.List == "" {
		b = append(b, messageVersion)
	} else {
		b = append(b, messageListed)
	}
	b = codec.AppendTime(b, m.Received)
	b = codec.AppendString(b, m.Sender.Local)
	b = codec.AppendString(b, m.Sender.Domain)
	b = codec.AppendUint(b, uint64(m.Recipients))
	b = codec.AppendUint(b, uint64(m.Remaining))
	b = codec.AppendInt(b, m.Size)
	b = codec.AppendInt(b, m.HeaderSize)
	for _, s := range []string{m.Stream, m.Campaign, m.Credential, m.Metadata, m.Domain} {
		b = codec.AppendString(b, s)
	}
	b = codec.AppendBool(b, m.EightBit)
	b = codec.AppendBool(b, m.UTF8)
	b = codec.AppendBytes(b, m.BodyHash)
	if m.List != "" {
		b = codec.AppendString(b, m.List)
	}
	return b
}

func decodeMessage(v []byte) (Message, error) {
	listed := len(v) > 0 && v[0] == messageListed
	version := byte(messageVersion)
	if listed {
		version = messageListed
	}
	r, err := open("message header", v, version)
	if err != nil {
		return Message{}, err
	}
	m := Message{Received: r.Time()}
	m.Sender = rfc5321.Address{Local: r.String(), Domain: r.String()}
	m.Recipients, m.Remaining = uint32(r.Uint()), uint32(r.Uint()) //nolint:gosec // written from uint32
	m.Size, m.HeaderSize = r.Int(), r.Int()
	for _, s := range []*string{&m.Stream, &m.Campaign, &m.Credential, &m.Metadata, &m.Domain} {
		*s = r.String()
	}
	m.EightBit, m.UTF8 = r.Bool(), r.Bool()
	m.BodyHash = append([]byte(nil), r.Bytes()...)
	if listed {
		m.List = r.String()
	}
	return m, closed("message header", r)
}

func (rc *Recipient) append(b []byte) []byte {
	version := rc.version()
	b = append(b, version)
	b = codec.AppendUint(b, rc.Generation)
	b = codec.AppendUint(b, rc.Sequence)
	b = codec.AppendString(b, rc.Address.Local)
	b = codec.AppendString(b, rc.Address.Domain)
	b = codec.AppendUint(b, rc.Contact)
	b = codec.AppendUint(b, uint64(rc.Class))
	for _, t := range []time.Time{rc.Due, rc.Queued, rc.Expires, rc.PinUntil} {
		b = codec.AppendTime(b, t)
	}
	b = codec.AppendString(b, rc.Hold)
	b = codec.AppendInt(b, int64(rc.Attempts))
	b = codec.AppendUint(b, rc.Version)
	b = codec.AppendString(b, rc.Pin)
	b = codec.AppendString(b, rc.Charged)
	b = codec.AppendInt(b, int64(rc.ChargeDay))
	b = codec.AppendBytes(b, rc.Signature)
	b = codec.AppendInt(b, int64(rc.Code))
	b = codec.AppendString(b, rc.Reply)
	if version == rcptVersion {
		return b
	}
	b = codec.AppendString(b, rc.Wait)
	b = codec.AppendTime(b, rc.Base)
	b = codec.AppendTime(b, rc.Capped)
	if version >= rcptImported {
		b = codec.AppendString(b, rc.Batch)
	}
	if version == rcptSampled {
		b = codec.AppendStrings(b, rc.Sample)
	}
	return b
}

// version is the shortest form that holds a recipient.
func (rc *Recipient) version() byte {
	switch {
	case len(rc.Sample) > 0:
		return rcptSampled
	case rc.Batch != "":
		return rcptImported
	case rc.Wait != "" || !rc.Capped.IsZero():
		return rcptWaiting
	default:
		return rcptVersion
	}
}

func decodeRecipient(v []byte) (Recipient, error) {
	version := byte(rcptVersion)
	if len(v) > 0 && v[0] > rcptVersion && v[0] <= rcptSampled {
		version = v[0]
	}
	r, err := open("recipient", v, version)
	if err != nil {
		return Recipient{}, err
	}
	rc := Recipient{Generation: r.Uint(), Sequence: r.Uint()}
	rc.Address = rfc5321.Address{Local: r.String(), Domain: r.String()}
	rc.Contact = r.Uint()
	rc.Class = ClassID(r.Uint()) //nolint:gosec // written from uint32
	for _, t := range []*time.Time{&rc.Due, &rc.Queued, &rc.Expires, &rc.PinUntil} {
		*t = r.Time()
	}
	rc.Hold = r.String()
	rc.Attempts = int(r.Int())
	rc.Version = r.Uint()
	rc.Pin = r.String()
	rc.Charged = r.String()
	rc.ChargeDay = int32(r.Int()) //nolint:gosec // written from int32
	if sig := r.Bytes(); len(sig) > 0 {
		rc.Signature = append([]byte(nil), sig...)
	}
	rc.Code = int(r.Int())
	rc.Reply = r.String()
	if version != rcptVersion {
		rc.Wait, rc.Base, rc.Capped = r.String(), r.Time(), r.Time()
	}
	if version >= rcptImported {
		rc.Batch = r.String()
	}
	if version == rcptSampled {
		rc.Sample = r.Strings()
	}
	return rc, closed("recipient", r)
}

func (c *Counter) append(b []byte) []byte {
	b = append(b, counterVersion)
	for _, n := range []int{c.Leased, c.Used, c.UsedNew, c.Allowed} {
		b = codec.AppendInt(b, int64(n))
	}
	for _, n := range c.Hours {
		b = codec.AppendInt(b, int64(n))
	}
	return b
}

func decodeCounter(v []byte) (Counter, error) {
	r, err := open("budget counter", v, counterVersion)
	if err != nil {
		return Counter{}, err
	}
	var c Counter
	for _, n := range []*int{&c.Leased, &c.Used, &c.UsedNew, &c.Allowed} {
		*n = int(r.Int())
	}
	for i := range c.Hours {
		c.Hours[i] = int(r.Int())
	}
	return c, closed("budget counter", r)
}

func (c *Class) append(b []byte) []byte {
	names := []string{c.Stream, c.Segment, c.Tier, c.Pool, c.Plan}
	if c.Domain == "" {
		b = append(b, classVersion)
	} else {
		b, names = append(b, classDomain), append(names, c.Domain)
	}
	for _, s := range names {
		b = codec.AppendString(b, s)
	}
	return b
}

func decodeClass(v []byte) (Class, error) {
	version := byte(classVersion)
	if len(v) > 0 && v[0] == classDomain {
		version = classDomain
	}
	r, err := open("class", v, version)
	if err != nil {
		return Class{}, err
	}
	c := Class{Stream: r.String(), Segment: r.String(), Tier: r.String(), Pool: r.String(), Plan: r.String()}
	if version == classDomain {
		c.Domain = r.String()
	}
	return c, closed("class", r)
}

func open(what string, v []byte, version byte) (*codec.Reader, error) {
	r := codec.NewReader(v)
	if have := r.Byte(); have != version {
		return nil, fmt.Errorf("reading %s: version %d is not known to this segue (it writes %d)", what, have, version)
	}
	return r, nil
}

func closed(what string, r *codec.Reader) error {
	if err := r.Err(); err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	return nil
}
