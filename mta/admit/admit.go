// SPDX-License-Identifier: Apache-2.0

// Package admit decides what becomes of a submitted message before it is
// accepted: it completes the header, reads and removes the X-Segue fields,
// chooses the stream, finds out for every recipient which contact it is, in
// which tier and segments, whether it may be mailed at all, and which lane it
// waits in. Then it hands the message to the queue and returns when that is durable.
//
// [New], then [Admitter.Admit]. Each stage is a small file of its own, in the
// order of [stages]; a stage changes the [draft] or refuses it with an
// [rfc5321.Refusal], which is told to the client. Any other error means that
// nothing was accepted and that the client should try again.
//
// The segment that decides the lane may hold contacts back, and have a send window
// (policy.go). Its caps are not asked here: what counts is when mail leaves.
//
// Contacts are only read here. A recipient nobody knows is laned as "new"; the
// consumer of its accepted event creates the contact.
package admit

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/seguemta/segue/dkim"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
)

// Envelope is a message as a listener or the API received it. Data is CRLF
// throughout, without bare CR or LF.
type Envelope struct {
	From       rfc5321.Address
	To         []rfc5321.Address
	Data       []byte
	Credential string
	Streams    []string // allowed; the first is the default
	Domains    []string // allowed senders; empty = any of ours
	Remote     netip.Addr
	Hello      string
	Protocol   string // "ESMTPSA", ... for Received
	UTF8       bool
}

// Contact is what admission needs of a contact.
type Contact struct {
	ID         uint64 // 0 = nobody knows the address
	Tier       string
	Segments   []Segment      // in order
	Suppressed string         // why it may not be mailed in this stream by this domain; "" = it may
	Zone       *time.Location // where it lives; nil = UTC
	Batch      string         // the import that made it
}

// Segment is a segment that a contact is in.
type Segment struct {
	Name    string
	Version uint64
}

// Mail is what decides whether a message may go to a contact at all.
type Mail struct {
	Stream string
	Domain string // that signs
	List   string // the mailing list it goes to; "" = none
}

// Contacts finds contacts. An error refuses the message for now.
type Contacts interface {
	Look(address rfc5321.Address, mail Mail, now time.Time) (Contact, error)
}

// Queue takes admitted mail; it returns after the synced commit.
type Queue interface {
	Enqueue(ctx context.Context, s *queue.Submission) (uint64, error)
}

// Stream is a class of mail.
type Stream struct {
	Pool          string // "" = the default pool
	MaxAge        time.Duration
	Transactional bool // ignores tiers, segments and windows
}

// Target is where a segment sends a tier: pool and plan, either may be empty.
type Target struct {
	Pool, Plan string
}

// Segments says where each segment sends its members.
type Segments map[string]Assignment

// Assignment of a segment: by tier, else its own pool; when its mail may leave,
// and the share of its contacts that gets none.
type Assignment struct {
	Pool     string
	Tiers    map[string]Target
	Window   queue.Window
	Holdback float64
}

// Options of admission. Contacts, Queue and Streams are required.
type Options struct {
	Hostname string
	Contacts Contacts
	Queue    Queue
	Streams  map[string]Stream
	Segments Segments
	Tiers    map[string]string // tier -> pool
	Pool     string            // where nothing else names one
	Domains  map[string]bool   // our sending domains
	Ramped   map[string]bool   // those with a warm-up plan of their own
	// Unsubscribe says that delivery adds List-Unsubscribe to marketing mail. Without it,
	// marketing mail has to bring its own.
	Unsubscribe bool
	Now         func() time.Time // nil = time.Now
}

// Admitter admits messages. It is safe for concurrent use.
type Admitter struct{ o Options }

// New makes an Admitter.
func New(o Options) (*Admitter, error) {
	if o.Contacts == nil || o.Queue == nil || len(o.Streams) == 0 {
		return nil, errors.New("making admission: Contacts, Queue and Streams are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Admitter{o: o}, nil
}

// draft is a message on its way through the stages.
type draft struct {
	*Envelope
	to     []rfc5321.Address // each once
	now    time.Time
	header []field
	body   []byte
	asked  asked // by X-Segue fields

	stream     string
	domain     string // that signs
	class      Stream
	contacts   []Contact
	recipients []queue.Recipient
}

type stage func(*Admitter, *draft) error

// stages are the stages in their order.
func stages() [8]stage {
	return [8]stage{
		(*Admitter).readHeader, (*Admitter).checkHeader, (*Admitter).chooseStream, (*Admitter).checkSender, (*Admitter).keepUnsubscribe,
		(*Admitter).completeHeader, (*Admitter).lookUp, (*Admitter).chooseLane,
	}
}

// Admit runs the stages and queues the message. The id is that of the accepted
// message. An [*rfc5321.Refusal] is for the client; any other error is ours.
func (a *Admitter) Admit(ctx context.Context, env *Envelope) (uint64, error) {
	d := &draft{Envelope: env, now: a.o.Now().UTC(), to: unique(env.To)}
	for _, run := range stages() {
		if err := run(a, d); err != nil {
			return 0, err
		}
	}
	data, headerSize := d.join()
	hash := dkim.HashBody(d.body)
	return a.o.Queue.Enqueue(ctx, &queue.Submission{
		Message: store.Message{
			Received: d.now, Sender: d.From, HeaderSize: headerSize, Stream: d.stream, Campaign: d.asked.campaign,
			Credential: d.Credential, Metadata: d.asked.metadata, Domain: d.domain, EightBit: !ascii(d.body), UTF8: d.UTF8,
			BodyHash: hash[:], List: d.asked.list,
		},
		Body:       data,
		Recipients: d.recipients,
	})
}

// unique is a list without the addresses that were named before: one recipient
// gets one message, whatever the client repeats.
func unique(list []rfc5321.Address) []rfc5321.Address {
	seen := make(map[string]bool, len(list))
	out := make([]rfc5321.Address, 0, len(list))
	for _, a := range list {
		if key := a.Key(); !seen[key] {
			seen[key] = true
			out = append(out, a)
		}
	}
	return out
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// Lane is the class of a recipient. A stream with a pool of its own uses that;
// else the segment sends the tier to a pool, else the tier has one, else the
// default. domain is the one that signs, which matters where it has a plan.
func (a *Admitter) Lane(stream, segment, tier, domain string) store.Class {
	s := a.o.Streams[stream]
	c := store.Class{Stream: stream, Segment: segment, Tier: tier}
	if !s.Transactional && s.Pool == "" {
		assigned := a.o.Segments[segment]
		c.Pool, c.Plan = assigned.Tiers[tier].Pool, assigned.Tiers[tier].Plan
		c.Pool = first(c.Pool, assigned.Pool, a.o.Tiers[tier])
	}
	c.Pool = first(s.Pool, c.Pool, a.o.Pool)
	if !s.Transactional && a.o.Ramped[domain] {
		c.Domain = domain
	}
	return c
}

func first(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return ""
}
