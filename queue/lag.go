// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"time"

	"github.com/seguemta/segue/queue/schedule"
)

// WhyContacts is the code of the reason why marketing mail waits for contact state.
const WhyContacts = "contacts"

// lagging are the classes that wait for contact state, and until when. A class
// waits as a whole: its mail keeps its place on disk and in the machine, and
// nobody reads the same messages over and over.
type lagging map[schedule.ClassID]time.Time

// holdLagging makes a class wait a moment before it asks again.
func (q *Queue) holdLagging(now time.Time, class schedule.ClassID) {
	if _, held := q.lagging[class]; !held {
		q.machine.Step(now, schedule.Hold{Class: class})
	}
	q.lagging[class] = now.Add(lagWait)
}

// releaseLagging lets classes whose moment is over ask again, and says when the
// next one may; zero where none waits.
func (q *Queue) releaseLagging(now time.Time) (next time.Time) {
	for class, until := range q.lagging {
		switch {
		case !until.After(now):
			delete(q.lagging, class)
			q.machine.Step(now, schedule.Hold{Class: class, Off: true})
		case next.IsZero() || until.Before(next):
			next = until
		}
	}
	return next
}
