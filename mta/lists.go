// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/verp"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/segment"
)

// listPrefix begins the names of the mailing lists in the queue's store.
const listPrefix = "list/"

// maxLists bounds the mailing lists: each is remembered for good, because an unsubscribe
// link has room for the tag of its scope alone and never expires.
const maxLists = 10_000

// scopes knows what the tags in unsubscribe tokens stand for: streams, which the
// configuration names, and the mailing lists that mail ever named.
type scopes struct {
	mail *store.Store

	mu    sync.Mutex
	tags  map[verp.Scope]string
	lists int
}

func newScopes(mail *store.Store, streams []string) (*scopes, error) {
	s := &scopes{mail: mail, tags: make(map[verp.Scope]string)}
	for _, name := range streams {
		s.add(segment.StreamScope(name))
	}
	err := mail.States(listPrefix, func(name string, _ []byte) error {
		s.add(segment.ListScope(strings.TrimPrefix(name, listPrefix)))
		s.lists++
		return nil
	})
	return s, err
}

func (s *scopes) add(scope string) { s.tags[verp.Tag(scope)] = scope }

// of is the scope that a tag stands for; "" where nobody knows it any more.
func (s *scopes) of(tag verp.Scope) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tags[tag]
}

// scopeOf is what an unsubscribe from a message is about: its list, else its stream.
func scopeOf(m *store.Message) string {
	if m.List != "" {
		return segment.ListScope(m.List)
	}
	return segment.StreamScope(m.Stream)
}

// note remembers the mailing list of a message before it is accepted.
func (s *scopes) note(ctx context.Context, list string) error {
	if list == "" {
		return nil
	}
	scope := segment.ListScope(list)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tags[verp.Tag(scope)] == scope {
		return nil
	}
	if s.lists >= maxLists {
		return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 7, 1}, fmt.Sprintf("more than %d mailing lists: X-Segue-List names lists, not campaigns", maxLists))
	}
	err := s.mail.Commit(ctx, func(tx *store.Tx) error {
		tx.PutState(listPrefix+list, nil)
		return nil
	})
	if err != nil {
		return fmt.Errorf("remembering the mailing list %.40q: %w", list, err)
	}
	s.add(scope)
	s.lists++
	return nil
}
