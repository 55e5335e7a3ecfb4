// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/seguemta/segue/queue/store"
)

// The sums that are kept are those that a walk over every domain gives, whatever
// moves between providers meanwhile.
func TestSumsAreWhatTheirPartsAre(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var c counts
	c.init()
	providers := []string{"", "google", "yahoo"}
	for turn := range 20_000 {
		domain, class := fmt.Sprintf("d%d", r.IntN(20)), store.ClassID(1+r.IntN(4))
		n := 1
		if held := c.lanes[countKey{domain, class}]; held != nil && r.IntN(2) == 0 {
			n = -1
		}
		switch r.IntN(4) {
		case 0:
			c.add(domain, class, n)
		case 1:
			c.park(domain, class, n)
		case 2:
			c.fly(domain, class, n)
		case 3:
			c.place(domain, providers[r.IntN(len(providers))])
		}
		want, total := make(map[sumKey]Count), Count{}
		for k, n := range c.lanes {
			at := sumKey{k.class, c.providers[k.domain]}
			sum := want[at]
			sum.change(*n, 1)
			want[at] = sum
			total.change(*n, 1)
		}
		got := make(map[sumKey]Count)
		for k, n := range c.sums {
			got[k] = *n
		}
		maps.DeleteFunc(want, func(_ sumKey, n Count) bool { return n == Count{} })
		if !maps.Equal(got, want) || c.total != total {
			t.Fatalf("turn %d: the sums are %v and %v, the parts give %v and %v", turn, got, c.total, want, total)
		}
	}
}
