// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/signal"
	"github.com/seguemta/segue/segment/store"
)

// Properties of an open or a click. It is stored at once, with propertyHeld, and
// counts for nothing; when its hold is over, the two others take its place.
const (
	propertyHeld    = "held"
	propertyMachine = score.PropertyMachine
	propertyReason  = "machine_reason"
)

// rememberHits is for how long it is known who gave itself away in a message,
// once nothing is held of it.
const rememberHits = 60 * 24 * time.Hour

// hitBatch is the most messages that are judged in one commit.
const hitBatch = 256

// isHit reports whether an event is an open or a click of which nobody has said
// yet whether a person did it.
func isHit(e *rule.Event) bool {
	if e.Name != EventEmailOpened && e.Name != EventEmailLinkClicked {
		return false
	}
	_, told := e.Properties[propertyMachine]
	return !told
}

// pending reports whether an event is held: it counts for nothing yet.
func pending(e *rule.Event) bool {
	held := e.Properties[propertyHeld]
	return held.Boolean()
}

// distrust takes away what only we may say of a hit. That a machine did it, a
// sender may say: it knows better, and it promotes nobody.
func distrust(e *rule.Event) {
	delete(e.Properties, propertyHeld)
	delete(e.Properties, propertyReason)
	if machine := e.Properties[propertyMachine]; !machine.Boolean() {
		delete(e.Properties, propertyMachine)
	}
}

// holding is what is held of one message, while a tx changes it.
type holding struct {
	signal.Held
	due  uint32 // second of its entry in the wheel, as stored; 0 = none
	next uint32 // as it will be
}

// hold stores an open or a click that counts when its hold is over.
func (t *tx) hold(id uint64, e rule.Event) error {
	message := e.Properties["email_id"]
	sum := sha256.Sum256([]byte(message.Text()))
	k := store.HeldKey{Contact: id, Message: [16]byte(sum[:16])}
	m, err := t.heldOf(k)
	if err != nil {
		return err
	}
	if m.Delivered.IsZero() && message.Text() != "" {
		if m.Delivered, err = t.deliveredAt(id, message.Text()); err != nil {
			return err
		}
	}
	e.Properties = maps.Clone(e.Properties)
	if e.Properties == nil {
		e.Properties = map[string]rule.Value{}
	}
	e.Properties[propertyHeld] = rule.BooleanValue(true)
	t.pending[id] = append(t.pending[id], e)
	_, waiting := m.Until(&t.d.signals)
	due := m.Hit(&t.d.signals, hitOf(id, &e))
	// What comes late is held as well: the others of its burst are late too.
	if fresh := t.d.settled().Add(t.d.signals.Hold); due.Before(fresh) {
		due = fresh
	}
	if at := deadline(due); !waiting || at < m.next {
		m.next = at
	}
	return nil
}

// heldOf returns what is held of a message as this tx sees it, to be changed.
func (t *tx) heldOf(k store.HeldKey) (*holding, error) {
	if m, ok := t.held[k]; ok {
		return m, nil
	}
	x, ok, err := t.d.store.Held(k)
	if err != nil {
		return nil, err
	}
	m := &holding{}
	if ok {
		if m.Held, err = signal.DecodeHeld(x.Hits); err != nil {
			return nil, fmt.Errorf("contact %d: %w", k.Contact, err)
		}
		m.due, m.next = x.Due, x.Due
	}
	t.held[k] = m
	return m, nil
}

// deliveredAt finds when a message was delivered to a contact; zero where its log
// does not say.
func (t *tx) deliveredAt(id uint64, message string) (time.Time, error) {
	var at time.Time
	look := func(e *rule.Event) {
		if e.Name == EventEmailDelivered && refersTo(e, message) {
			at = time.UnixMicro(e.Time).UTC()
		}
	}
	from := t.d.settled().Add(-rememberHits)
	list, err := t.d.newest(id, from.UnixMicro(), maxLookBack)
	if err != nil {
		return at, err
	}
	for i := range list {
		look(&list[i])
	}
	for i := range t.events[id] {
		look(&t.events[id][i])
	}
	return at, nil
}

// maxLookBack bounds the events among which a delivery is looked for.
const maxLookBack = 10_000

// hitOf is what judges see of an event.
func hitOf(id uint64, e *rule.Event) signal.Hit {
	text := func(name string) string {
		v := e.Properties[name]
		return v.Text()
	}
	trap := e.Properties["honeypot"]
	h := signal.Hit{
		At: time.UnixMicro(e.Time).UTC(), Agent: text("context.user_agent"), ID: uint64(eventKey(id, e).Hash),
		Head: strings.EqualFold(text("method"), "HEAD"), Honeypot: trap.Boolean(),
	}
	if e.Name == EventEmailLinkClicked {
		h.Kind = signal.Click
		h.Link = store.AddressSum(orElse(text("link_id"), orElse(text("link_url"), text("url"))))
	}
	if addr, err := netip.ParseAddr(text("context.ip")); err == nil {
		h.Addr = addr.Unmap()
	}
	return h
}

// judgeHits judges held opens and clicks that are due, and reports whether there
// may be more.
func (d *DB) judgeHits() (bool, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if d.write.closed {
		return false, errClosed
	}
	now := d.settled()
	if seconds(now) < d.hitsFrom {
		d.hitsFrom = 0 // the clock was set back: entries may stand before the place reached
	}
	t := d.begin()
	defer t.close()
	last, n := d.hitsFrom, 0
	err := d.store.HeldDue(d.hitsFrom, seconds(now), func(x store.HeldDue) error {
		if n == hitBatch {
			return errEnough
		}
		n++
		last = x.Second
		return t.judgeHeld(x, now)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return false, err
	}
	if n == 0 {
		return false, nil
	}
	if err := t.commit(); err != nil {
		return false, err
	}
	d.hitsFrom = last
	return n == hitBatch, nil
}

// judgeHeld judges what is due of one message.
func (t *tx) judgeHeld(x store.HeldDue, now time.Time) error {
	m, err := t.heldOf(x.HeldKey)
	if err != nil {
		return err
	}
	if m.due != x.Second {
		t.b.DeleteHeldDue(x) // an erased message; entries are moved otherwise
		return nil
	}
	domain, err := t.domainOf(x.Contact)
	if err != nil {
		return err
	}
	gateway, err := t.gateway(domain)
	if err != nil {
		return err
	}
	verdicts := m.Due(&t.d.signals, gateway, now)
	for i := range verdicts {
		if err := t.decide(x.Contact, &verdicts[i]); err != nil {
			return err
		}
	}
	switch until, ok := m.Until(&t.d.signals); {
	case ok:
		m.next = max(deadline(until), seconds(now)+1)
	case m.Idle() || len(verdicts) == 0:
		m.next = 0
	default:
		m.next = seconds(now.Add(rememberHits))
	}
	return nil
}

// domainOf is the domain of a contact's address, "" where there is none any more.
func (t *tx) domainOf(id uint64) (string, error) {
	if !t.isContact(id) {
		return "", nil
	}
	c, err := t.contact(id)
	if err != nil {
		return "", err
	}
	addr, err := rfc5321.ParseAddress(c.Address)
	if err != nil {
		return "", nil //nolint:nilerr // an address that is none has no domain
	}
	return addr.Domain, nil
}

// gateway returns what is known of a domain's gateway, to be changed.
func (t *tx) gateway(domain string) (*signal.Domain, error) {
	if g, ok := t.gateways[domain]; ok {
		return g, nil
	}
	g := &signal.Domain{}
	v, err := t.d.store.Gateway(domain)
	if err != nil {
		return nil, fmt.Errorf("reading the gateway of %s: %w", domain, err)
	}
	if v != nil {
		if *g, err = signal.DecodeDomain(v); err != nil {
			return nil, fmt.Errorf("%s: %w", domain, err)
		}
	}
	t.gateways[domain] = g
	return g, nil
}

// decide lets an event count as what it was found to be.
func (t *tx) decide(id uint64, v *signal.Verdict) error {
	key := store.EventKey{Contact: id, Time: v.Hit.At.UnixMicro(), Hash: uint32(v.Hit.ID)} //nolint:gosec // as hitOf made it
	e, ok, err := t.d.event(key)
	if err != nil || !ok || !pending(&e) {
		return err // the retention or an erase took it
	}
	delete(e.Properties, propertyHeld)
	e.Properties[propertyMachine] = rule.BooleanValue(!v.Human)
	e.Properties[propertyReason] = rule.TextValue(v.Reason())
	t.d.metrics.hits.WithLabelValues(v.Hit.Kind.String(), verdictOf(v)).Inc()
	if v.Engages() {
		t.causes[id] = strings.ToLower(e.Name)
		if err := t.engage(id, v.Hit.At, e.Name); err != nil {
			return err
		}
	}
	return t.occur(id, e)
}

func verdictOf(v *signal.Verdict) string {
	if v.Human {
		return "human"
	}
	return "machine"
}

// stageHits writes what is held and what was learned.
func (t *tx) stageHits() {
	for k, m := range t.held {
		if m.due != m.next && m.due != 0 {
			t.b.DeleteHeldDue(store.HeldDue{Second: m.due, HeldKey: k})
		}
		if m.next == 0 {
			t.b.DeleteHeld(k)
			continue
		}
		if m.due != m.next {
			t.b.HeldDue(store.HeldDue{Second: m.next, HeldKey: k})
		}
		t.b.Held(k, &store.Held{Due: m.next, Hits: m.Append(nil)})
	}
	for domain, g := range t.gateways {
		if *g != (signal.Domain{}) && domain != "" {
			t.b.Gateway(domain, g.Append(nil))
		}
	}
	for id, list := range t.pending {
		for i := range list {
			t.b.Event(id, t.d.storedEvent(&list[i]))
		}
	}
}

// Hit is an open or a click, as it was judged.
type Hit struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`
	Held    bool      `json:"held,omitempty"` // it is not judged yet
	Machine bool      `json:"machine"`
	Reason  string    `json:"reason,omitempty"`
}

// hitsOf returns the newest opens and clicks of a contact, newest first.
func (d *DB) hitsOf(id uint64, limit int) ([]Hit, error) {
	list, err := d.newest(id, d.now().Add(-rememberHits).UnixMicro(), maxLookBack)
	if err != nil {
		return nil, err
	}
	var hits []Hit
	for i := len(list) - 1; i >= 0 && len(hits) < limit; i-- {
		e := &list[i]
		if e.Name != EventEmailOpened && e.Name != EventEmailLinkClicked {
			continue
		}
		machine, reason := e.Properties[propertyMachine], e.Properties[propertyReason]
		hits = append(hits, Hit{time.UnixMicro(e.Time).UTC(), e.Name, pending(e), machine.Boolean(), reason.Text()})
	}
	return hits, nil
}

// learnDelivery counts a delivered mail for the domain's gateway, where anything
// is known of it: of how many mails a gateway follows every link.
func (t *tx) learnDelivery(domain string, at time.Time) {
	g, err := t.gateway(domain)
	if err != nil {
		t.d.log.Warn("what is known of a domain's gateway cannot be read", slog.Any("error", err))
		return
	}
	g.Deliver(&t.d.signals, at, 1)
}
