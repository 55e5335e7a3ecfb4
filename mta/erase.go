// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/segment"
)

const (
	// scrubEvery is how often erasures are looked at again that could not be finished.
	scrubEvery = time.Minute
	// scrubWait is for how long who erases waits for the files: what takes longer goes on
	// behind its back.
	scrubWait = 10 * time.Second
)

// erasures finishes what erasing leaves to be done: the queued mail, where the
// engine ended or the caller left before it was concluded, and the files.
type erasures struct {
	people *segment.DB
	queue  *queue.Queue
	forget func(context.Context, rfc5321.Address) error // by the complaint register
	log    *slog.Logger
	asked  chan struct{} // one token: there are files to scrub

	concluding sync.Mutex // held over the disk and the queue, never with mu

	mu   sync.Mutex
	done chan struct{} // closed after each scrubbing
}

func newErasures(people *segment.DB, q *queue.Queue, forget func(context.Context, rfc5321.Address) error, log *slog.Logger) *erasures {
	return &erasures{people: people, queue: q, forget: forget, log: log, asked: make(chan struct{}, 1), done: make(chan struct{})}
}

// follow works until ctx ends.
func (e *erasures) follow(ctx context.Context) {
	var mail sync.WaitGroup
	defer mail.Wait()
	mail.Go(func() { e.mail(ctx) })
	tick := time.NewTicker(scrubEvery)
	defer tick.Stop()
	for {
		if err := e.scrub(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, segment.ErrPinned) {
			e.log.Error("taking what was erased out of the files failed, trying again in a minute", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-e.asked:
		case <-tick.C:
		}
	}
}

func (e *erasures) scrub(ctx context.Context) error {
	_, err := e.people.Scrub(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.done)
	e.done = make(chan struct{})
	return err
}

// mail concludes the mail of erasures that others left, now and every minute.
func (e *erasures) mail(ctx context.Context) {
	for ctx.Err() == nil {
		list, err := e.people.Erasures()
		for i := 0; i < len(list) && err == nil; i++ {
			_, err = e.conclude(ctx, list[i])
		}
		if err != nil && ctx.Err() == nil {
			e.log.Error("concluding the mail of an erased person failed, trying again in a minute", slog.Any("error", err))
		}
		pause(ctx, scrubEvery)
	}
}

// conclude drops the queued mail of who was erased, in flight too, and has the files
// scrubbed. One at a time: of two about the same person the second would find no mail,
// and its count would be the one that the receipt has.
func (e *erasures) conclude(ctx context.Context, x segment.Erased) (segment.Erased, error) {
	e.concluding.Lock()
	defer e.concluding.Unlock()
	x, err := e.people.Erasure(x)
	if err != nil {
		return x, err
	}
	if x.Address != "" {
		address, err := rfc5321.ParseAddress(x.Address)
		if err != nil {
			return x, err
		}
		if err := e.forget(ctx, address); err != nil {
			return x, err
		}
		n, err := e.queue.Erase(ctx, address)
		if err != nil {
			return x, err
		}
		if x, err = e.people.MailErased(x, n); err != nil {
			return x, err
		}
	}
	select {
	case e.asked <- struct{}{}:
	default:
	}
	return x, nil
}

// scrubbed waits, not for ever, until the files are done.
func (e *erasures) scrubbed(ctx context.Context, x segment.Erased) (segment.Erased, error) {
	limit := time.NewTimer(scrubWait)
	defer limit.Stop()
	for {
		e.mu.Lock()
		done := e.done
		e.mu.Unlock()
		x, err := e.people.Erasure(x)
		if err != nil || !x.Done.IsZero() {
			return x, err
		}
		select {
		case <-done:
		case <-ctx.Done():
			return x, nil
		case <-limit.C:
			return x, nil
		}
	}
}

// EraseContact implements api.Methods.
func (m methods) EraseContact(ctx context.Context, who api.Erase) (api.Erased, error) {
	if who.Contact == "" {
		return api.Erased{}, api.Problem(http.StatusBadRequest, "nobody is named", "contact is an address or a user id")
	}
	x, err := m.people.Erase(who.Contact)
	if errors.Is(err, segment.ErrUnknown) {
		return api.Erased{}, notFound("nobody has this user id, and it is no address")
	}
	if err != nil {
		return api.Erased{}, err
	}
	if x, err = m.erasures.conclude(ctx, x); err != nil {
		return api.Erased{}, api.Problem(http.StatusServiceUnavailable, "the person is erased, and its queued mail is not concluded yet",
			"the engine goes on with it; erase again for the receipt")
	}
	if x, err = m.erasures.scrubbed(ctx, x); err != nil {
		return api.Erased{}, err
	}
	events, sent := m.queue.Retention()
	out := api.Erased{
		Hash: x.Hash, At: x.At, Counts: api.EraseCounts(x.Counts), Files: "pending", FilesDone: x.Done,
		EventsUntil: x.At.Add(events), SentUntil: x.At.Add(sent),
		Backups: "copies made before the erasure still hold the person: they are outside of the engine, and must expire or be erased by whoever made them",
	}
	if !x.Done.IsZero() {
		out.Files = "done"
	}
	return out, nil
}

// redact takes out of events what names somebody who was erased.
func (m methods) redact(list []event.Event) {
	for i := range list {
		m.people.Redact(&list[i])
	}
}
