// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// Contact is everything that is known about one contact, for people.
type Contact struct {
	ID        uint64    `json:"id"`
	Address   string    `json:"address"`
	UserID    string    `json:"user_id,omitempty"`
	Batch     string    `json:"batch,omitempty"`  // the import that made it
	Source    string    `json:"source,omitempty"` // where it came from
	Zone      string    `json:"time_zone,omitempty"`
	Language  string    `json:"language,omitempty"`
	Created   time.Time `json:"created,omitzero"`
	Consent   time.Time `json:"consent_at,omitzero"`
	ConsentBy string    `json:"consent_source,omitempty"`
	Tags      []string  `json:"tags,omitempty"`
	Lists     []string  `json:"lists,omitempty"`

	Tier       string `json:"tier"`
	TierReason string `json:"tier_reason"`
	// When time alone changes the tier next, and to which; zero and "" for never.
	TierUntil time.Time `json:"tier_until,omitzero"`
	TierNext  string    `json:"tier_next,omitempty"`

	Stage   string `json:"stage,omitempty"`            // that of the first segment with one that the contact is in,
	StageBy string `json:"stage_by_segment,omitempty"` // which is this one

	FirstSent            time.Time `json:"first_sent_at,omitzero"`
	LastSent             time.Time `json:"last_sent_at,omitzero"`
	LastEngaged          time.Time `json:"last_engaged_at,omitzero"`
	Sends                int       `json:"sends"` // deliveries by this engine
	SendsSinceEngagement int       `json:"sends_since_engagement"`
	SoftBounces          int       `json:"soft_bounces"` // since the last engagement
	Complaints           int       `json:"complaints"`

	Account       string                `json:"account,omitempty"` // the primary one
	AccountDomain string                `json:"account_domain,omitempty"`
	Accounts      []Membership          `json:"accounts,omitempty"` // all of them, the primary one first
	Attributes    map[string]rule.Value `json:"attributes"`         // by full name: contact.x, account.x
	Scores        *Scores               `json:"scores,omitempty"`   // absent where no [[score]] is configured
	Hits          []Hit                 `json:"hits,omitempty"`     // the newest opens and clicks, and what they were taken for
	Segments      []*Match              `json:"segments"`
	Suppressions  []Suppression         `json:"suppressions"`
}

// Membership is an account that a contact belongs to.
type Membership struct {
	ID      uint64    `json:"id"`
	Name    string    `json:"name"`
	GroupID string    `json:"group_id,omitempty"`
	Parent  string    `json:"parent,omitempty"` // the account it is a part of
	Role    string    `json:"role,omitempty"`   // of the contact
	Since   time.Time `json:"since,omitzero"`
	Score   *float64  `json:"score,omitempty"` // of the account, as rules read it; see showAccounts
}

// Contact returns everything about a contact as of now. The error wraps
// [ErrUnknown] where no contact has the address; it may be suppressed all the
// same, see [DB.SuppressionsOf].
func (d *DB) Contact(addr rfc5321.Address, now time.Time) (Contact, error) {
	id, err := d.find(0, addr.Key())
	if err != nil {
		return Contact{}, err
	}
	if id == 0 {
		return Contact{}, ErrUnknown
	}
	rs := d.rules()
	s := d.subject(rs)
	defer d.subjects.Put(s)
	c, a, err := s.read(d, d.stored(), id, now)
	if err != nil {
		return Contact{}, err
	}
	if a == nil {
		a = &store.Account{}
	}
	st, _ := d.mem.state(id)
	h := history(&st)
	out := Contact{
		ID: id, Address: c.Address, UserID: c.UserID, Batch: c.Batch, Source: c.Source, Zone: c.Zone, Language: c.Language,
		Created: c.Created, Consent: c.Consent, ConsentBy: c.ConsentBy, Tags: c.Tags, Lists: c.Lists,
		Tier: d.tiers.Of(h, now).String(), TierReason: d.tiers.Reason(h, now),
		FirstSent: h.FirstSent, LastSent: h.LastSent, LastEngaged: h.LastEngaged,
		Sends: int(st.Sends), SendsSinceEngagement: int(st.Since),
		SoftBounces: int(st.SoftBounces), Complaints: int(st.Complaints),
		Account: a.Name, AccountDomain: a.Domain, Attributes: map[string]rule.Value{},
	}
	if at, next, ok := d.tiers.NextChange(h, now); ok {
		out.TierUntil, out.TierNext = at, next.String()
	}
	for _, record := range [][]byte{c.Attributes, a.Attributes} {
		if err := rule.Records(record, func(name string, value rule.Value) { out.Attributes[name] = value }); err != nil {
			return Contact{}, fmt.Errorf("reading attributes of contact %d: %w", id, err)
		}
	}
	if out.Accounts, err = d.memberships(c); err != nil {
		return Contact{}, err
	}
	if err := d.showAccounts(rs, out.Accounts, now); err != nil {
		return Contact{}, err
	}
	if out.Scores, err = d.scoresOf(s); err != nil {
		return Contact{}, err
	}
	if out.Hits, err = d.hitsOf(id, shownHits); err != nil {
		return Contact{}, err
	}
	out.Segments = d.matches(rs, s)
	out.Stage, out.StageBy = rs.set.Stage(s.in)
	out.Suppressions, err = d.SuppressionsOf(addr)
	return out, err
}

// shownHits is how many opens and clicks of a contact are shown.
const shownHits = 10

// memberships reads the accounts of a contact.
func (d *DB) memberships(c *store.Contact) ([]Membership, error) {
	list := make([]Membership, 0, len(c.Edges))
	for _, e := range c.Edges {
		a, ok, err := d.store.Account(e.Account)
		if err != nil || !ok {
			return nil, fmt.Errorf("reading account %d: %w", e.Account, orCorrupt(err))
		}
		m := Membership{ID: e.Account, Name: a.Name, GroupID: a.Group, Role: e.Role, Since: e.Since}
		if a.Parent != 0 {
			parent, ok, err := d.store.Account(a.Parent)
			if err != nil || !ok {
				return nil, fmt.Errorf("reading account %d: %w", a.Parent, orCorrupt(err))
			}
			m.Parent = parent.Name
		}
		list = append(list, m)
	}
	return list, nil
}

// ContactID returns the id of the contact with an address, 0 if there is none.
func (d *DB) ContactID(addr rfc5321.Address) (uint64, error) { return d.find(0, addr.Key()) }
