// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
)

// Contact is everything that is known about one contact, for people.
type Contact struct {
	ID      uint64    `json:"id"`
	Address string    `json:"address"`
	UserID  string    `json:"user_id,omitempty"`
	Batch   string    `json:"batch,omitempty"` // the import that made it
	Zone    string    `json:"time_zone,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Consent time.Time `json:"consent_at,omitzero"`

	Tier       string `json:"tier"`
	TierReason string `json:"tier_reason"`
	// When time alone changes the tier next, and to which; zero and "" for never.
	TierUntil time.Time `json:"tier_until,omitzero"`
	TierNext  string    `json:"tier_next,omitempty"`

	FirstSent            time.Time `json:"first_sent_at,omitzero"`
	LastSent             time.Time `json:"last_sent_at,omitzero"`
	LastEngaged          time.Time `json:"last_engaged_at,omitzero"`
	Sends                int       `json:"sends"` // deliveries by this engine
	SendsSinceEngagement int       `json:"sends_since_engagement"`
	SoftBounces          int       `json:"soft_bounces"` // since the last engagement
	Complaints           int       `json:"complaints"`

	Account       string                `json:"account,omitempty"`
	AccountDomain string                `json:"account_domain,omitempty"`
	Attributes    map[string]rule.Value `json:"attributes"` // by full name: contact.x, account.x
	Segments      []Match               `json:"segments"`
	Suppressions  []Suppression         `json:"suppressions"`
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
	v := d.schema.NewValues()
	v.Now = now
	c, a, err := d.fill(id, v)
	if err != nil {
		return Contact{}, err
	}
	st, _ := d.mem.state(id)
	h := history(&st)
	out := Contact{
		ID: id, Address: c.Address, UserID: c.UserID, Batch: c.Batch, Zone: c.Zone, Created: c.Created, Consent: c.Consent,
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
	v.SetTier(out.Tier)
	out.Segments = d.matches(v)
	out.Suppressions, err = d.SuppressionsOf(addr)
	return out, err
}

// ContactID returns the id of the contact with an address, 0 if there is none.
func (d *DB) ContactID(addr rfc5321.Address) (uint64, error) { return d.find(0, addr.Key()) }
