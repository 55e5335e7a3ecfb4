// SPDX-License-Identifier: Apache-2.0

package smtpserver

import "sync/atomic"

// Budget caps the octets of messages that are being received or committed, over
// all connections of all listeners that share it: many slow senders of large
// messages must not fill the memory. Strangers and submitters should not share
// one. It is safe for concurrent use.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget makes a Budget of limit octets.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Used is what is taken now, in octets.
func (b *Budget) Used() int64 { return b.used.Load() }

// take reserves n octets, or none and returns false where they are not left.
func (b *Budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *Budget) give(n int64) { b.used.Add(-n) }
