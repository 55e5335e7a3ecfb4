// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seguemta/segue/segment/store"
)

// ingestBatch is about how many calls share a commit: enough to share a sync
// between many callers, few enough to keep the writer free for others. The calls
// of one Ingest stay together.
const ingestBatch = 1000

// takenDays is for how many days before today a message id is recognised.
const takenDays = 3

// ingestQueue is where calls wait for the commit they share. The first to come
// leads: it commits what waits, then hands the lead to the first who came since.
type ingestQueue struct {
	sync.Mutex
	waiting []*request
	leading bool
}

// request is the calls of one Ingest.
type request struct {
	ctx    context.Context //nolint:containedctx // of a caller that waits; a leader asks it whether it still does
	calls  []*prepared
	errs   []error
	failed error
	told   chan bool // true: lead; false: it is done
}

// Ingest applies calls of the tracking API. It returns one error for each call,
// nil where the call is applied or was applied before, and otherwise why it is
// rejected; a rejected call changes nothing. The second error says that nothing
// of all this is known to be durable, and that the caller must answer 503 and be
// asked again: whatever was applied is recognised then.
//
// Ingest returns when the calls are on disk. Calls that wait at the same moment
// share one commit, so many callers at once are cheaper than one after another.
//
// # What calls do
//
// A person is found by user id, address or anonymous id, see [Call]. Traits of
// identify and the properties of Signed Up go to declared attributes: the trait x
// to contact.x, whether it is spelled firstName or first_name, parts of objects to
// contact.a_b, company to an account and account.x. null makes an attribute
// missing, an absent trait leaves it, one that nobody declared is counted and
// dropped. createdAt, language or locale, timezone, tags, source and consent_at
// set what every contact has. group does so for accounts (name, website, employees
// and parent_id, the group id of the account above) and makes its person belong to
// the account, as do Signed Up, Account Created, Account Added User and, for the
// invited, Invite Sent; Account Removed User and Account Deleted end it, and people
// stay. Trial Started and Trial Ended write trial_start_date, trial_end_date,
// trial_plan_name and status where they are declared for contact or account.
// context.groupId says which account an event is about.
//
// # Order
//
// Calls may come late and out of order. Attributes of one contact, and of one
// account, carry the time of the newest call that wrote any of them: an older
// call only fills what is missing. Joining and leaving an account have their own
// times. A message id is recognised for three to four days.
//
// Events are facts and no requests: Unsubscribed or Email Marked as Spam from
// here suppress nobody. A time in the future becomes now.
func (d *DB) Ingest(ctx context.Context, calls []Call) ([]error, error) {
	if err := ctx.Err(); err != nil || len(calls) == 0 {
		return nil, err
	}
	r := &request{ctx: ctx, calls: make([]*prepared, len(calls)), errs: make([]error, len(calls)), told: make(chan bool, 1)}
	now := d.now()
	for i := range calls {
		r.calls[i] = d.prepare(&calls[i], now)
	}
	q := &d.ingest
	q.Lock()
	q.waiting = append(q.waiting, r)
	lead := !q.leading
	q.leading = true
	q.Unlock()
	if lead || <-r.told {
		d.lead()
	}
	if r.failed != nil {
		return nil, r.failed
	}
	d.metrics.count(r)
	return r.errs, nil
}

// lead commits what waits, the caller's own request first of all.
func (d *DB) lead() {
	q := &d.ingest
	q.Lock()
	n, calls := 0, 0
	for n < len(q.waiting) && (n == 0 || calls+len(q.waiting[n].calls) <= ingestBatch) {
		calls += len(q.waiting[n].calls)
		n++
	}
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	q.Unlock()

	d.commitAll(batch)

	q.Lock()
	if q.leading = len(q.waiting) > 0; q.leading {
		q.waiting[0].told <- true
	}
	q.Unlock()
	for _, r := range batch[1:] {
		r.told <- false
	}
}

// commitAll commits requests together. Where that fails, each is tried alone: what
// is wrong with the record of one contact must not keep others out.
func (d *DB) commitAll(batch []*request) {
	err := d.commitCalls(batch)
	if err == nil {
		return
	}
	if len(batch) == 1 {
		batch[0].failed = err
		return
	}
	for _, r := range batch {
		if err := d.commitCalls([]*request{r}); err != nil {
			r.failed = err
		}
	}
}

// commitCalls folds and commits requests, all or nothing. Whoever gave up
// waiting is left out.
func (d *DB) commitCalls(batch []*request) error {
	for _, r := range batch {
		for _, p := range r.calls {
			if p.reason == nil && p.event.Name == EventAccountDeleted {
				if err := d.detach(p); err != nil {
					return err
				}
			}
		}
	}
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return errClosed
	}
	t := d.begin()
	defer t.close()
	t.cause = causeTracking
	t.foresee(batch)
	for _, r := range batch {
		if r.failed = r.ctx.Err(); r.failed != nil {
			continue
		}
		for i, p := range r.calls {
			err := t.fold(p)
			if err != nil && !errors.Is(err, ErrRejected) {
				return fmt.Errorf("applying a call: %w", err)
			}
			r.errs[i] = err
		}
	}
	d.metrics.tracking.commits.Inc()
	return t.commit()
}

// foresee reads the records of those whom calls name by their addresses, in the
// order in which they lie: the way to one is then nearly that to the one before.
func (t *tx) foresee(batch []*request) {
	var ids []uint64
	for _, r := range batch {
		for _, p := range r.calls {
			if p.reason == nil && p.key != "" {
				ids = t.d.mem.addressed(store.AddressSum(p.key), ids)
			}
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		_, _ = t.read(id) // the fold meets the same fault
	}
}

// known returns what became of a call that was taken before.
func (t *tx) known(h store.MessageHash) (store.Verdict, error) {
	if v, ok := t.taken[h]; ok {
		return v, nil
	}
	today := day(t.d.now())
	for back := uint32(0); back <= takenDays; back++ {
		if of, err := t.d.taken.day(t.d.store, today-back); err != nil {
			return store.Unseen, err
		} else if !of.has(h) {
			continue
		}
		v, err := t.d.store.Taken(today-back, h)
		if v != store.Unseen || err != nil {
			return v, err
		}
	}
	return store.Unseen, nil
}

// take notes what becomes of a call.
func (t *tx) take(h store.MessageHash, v store.Verdict) error {
	today := day(t.d.now())
	of, err := t.d.taken.day(t.d.store, today)
	if err != nil {
		return err
	}
	of.add(h) // where the commit fails, for nothing
	t.taken[h] = v
	t.b.Taken(today, h, v)
	return nil
}

// day counts days since 1970.
func day(t time.Time) uint32 { return seconds(t) / (24 * 60 * 60) }
