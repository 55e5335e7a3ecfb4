// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/queue/store"
)

// Policy is what the segment that decided a lane asks of the moment at which its
// mail leaves. The zero Policy asks nothing.
type Policy struct {
	Window     Window
	ContactCap Cap // messages to the contact
	AccountCap Cap // messages to all contacts of each of its accounts
	DropCapped bool
	CappedWait time.Duration // how long a message waits for room, where it is not dropped at once
	OnLeave    Leaving
}

// Cap is at most Count messages in any span of Per; the zero Cap is none.
type Cap struct {
	Count int
	Per   time.Duration
	Text  string // as it is configured
}

// Leaving is what becomes of queued mail when its contact leaves the segment that
// decided the lane.
type Leaving string

// What may become of it.
const (
	LeavingKeep   Leaving = "keep" // as does ""
	LeavingRelane Leaving = "relane"
	LeavingDrop   Leaving = "drop"
)

// Person is what policies ask about a recipient.
type Person struct {
	Zone     *time.Location
	Accounts []uint64
}

// Standing is where new mail to a recipient would be laned now.
type Standing struct {
	Class    store.Class
	Version  uint64   // of the segment that decides
	Segments []string // all that the contact is in
}

// WhyPolicy is the code of the reason why mail waits for its window or for room
// under a cap.
const WhyPolicy = "policy"

// roomWait is how soon mail asks again that waits for the outcome of what is in flight.
const roomWait = time.Minute

// counted reports whether messages of a class count under caps: where anybody has
// a cap, all marketing mail does.
func (q *Queue) counted(class store.Class) bool {
	return q.o.ContactSpan+q.o.AccountSpan > 0 && !q.o.Lane(class).Transactional
}

// person reads what the policies of a lane need to know of a recipient.
func (q *Queue) person(p *prepared, e *store.Entry) (Person, error) {
	if who, ok := p.people[e.ID]; ok {
		return who, nil
	}
	who, err := q.o.Contacts.Person(e)
	if err != nil {
		return who, fmt.Errorf("reading who a recipient is: %w", err)
	}
	if who.Zone == nil {
		who.Zone = time.UTC
	}
	p.people[e.ID] = who
	return who, nil
}

// closed is what becomes of a recipient whose send window is closed; nil = it is
// open. One that still finds no room waits no longer than for room.
func (q *Queue) closed(p *prepared, e *store.Entry) (*act, error) {
	if p.policy.Window == (Window{}) {
		return nil, nil
	}
	who, err := q.person(p, e)
	if err != nil {
		return nil, err
	}
	now := q.o.Now()
	opens := p.policy.Window.Opens(now, who.Zone)
	if !opens.After(now) {
		return nil, nil
	}
	a := &act{kind: event.Delayed, reason: p.policy.Window.Waits(opens, who.Zone), due: opens}
	if e.Capped.IsZero() {
		return a, nil
	}
	s, err := q.seat(p, e)
	if err == nil {
		err = q.look(s)
	}
	if err != nil || s.full == nil {
		return a, err
	}
	crowded := q.crowded(p, s)
	if crowded.kind == event.Delayed {
		// Before it opens there is nothing to ask, but for the end of the wait.
		crowded.due = earlier(opens, e.Capped.Add(p.policy.CappedWait))
	}
	return crowded, nil
}

// retryWindow moves a retry to the time at which its window is open.
func (p *prepared) retryWindow(next *store.Recipient, id store.ID) {
	who, ok := p.people[id]
	if !ok || p.policy.Window == (Window{}) {
		return
	}
	if opens := p.policy.Window.Opens(next.Due, who.Zone); opens.After(next.Due) {
		next.Base, next.Due, next.Wait = next.Due, opens, p.policy.Window.Waits(opens, who.Zone)
	}
}

// place is one cap that a recipient must find room under.
type place struct {
	cap  Cap
	who  store.Who
	name string // of the key in the configuration
}

// seat is what a recipient counts as, and the caps that hold for it.
type seat struct {
	store.Entry
	who  []store.Who
	caps []place
	full *full
}

// full is the cap that has no room.
type full struct {
	place
	used int
	from time.Time // when there is room; zero = nobody knows
}

// seat finds out whom a recipient counts for.
func (q *Queue) seat(p *prepared, e *store.Entry) (*seat, error) {
	s := &seat{Entry: *e}
	if q.o.ContactSpan > 0 {
		who := store.ContactWho(e.Address)
		s.who = append(s.who, who)
		if p.policy.ContactCap.Count > 0 {
			s.caps = append(s.caps, place{p.policy.ContactCap, who, "contact_cap"})
		}
	}
	if q.o.AccountSpan == 0 {
		return s, nil
	}
	person, err := q.person(p, e)
	if err != nil {
		return nil, err
	}
	for _, id := range person.Accounts {
		who := store.AccountWho(id)
		if slices.Contains(s.who, who) {
			continue
		}
		s.who = append(s.who, who)
		if p.policy.AccountCap.Count > 0 {
			s.caps = append(s.caps, place{p.policy.AccountCap, who, "account_cap"})
		}
	}
	return s, nil
}

// reserve makes durable, before anything is sent, that the recipients of a job
// count under every cap, and for which trials they go. Whom a cap leaves no room is
// taken out of the job. The committer decides, one after another: two connections
// cannot take the same room.
func (q *Queue) reserve(p *prepared) {
	counted := q.counted(p.job.Class)
	if !counted && len(p.samples) == 0 || len(p.job.Recipients) == 0 {
		return
	}
	var seats []*seat
	for i := range p.job.Recipients {
		e := &p.job.Recipients[i]
		s, err := &seat{Entry: *e}, error(nil)
		if counted {
			s, err = q.seat(p, e)
		}
		if err == nil {
			err = q.look(s)
		}
		if err != nil {
			q.unreadable(p, []store.Entry{*e}, err)
			continue
		}
		seats = append(seats, s)
	}
	p.job.Recipients = p.job.Recipients[:0]
	err := q.store.Commit(context.WithoutCancel(q.hard), func(tx *store.Tx) error {
		sampled, err := p.sampled(tx, seats)
		if err == nil {
			err = take(tx, seats)
		}
		if err == nil {
			q.letGo(tx, p, sampled)
		}
		return err
	})
	if err != nil {
		for _, s := range seats {
			p.unread[s.ID] = true
		}
		if !errors.Is(err, store.ErrClosed) {
			q.log.Error("reserving room under caps failed, the mail waits", slog.Any("error", err))
		}
		return
	}
	for _, s := range seats {
		if s.full == nil {
			p.job.Recipients = append(p.job.Recipients, s.Entry)
			continue
		}
		p.acts = append(p.acts, refused{s.Entry, q.crowded(p, s)})
	}
}

// look asks the disk before the committer does: most of those that are full are
// found here, and what the committer reads is in memory then.
func (q *Queue) look(s *seat) error {
	now := q.o.Now()
	for _, c := range s.caps {
		list, err := q.store.Used(c.who, now, c.cap.Per, c.cap.Count)
		if err != nil {
			return err
		}
		if len(list) >= c.cap.Count {
			s.crowd(full{c, len(list), list[len(list)-1].Add(c.cap.Per)})
		}
	}
	return nil
}

// crowd notes a cap that is full. Of several the one counts that is full longest.
func (s *seat) crowd(f full) {
	if s.full == nil || !s.full.from.IsZero() && (f.from.IsZero() || f.from.After(s.full.from)) {
		s.full = &f
	}
}

// take gives places to those who find room. It reads everything before it writes;
// those of one job do not see each other's places before that, so that it counts them.
func take(tx *store.Tx, seats []*seat) error {
	taken := make(map[store.Who]int)
	var list []*seat
	for _, s := range seats {
		for _, c := range s.caps {
			if s.full != nil {
				break
			}
			used, from, err := tx.Room(s.ID, c.who, c.cap.Count-taken[c.who], c.cap.Per)
			if err != nil {
				return err
			}
			if used+taken[c.who] >= c.cap.Count {
				s.crowd(full{c, used + taken[c.who], from})
			}
		}
		if s.full != nil {
			continue
		}
		for _, w := range s.who {
			taken[w]++
		}
		list = append(list, s)
	}
	for _, s := range list {
		if len(s.who) > 0 {
			tx.Reserve(s.ID, s.who)
		}
	}
	return nil
}

// crowded is what becomes of a recipient that finds no room.
func (q *Queue) crowded(p *prepared, s *seat) *act {
	now := q.o.Now()
	segment := p.job.Class.Segment
	if p.policy.DropCapped {
		return &act{kind: event.Dropped, reason: fmt.Sprintf("%s %s of segment %s is full: %d used", s.full.name, s.full.cap.Text, segment, s.full.used)}
	}
	since := s.Capped
	if since.IsZero() {
		since = now
	}
	end := since.Add(p.policy.CappedWait)
	if !end.After(now) {
		return &act{kind: event.Dropped, reason: fmt.Sprintf("%s: %s %s of segment %s, %d used", waitedForRoom(p.policy.CappedWait), s.full.name, s.full.cap.Text, segment, s.full.used)}
	}
	due, until := s.full.from, "until "+clockText(s.full.from)
	if !due.After(now) {
		due = now.Add(roomWait)
		until = "some of it by mail in flight, asks again at " + clockText(due)
	}
	return &act{
		kind: event.Delayed, due: earlier(due, end), capped: since,
		reason: fmt.Sprintf("waits for room under %s %s of segment %s: %d used, %s; dropped at %s", s.full.name, s.full.cap.Text, segment, s.full.used, until, clockText(end)),
	}
}

func waitedForRoom(d time.Duration) string { return fmt.Sprintf("no room under a cap within %v", d) }

func clockText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
