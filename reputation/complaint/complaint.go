// SPDX-License-Identifier: Apache-2.0

// Package complaint is the register of complaints: each spam report becomes a case that
// somebody answers for, within a day, and the reports of a segment are set against what
// it delivered.
//
// It is pure: no clock, no store. [Open] makes a case of an event, [Case.Close] ends it
// with a note of what was done, [Case.Overdue] says that nobody did. The number of a case
// is that of its event in the queue's log, so that one complaint makes one case, however
// often the event is read. Who keeps cases, and who is told, is package mta's business.
//
// A complaint of a recipient who could not be told from others of the same transaction is
// a case too: it names the segment and the campaign, and no contact.
//
// # Figures
//
// A [Tally] counts what was delivered and what complained on one day, by segment and
// provider. [Report] adds days up. It divides by mail to providers that report complaints:
// elsewhere a complaint cannot be seen, and the rate is unknown, not 0.
package complaint

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/event"
)

// Within is how soon a case is to be closed.
const Within = 24 * time.Hour

// Status of a case.
type Status string

// The two statuses.
const (
	Opened Status = "open"
	Closed Status = "closed"
)

// Errors of [Case.Close].
var (
	ErrClosed = errors.New("the case is closed")
	ErrNote   = errors.New("a case is closed with a note of what was done")
)

// maxNote bounds a note, in bytes.
const maxNote = 4096

// Case is one complaint.
type Case struct {
	ID     uint64    `json:"id"`    // sequence of the event
	Class  string    `json:"class"` // abuse, fraud, ...: the type of the report
	Status Status    `json:"status"`
	Owner  string    `json:"owner"`
	Opened time.Time `json:"opened"`
	Due    time.Time `json:"due"`
	Closed time.Time `json:"closed,omitzero"`
	Note   string    `json:"note,omitempty"`   // what was done
	Warned bool      `json:"warned,omitempty"` // an event said that it is overdue

	Message        uint64 `json:"message"`
	Recipient      uint32 `json:"recipient"`
	Address        string `json:"address,omitempty"`
	Contact        uint64 `json:"contact,omitempty"`
	Stream         string `json:"stream"`
	Segment        string `json:"segment,omitempty"`
	SegmentVersion uint64 `json:"segment_version,omitempty"`
	Tier           string `json:"tier,omitempty"`
	Campaign       string `json:"campaign,omitempty"`
	Batch          string `json:"batch,omitempty"`
	Source         string `json:"source,omitempty"`
	Provider       string `json:"provider,omitempty"`
}

// Open makes a case of a complaint.
func Open(e *event.Event, owner string) Case {
	return Case{
		ID: e.Sequence, Class: e.Reason, Status: Opened, Owner: owner, Opened: e.Time, Due: e.Time.Add(Within),
		Message: e.Message, Recipient: e.Recipient, Address: e.Address, Contact: e.Contact, Stream: e.Stream, Segment: e.Segment,
		SegmentVersion: e.SegmentVersion, Tier: e.Tier, Campaign: e.Campaign, Batch: e.Batch, Source: e.Source, Provider: e.Provider,
	}
}

// Overdue reports a case that nobody closed in time.
func (c *Case) Overdue(now time.Time) bool { return c.Status == Opened && now.After(c.Due) }

// Close ends a case.
func (c *Case) Close(note string, now time.Time) error {
	note = strings.TrimSpace(note)
	switch {
	case c.Status == Closed:
		return fmt.Errorf("%w since %s: %s", ErrClosed, c.Closed.UTC().Format(time.RFC3339), c.Note)
	case note == "":
		return ErrNote
	case len(note) > maxNote:
		return fmt.Errorf("%w, of at most %d bytes", ErrNote, maxNote)
	}
	c.Status, c.Closed, c.Note = Closed, now, note
	return nil
}

// Event is what a follower of the log is told of a case.
func (c *Case) Event(kind event.Kind, reason string) event.Event {
	return event.Event{
		Kind: kind, Message: c.Message, Recipient: c.Recipient, Address: c.Address, Contact: c.Contact, Stream: c.Stream, Segment: c.Segment,
		SegmentVersion: c.SegmentVersion, Tier: c.Tier, Campaign: c.Campaign, Batch: c.Batch, Source: c.Source, Provider: c.Provider,
		Class: c.Class, Reason: reason,
	}
}
