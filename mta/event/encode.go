// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"

	"github.com/seguemta/segue/mta/codec"
)

// Versions of an event: more has behind Segments the texts that few have, all of them;
// most has behind these what acts and samples have.
const (
	version = 1
	more    = 2
	most    = 3
)

// Append appends the binary form of e without its Sequence, which is the key
// it is stored under.
func (e *Event) Append(b []byte) []byte {
	v := e.version()
	b = append(b, v)
	b = codec.AppendTime(b, e.Time)
	b = codec.AppendString(b, string(e.Kind))
	b = codec.AppendUint(b, e.Message)
	b = codec.AppendUint(b, uint64(e.Recipient))
	b = codec.AppendUint(b, e.Contact)
	b = codec.AppendUint(b, e.SegmentVersion)
	b = codec.AppendInt(b, int64(e.Attempt))
	b = codec.AppendInt(b, int64(e.Code))
	b = codec.AppendInt(b, e.Size)
	b = codec.AppendTime(b, e.Next)
	for _, s := range e.texts() {
		b = codec.AppendString(b, *s)
	}
	b = codec.AppendStrings(b, e.Segments)
	if v >= more {
		for _, s := range e.rare() {
			b = codec.AppendString(b, *s)
		}
	}
	if v >= most {
		for _, s := range e.act() {
			b = codec.AppendString(b, *s)
		}
		b = codec.AppendStrings(b, e.Sample)
	}
	return b
}

// version is the shortest form that has all of e.
func (e *Event) version() byte {
	for _, s := range e.act() {
		if *s != "" {
			return most
		}
	}
	if len(e.Sample) > 0 {
		return most
	}
	for _, s := range e.rare() {
		if *s != "" {
			return more
		}
	}
	return version
}

// Decode reads what Append wrote. An unknown version or a corrupt value is an error.
func Decode(sequence uint64, b []byte) (Event, error) {
	r := codec.NewReader(b)
	v := r.Byte()
	if v < version || v > most {
		return Event{}, fmt.Errorf("event %d: unknown version %d", sequence, v)
	}
	e := Event{Sequence: sequence}
	e.Time = r.Time()
	e.Kind = Kind(r.String())
	e.Message = r.Uint()
	e.Recipient = uint32(r.Uint()) //nolint:gosec // written from a uint32
	e.Contact = r.Uint()
	e.SegmentVersion = r.Uint()
	e.Attempt = int(r.Int())
	e.Code = int(r.Int())
	e.Size = r.Int()
	e.Next = r.Time()
	for _, s := range e.texts() {
		*s = r.String()
	}
	e.Segments = r.Strings()
	if v >= more {
		for _, s := range e.rare() {
			*s = r.String()
		}
	}
	if v >= most {
		for _, s := range e.act() {
			*s = r.String()
		}
		e.Sample = r.Strings()
	}
	if err := r.Err(); err != nil {
		return Event{}, fmt.Errorf("event %d: %w", sequence, err)
	}
	return e, nil
}

// texts lists the text fields in stored order. Segments follow them, so that a
// text which is appended here makes a new version. Few have the rare texts behind Segments.
func (e *Event) texts() [22]*string {
	return [22]*string{
		&e.Address, &e.Sender, &e.Stream, &e.Segment, &e.Tier, &e.Pool, &e.Campaign, &e.Credential,
		&e.Metadata, &e.Source, &e.Provider, &e.Site, &e.Host, &e.Enhanced, &e.Reply, &e.Class,
		&e.Verdict, &e.Reason, &e.Domain, &e.Plan, &e.Token, &e.Batch,
	}
}

// rare lists the texts that few events have, in stored order.
func (e *Event) rare() [4]*string {
	return [4]*string{&e.Subject, &e.SendingDomain, &e.Scope, &e.Hash}
}

// act lists the texts of automatic acts, in stored order.
func (e *Event) act() [3]*string {
	return [3]*string{&e.Act, &e.Evidence, &e.Undo}
}
