// SPDX-License-Identifier: Apache-2.0

package rule

import "math"

// Event is something a contact did, as rules see it. Properties are flat: an
// object inside another is "a.b". Their values are text, number, boolean or time.
type Event struct {
	Name       string
	Time       int64  // microseconds since 1970
	Message    string // the messageId: two events of one time and one id are one
	Contact    uint64
	Account    uint64 // the account it was done for, 0 = none: it counts for all
	Properties map[string]Value
}

// Entry is what one event leaves behind in a [Series].
type Entry struct {
	Time    int64  // microseconds since 1970
	Hash    uint32 // of the messageId
	Account uint64 // 0 = none
	Value   float64
}

// before is the order of entries in a series.
func (e *Entry) before(o *Entry) bool {
	return e.Time < o.Time || e.Time == o.Time && e.Hash < o.Hash
}

// hashMessage is FNV-1a: it tells apart what happened in one microsecond.
func hashMessage(id string) uint32 {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return h
}

// Aggregate is what a series knows of the entries that it no longer holds, of
// one account. It counts for conditions without a window.
type Aggregate struct {
	Account       uint64 // 0 = none
	Count         uint64
	Sum, Min, Max float64
	First, Last   int64 // microseconds since 1970
}

// add takes in one more entry.
func (a *Aggregate) add(e *Entry) {
	a.join(&Aggregate{Account: e.Account, Count: 1, Sum: e.Value, Min: e.Value, Max: e.Value, First: e.Time, Last: e.Time})
}

// join takes in another aggregate.
func (a *Aggregate) join(o *Aggregate) {
	if a.Count == 0 {
		*a = *o
		return
	}
	a.Count += o.Count
	a.Sum = finite(a.Sum + o.Sum)
	a.Min, a.Max = min(a.Min, o.Min), max(a.Max, o.Max)
	a.First, a.Last = min(a.First, o.First), max(a.Last, o.Last)
}

// finite keeps a sum a number that can be compared.
func finite(n float64) float64 { return min(max(n, -math.MaxFloat64), math.MaxFloat64) }
