// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/segment/store"
)

// CauseConsent begins the cause of a [FlipLifted] that proven consent brought about.
//
// A person who unsubscribed may ask for mail again. An import or an identify call
// proves that by consent_at, later than the unsubscribe, and consent_source, which says
// where it was given. It lifts suppressions with reason unsubscribe and no other:
// who complained, or whose mailbox does not exist, is let in by an operator alone.
const CauseConsent = "consent"

// consent is what a row or a call says of consent.
type consent struct {
	at   time.Time // zero = nothing
	by   string    // where it was given; "" = nobody knows
	said time.Time // when it was said
}

// proves reports whether it is later than something and not in the future.
func (c consent) proves(than time.Time) bool { return c.at.After(than) && !c.at.After(c.said) }

// consented lifts the unsubscribes of an address that are older than its consent.
func (t *tx) consented(contact uint64, addressKey string, c consent) error {
	h := t.d.hashes.Address(addressKey)
	if c.at.IsZero() || c.by == "" || !t.d.mem.unsubscribed(&h) && len(t.suppress) == 0 || t.d.erased.bars(h) {
		return nil
	}
	have, err := t.suppressionsOf(&h)
	if err != nil {
		return err
	}
	for i := range have {
		x := &have[i]
		if x.Reason != ReasonUnsubscribe || !c.proves(x.Created) {
			continue
		}
		t.lifts = append(t.lifts, markKey{x.Hash, x.Scope})
		t.flip(store.Flip{
			Time: c.said, Contact: contact, Address: addressKey, Kind: FlipLifted, Scope: x.Scope,
			Cause: CauseConsent + " of " + c.at.UTC().Format(time.RFC3339) + " by " + c.by,
		})
	}
	return nil
}

// suppressionsOf is the suppressions of an address as this tx leaves them. A lift comes
// after everything that the same tx adds.
func (t *tx) suppressionsOf(h *store.Hash) ([]store.Suppression, error) {
	have, err := t.d.store.SuppressionsOf(*h)
	if err != nil {
		return nil, err
	}
	for i := range t.suppress {
		x := &t.suppress[i]
		if x.Hash.Head() != h.Head() {
			continue
		}
		have = slices.DeleteFunc(have, func(o store.Suppression) bool { return o.Scope == x.Scope })
		have = append(have, *x)
	}
	return slices.DeleteFunc(have, func(x store.Suppression) bool { return slices.Contains(t.lifts, markKey{x.Hash, x.Scope}) }), nil
}

// ByConsent reports whether proven consent brought a flip about.
func ByConsent(f *Flip) bool {
	return f.Kind == FlipLifted && strings.HasPrefix(f.Cause, CauseConsent+" ")
}

// unsubscribed reports whether an address has a suppression of that reason.
func (m *memory) unsubscribed(h *store.Hash) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	number, ok := m.numbers[ReasonUnsubscribe]
	if !ok {
		return false
	}
	k := h.Head()
	if x, ok := m.first[k]; ok && x.reason == number {
		return true
	}
	for _, x := range m.more[k] {
		if x.reason == number {
			return true
		}
	}
	return false
}
