// SPDX-License-Identifier: Apache-2.0

package api

import "time"

// Erase says who is to be erased.
type Erase struct {
	Contact string `json:"contact"` // address or user id
}

// Erased is the receipt of an erasure. It names nobody.
type Erased struct {
	Hash        string      `json:"hash"` // stands for the person in suppression ls
	At          time.Time   `json:"erased_at"`
	Counts      EraseCounts `json:"counts"`
	Files       string      `json:"files"`                  // of the contacts: done | pending: the bytes are still in files, and go as soon as possible
	FilesDone   time.Time   `json:"files_done_at,omitzero"` // since when they are not
	EventsUntil time.Time   `json:"queue_events_until"`     // the queue's log holds events of the person until then; they are shown without it
	SentUntil   time.Time   `json:"feedback_index_until"`   // until when the queue knows for late bounces whom a message went to
	Backups     string      `json:"backups"`
}

// EraseCounts is how much of each kind was erased.
type EraseCounts struct {
	Contacts     uint64 `json:"contacts"`     // records, with attributes, tags and lists
	Visitors     uint64 `json:"visitors"`     // records of somebody without an address
	States       uint64 `json:"states"`       // histories of deliveries, engagement and bounces
	Identities   uint64 `json:"identities"`   // user ids and anonymous ids
	Accounts     uint64 `json:"accounts"`     // that the person belonged to
	Segments     uint64 `json:"segments"`     // that it was in
	Events       uint64 `json:"events"`       // of its own log
	Scores       uint64 `json:"scores"`       // records of what it scored by
	Hits         uint64 `json:"hits"`         // messages whose opens and clicks were remembered
	Deadlines    uint64 `json:"deadlines"`    // entries of the time wheel
	Suppressions uint64 `json:"suppressions"` // that lost the address and the evidence, and stay
	Mail         uint64 `json:"mail"`         // queued recipients that were concluded; one in flight may have been delivered
}
