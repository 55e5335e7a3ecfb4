// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
)

// open is a gate that holds nobody.
type open struct{}

func (open) Ask(*store.Entry, store.Class, *store.Message) Passage { return Passage{Go: true} }

// atTheDoor is the check of one recipient, which nothing else is in the way of.
func atTheDoor(t testing.TB, gate Gate) func() {
	r := startWith(t, vfs.NewMem(), newWorld(), func(o *Options) { o.Gate = gate })
	p := &prepared{}
	p.job.Class = store.Class{Stream: "marketing", Segment: "trial", Tier: "active", Pool: "main"}
	p.job.Message = &store.Message{Campaign: "spring"}
	e := store.Entry{Recipient: store.Recipient{Address: rfc5321.Address{Local: "ann", Domain: "example.com"}}}
	return func() {
		p.job.Recipients = p.job.Recipients[:0]
		r.Queue.check(p, e, false)
	}
}

// TestCanaryGateCostsNothing: nobody pays for a gate that is open or that is not there.
func TestCanaryGateCostsNothing(t *testing.T) {
	without, with := testing.AllocsPerRun(100, atTheDoor(t, nil)), testing.AllocsPerRun(100, atTheDoor(t, open{}))
	if with > without {
		t.Errorf("%v allocations with an open gate, %v without", with, without)
	}
}

func BenchmarkGate(b *testing.B) {
	for name, gate := range map[string]Gate{"none": nil, "open": open{}} {
		b.Run(name, func(b *testing.B) {
			check := atTheDoor(b, gate)
			for b.Loop() {
				check()
			}
		})
	}
}

// Goes implements Gate.
func (open) Goes(*store.Entry, []string) {}
