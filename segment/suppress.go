// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/store"
)

// Scopes of a suppression; see [StreamScope] and [ListScope]; domain:NAME is that of one
// sending domain.
const (
	ScopeAll     = "all"
	streamPrefix = "stream:"
	domainPrefix = "domain:"
	listPrefix   = "list:"
	marketing    = "marketing"

	transactional = "transactional"
)

// Reasons of a suppression.
const (
	ReasonHardBounce  = "hard_bounce" // a server said that the mailbox does not exist
	ReasonSoftBounce  = "soft_bounce" // it kept failing
	ReasonComplaint   = "complaint"   // the recipient pressed "spam"
	ReasonUnsubscribe = "unsubscribe" // the recipient asked
	ReasonInvalid     = "invalid"     // the address cannot work
	ReasonManual      = "manual"      // an operator said so
	ReasonPolicy      = "policy"      // a rule of the operator's said so
	ReasonErased      = "erased"      // the person was erased; see [DB.Erase]
)

// Sources of a suppression.
const (
	SourceEvent    = "event"    // the queue's event log
	SourceOperator = "operator" // command line or API
	SourceImport   = "import"   // a list that an operator brought
)

// weight orders reasons by what it takes to lift them: of two suppressions that hold
// equally long the heavier one is kept, so that a person who unsubscribed and then
// complained is not let in by consent. Only a hard bounce takes nobody's place.
func weight(reason string) int {
	switch reason {
	case ReasonHardBounce, ReasonComplaint:
		return 3
	case ReasonUnsubscribe:
		return 1
	case ReasonSoftBounce:
		return 0
	default:
		return 2
	}
}

var errClosed = errors.New("contacts database is closed")

// StreamScope is the scope of one stream of mail.
func StreamScope(name string) string { return streamPrefix + name }

// ListScope is the scope of one mailing list, whatever the stream of its mail.
func ListScope(name string) string { return listPrefix + name }

// Suppression says that an address may not be mailed in a scope.
type Suppression struct {
	Address  string    `json:"address,omitempty"` // lower case; "" once the contact was erased
	Hash     string    `json:"hash,omitempty"`    // short form of what stands for the address once it was erased
	Scope    string    `json:"scope"`             // all | stream:NAME | domain:NAME | list:NAME
	Reason   string    `json:"reason"`
	Source   string    `json:"source,omitempty"`
	Evidence string    `json:"evidence,omitempty"`
	Created  time.Time `json:"created,omitzero"`
	Expires  time.Time `json:"expires,omitzero"` // zero = never
}

func fromStore(x *store.Suppression) Suppression {
	s := Suppression{
		Address: x.Address, Scope: x.Scope, Reason: x.Reason, Source: x.Source,
		Evidence: x.Evidence, Created: x.Created, Expires: x.Expires,
	}
	if s.Address == "" {
		s.Hash = shortOf(x.Hash)
	}
	return s
}

// Suppress adds a suppression for an address, known or not; Address of x is
// ignored. Scope "" is all, reason "" manual, source "" operator, Created zero
// now. It reports false where one of that scope already holds longer, or as long for
// a reason that weighs as much.
// When it returns, the suppression is on disk and every Check sees it.
func (d *DB) Suppress(addr rfc5321.Address, x Suppression) (bool, error) {
	if x.Scope == "" {
		x.Scope = ScopeAll
	}
	scope, err := parseScope(x.Scope)
	if err != nil {
		return false, err
	}
	if x.Created.IsZero() {
		x.Created = d.now()
	}
	k := addr.Key()
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return false, errClosed
	}
	t := d.begin()
	defer t.close()
	id, err := t.find(0, k)
	if err != nil {
		return false, err
	}
	added := t.addSuppression(store.Suppression{
		Hash: d.hashes.Address(k), Scope: scope, Address: k,
		Reason: orElse(x.Reason, ReasonManual), Source: orElse(x.Source, SourceOperator),
		Evidence: x.Evidence, Created: x.Created, Expires: x.Expires,
	}, id, x.Created)
	if !added {
		return false, nil
	}
	return true, t.commit()
}

// ErrUnstated is wrapped by errors about a suppression that is not lifted without a
// stated reason.
var ErrUnstated = errors.New("it is lifted with a reason only")

// Because says why suppressions are lifted.
type Because struct {
	Cause  string // of the flips
	Stated bool   // somebody gave a reason
}

// Lift removes the suppression of one scope from an address, or of every scope
// where scope is "". It returns what was removed, oldest evidence included. Where
// that of scope all goes from somebody who was erased, the person is let in again.
// What the recipient or its server said (complaint, unsubscribe, hard bounce) goes with
// a stated reason only; without one, nothing is lifted and the error wraps [ErrUnstated].
func (d *DB) Lift(addr rfc5321.Address, scope string, why Because) ([]Suppression, error) {
	if scope != "" {
		var err error
		if scope, err = parseScope(scope); err != nil {
			return nil, err
		}
	}
	k := addr.Key()
	h := d.hashes.Address(k)
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return nil, errClosed
	}
	have, err := d.store.SuppressionsOf(h)
	if err != nil {
		return nil, err
	}
	t := d.begin()
	defer t.close()
	id, err := t.find(0, k)
	if err != nil {
		return nil, err
	}
	told := k
	if d.erased.bars(h) { // no mail of the person can be queued
		told = ""
	}
	var lifted []Suppression
	for i := range have {
		x := &have[i]
		if scope != "" && x.Scope != scope {
			continue
		}
		if !why.Stated && said(x.Reason) {
			return nil, fmt.Errorf("%s is suppressed (%s) for %s: %w", k, x.Scope, x.Reason, ErrUnstated)
		}
		lifted = append(lifted, fromStore(x))
		t.lifts = append(t.lifts, markKey{x.Hash, x.Scope})
		if x.Scope == ScopeAll {
			if err := t.readmit(h); err != nil {
				return nil, err
			}
		}
		t.flip(store.Flip{Time: d.now(), Contact: id, Address: told, Kind: FlipLifted, Scope: x.Scope, Cause: orElse(why.Cause, ReasonManual)})
	}
	if len(lifted) == 0 {
		return nil, nil
	}
	return lifted, t.commit()
}

// said reports a reason that the recipient or its server gave.
func said(reason string) bool {
	return reason == ReasonComplaint || reason == ReasonUnsubscribe || reason == ReasonHardBounce
}

// parseScope checks a scope and brings a domain into its usual form.
func parseScope(text string) (string, error) {
	s, ok := splitScope(text)
	if !ok {
		return "", fmt.Errorf("%w %q (use all, stream:NAME, domain:NAME or list:NAME)", ErrScope, text)
	}
	if s.kind == scopeDomain {
		domain, err := rfc5321.ParseDomain(s.name)
		if err != nil {
			return "", fmt.Errorf("%w %q: %w", ErrScope, text, err)
		}
		s.name = domain
	}
	return s.String(), nil
}

// Query selects suppressions; zero fields select all.
type Query struct {
	Prefix string // of the address, in any case
	Reason string
	Scope  string
	After  string // where the last page ended, as returned by Suppressions
	Limit  int    // 0 = 100
}

// Suppressions returns a page of suppressions and where the next page begins, ""
// after the last. They come in the order of their hashes, which is no order
// that people know; a prefix therefore reads the whole list. Expired ones are
// included.
func (d *DB) Suppressions(q Query) ([]Suppression, string, error) {
	behind, scope, err := parsePlace(q.After)
	if err != nil {
		return nil, "", err
	}
	if q.Limit <= 0 {
		q.Limit = 100
	}
	prefix := strings.ToLower(q.Prefix)
	var list []Suppression
	var place string
	err = d.store.Suppressions(behind, scope, func(x store.Suppression) error {
		if !strings.HasPrefix(x.Address, prefix) || q.Reason != "" && x.Reason != q.Reason || q.Scope != "" && x.Scope != q.Scope {
			return nil
		}
		if len(list) == q.Limit {
			return errEnough
		}
		list = append(list, fromStore(&x))
		place = hex.EncodeToString(x.Hash[:]) + x.Scope
		return nil
	})
	if errors.Is(err, errEnough) {
		return list, place, nil
	}
	return list, "", err
}

// errEnough ends a scan early.
var errEnough = errors.New("enough")

func parsePlace(text string) (store.Hash, string, error) {
	var h store.Hash
	if text == "" {
		return h, "", nil
	}
	if len(text) > 2*len(h) {
		if _, err := hex.Decode(h[:], []byte(text[:2*len(h)])); err == nil {
			return h, text[2*len(h):], nil
		}
	}
	return h, "", errors.New("bad page mark: use the one that the last page ended with")
}

// SuppressionsOf returns every suppression of one address, expired ones included.
func (d *DB) SuppressionsOf(addr rfc5321.Address) ([]Suppression, error) {
	have, err := d.store.SuppressionsOf(d.hashes.Address(addr.Key()))
	if err != nil {
		return nil, err
	}
	list := make([]Suppression, 0, len(have))
	for i := range have {
		list = append(list, fromStore(&have[i]))
	}
	return list, nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
