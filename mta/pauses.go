// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
)

// pausePrefix begins the names of pauses in the queue's store.
const pausePrefix = "pause/"

// pauses are the operator's pauses of sources: an operator's act survives a
// restart, so they are stored before they hold.
type pauses struct {
	mail  *store.Store
	queue *queue.Queue

	mu   sync.Mutex
	list map[string]api.Pause // by name of the state
}

// newPauses puts the stored pauses in force.
func newPauses(mail *store.Store, q *queue.Queue, now time.Time) (*pauses, error) {
	p := &pauses{mail: mail, queue: q, list: make(map[string]api.Pause)}
	err := mail.States(pausePrefix, func(name string, value []byte) error {
		var x api.Pause
		if err := json.Unmarshal(value, &x); err != nil {
			return fmt.Errorf("reading pause %s: %w", name, err)
		}
		if x.Until.After(now) {
			p.list[name] = x
			q.Pause(x.Source, x.Provider, x.Until)
		}
		return nil
	})
	return p, err
}

// set stores a pause, or the end of one, and puts it in force. It does both or
// neither, whatever becomes of the caller: what is stored holds after a restart
// and must hold before it.
func (p *pauses) set(ctx context.Context, x api.Pause, now time.Time) error {
	x.Since = now.UTC()
	value, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("writing a pause: %w", err)
	}
	name := pausePrefix + x.Source + "/" + x.Provider
	p.mu.Lock()
	defer p.mu.Unlock()
	err = p.mail.Commit(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		tx.PutState(name, value)
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing a pause: %w", err)
	}
	p.list[name] = x
	p.queue.Pause(x.Source, x.Provider, x.Until)
	return nil
}

// until is when a source's pause at a provider ends, or at every provider (""); zero
// where it has none.
func (p *pauses) until(source, provider string, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.list[pausePrefix+source+"/"+provider]; x.Until.After(now) {
		return x.Until
	}
	return time.Time{}
}

// of are the pauses of a source that hold, in no order.
func (p *pauses) of(source string, now time.Time) []api.Pause {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []api.Pause
	for _, x := range p.list {
		if x.Source == source && x.Until.After(now) {
			list = append(list, x)
		}
	}
	return list
}
