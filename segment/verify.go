// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"log/slog"
	"slices"
	"time"
)

// verifyBatch is the most contacts that the verifier judges in one go.
const verifyBatch = 64

// verifier judges every contact again and again, slowly, and compares with what
// live says. There must never be a difference: it is the alarm for faults of
// everything else in this package, and it repairs what they did.
type verifier struct {
	cursor uint64    // last contact it has looked at
	owed   float64   // contacts it should have looked at by now
	last   time.Time // when that was computed
	hurry  uint64    // contacts up to this one are looked at without waiting, and differences are expected
}

// verify looks at the next contacts, and reports whether more are due.
func (d *DB) verify() (bool, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return false, errClosed
	}
	v := &d.live.verifier
	now := d.settled()
	if d.live.spreading {
		return false, nil // some contacts are not judged yet since their account changed
	}
	n := v.due(d.now(), d.write.contacts.next, d.verifyEvery)
	if n == 0 {
		return false, nil
	}
	t := d.begin()
	defer t.close()
	t.cause = causeVerifier
	expected := v.hurry > v.cursor
	for range n {
		v.cursor++
		if v.cursor >= d.write.contacts.next {
			if v.cursor = 0; d.live.next == nil { // what is built may differ, too, and is looked at once it is live
				v.hurry = 0
			}
			break
		}
		wrong, err := d.disagrees(v.cursor, now)
		if err != nil {
			return false, err
		}
		if wrong == "" {
			continue
		}
		if len(t.again) == 0 { // whatever is kept in memory may be why
			d.store.DropCache()
			d.accounts.drop()
			d.mem.retraceAll()
		}
		t.again[v.cursor] = true
		if !expected {
			d.metrics.disagreements.Inc()
			d.log.Error("membership was wrong and is repaired; please report it", slog.Uint64("contact", v.cursor), slog.String("what", wrong))
		}
	}
	v.owed -= float64(n)
	if len(t.again) == 0 {
		return v.owed >= 1 || v.hurry > v.cursor, nil
	}
	return true, t.commit()
}

// due is how many contacts to look at now.
func (v *verifier) due(now time.Time, contacts uint64, every time.Duration) int {
	if !v.last.IsZero() && now.After(v.last) {
		v.owed += float64(contacts) * float64(now.Sub(v.last)) / float64(every)
	}
	v.last = now
	v.owed = min(v.owed, float64(contacts))
	if v.hurry > v.cursor {
		return verifyBatch
	}
	return min(int(v.owed), verifyBatch)
}

// disagrees says what is wrong with a contact, "" for nothing. One that is due
// is left to the wheel.
func (d *DB) disagrees(id uint64, now time.Time) (string, error) {
	have, known := d.mem.armed(id)
	if !known || have.second != 0 && have.second <= seconds(now) {
		return "", nil
	}
	rs := d.live.current
	s := d.subject(rs)
	defer d.subjects.Put(s)
	from := d.afresh()
	wrong := ""
	from.answers = func(a answer) {
		if a.x.has(a.edge) != a.in {
			wrong = "what its colleagues are asked about"
		}
	}
	if _, _, err := s.read(d, from, id, now); err != nil {
		return "", err
	}
	st := from.peek(id)
	if !slices.Contains(d.mem.addressed(st.Address, nil), id) {
		d.mem.reindex(id)
		return "where its address leads", nil
	}
	next := deadline(d.deadlineOf(rs, s, &st, now, rs.top))
	if wrong != "" {
		return wrong, nil
	}
	if rs.ranks != nil {
		is := d.rank(s)
		if have, _, err := d.store.Ranked(id); err != nil || !have.Equal(&is) && len(have.Accounts)+len(is.Accounts) > 0 {
			return "its score among its colleagues", err
		}
	}
	for i := range rs.list {
		c := &rs.list[i]
		if c.rule != nil && c.roster != nil && s.in.Has(i) != c.roster.has(id) {
			return "segment " + c.def.Name, nil
		}
	}
	if d.live.next != nil && id > d.live.build.Cursor {
		return "", nil // its deadline is set when the pass comes there
	}
	late := next
	if rs.ranks != nil { // computed at another moment, the turn of an account's score is rounded otherwise
		late++
	}
	if next != 0 && next > d.live.turned.Second && (have.second == 0 || have.second > late) {
		return "deadline", nil
	}
	return "", nil
}
