// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seguemta/segue/mta/event"
)

// Acts reads up to limit durable events that have an Act, the newest first, of those
// before a sequence (0 = all). There are few among millions of outcomes, so they have
// an index of their own, which is cut with the log.
func (s *Store) Acts(before uint64, limit int) (list []event.Event, err error) {
	durable, _ := s.Durable()
	if before == 0 || before > durable {
		before = durable + 1
	}
	it, err := s.db.Pebble().NewIter(&pebble.IterOptions{LowerBound: actKey(0), UpperBound: actKey(before)})
	if err != nil {
		return nil, fmt.Errorf("reading acts: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.Last(); ok && len(list) < limit; ok = it.Prev() {
		seq := binary.BigEndian.Uint64(it.Key()[1:])
		v, err := s.get(eventKey(seq))
		if errors.Is(err, ErrNotFound) {
			continue // cut since the walk began
		}
		if err != nil {
			return nil, fmt.Errorf("reading acts: %w", err)
		}
		e, err := event.Decode(seq, v)
		if err != nil {
			return nil, fmt.Errorf("reading acts: %w", err)
		}
		list = append(list, e)
	}
	return list, it.Error()
}

// acts checks that the index of acts names the acts of the log and nothing else.
func (v *verifier) acts() error {
	indexed := make(map[uint64]bool)
	err := v.s.scan([]byte{prefixAct}, nil, func(k, _ []byte) error {
		indexed[binary.BigEndian.Uint64(k[1:])] = true
		return nil
	})
	if err != nil {
		return err
	}
	err = v.s.scan([]byte{prefixEvent}, nil, func(k, val []byte) error {
		seq := binary.BigEndian.Uint64(k[1:])
		e, err := event.Decode(seq, val)
		if err == nil && (e.Act != "") != indexed[seq] {
			v.add("events", "event %d has the act %q, and its place in the index of acts is %t", seq, e.Act, indexed[seq])
		}
		delete(indexed, seq)
		return err
	})
	for seq := range indexed {
		v.add("events", "the index of acts names event %d, which is not there", seq)
	}
	return err
}
