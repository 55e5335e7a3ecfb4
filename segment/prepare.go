// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// prepared is a call read as far as that needs no store: many are prepared at
// once, and folded one after another.
type prepared struct {
	kind       CallKind
	hash       store.MessageHash
	at         time.Time // to the microsecond, never after now
	user, anon store.PersonID
	previous   string
	email      rfc5321.Address
	key        string // address key; "" = none
	group      string // the account that the call is about
	identify   bool   // the address is a trait: it may replace the one that is known

	event  rule.Event // Name "" = the call is none
	person profile
	firm   company
	invite invitee

	undeclared, unusable int
	reason               error // why the call is rejected; nil = it is not
}

// profile is what a call says about a person besides its attributes.
type profile struct {
	traits
	created, consent time.Time
	zone, language   string
	hintZone         string // of the device: for a contact that has none
	hintLanguage     string
	source           string
	consentBy        string // where consent was given
	tags             []string
	tagged           bool
	role             string
}

// company is what a call says about an account.
type company struct {
	traits
	id           string // "" = the call names none, or by name alone
	name, domain string
	parent       string // group id
	orphan       bool   // the parent is null
}

// invitee is whom an invitation was sent to.
type invitee struct {
	traits
	address rfc5321.Address
	key     string
	role    string
}

func reject(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRejected}, args...)...)
}

// prepare reads one call.
func (d *DB) prepare(c *Call, now time.Time) *prepared {
	p := &prepared{
		kind: c.Kind, previous: c.PreviousID, group: c.GroupID, at: c.Time.UTC().Truncate(time.Microsecond),
		user: store.PersonID{Kind: store.UserID, Name: c.UserID}, anon: store.PersonID{Kind: store.AnonymousID, Name: c.Anonymous},
	}
	if p.group == "" || c.Kind != CallGroup {
		p.group = c.Context.GroupID
	}
	if c.Time.IsZero() || c.Time.After(now) {
		p.at = now.UTC().Truncate(time.Microsecond)
	}
	p.hash = messageHash(c)
	if p.reason = checkIDs(c); p.reason != nil {
		return p
	}
	p.person.hintZone, p.person.hintLanguage = zoneOf(c.Context.Timezone), languageOf(c.Context.Locale)
	p.person.source = tidyText(c.Context.Source)
	switch c.Kind {
	case CallIdentify:
		p.identify = true
		d.readPerson(p, c.Traits)
	case CallGroup:
		p.firm.id = p.group
		d.readAccount(&p.firm, c.Traits)
	case CallTrack, CallPage, CallScreen:
		p.readEvent(d, c)
	case CallAlias:
	}
	p.readEmail(c)
	if p.user.Name == "" && p.anon.Name == "" && p.key == "" {
		p.reason = reject("it names nobody: userId, anonymousId or an e-mail address is missing")
	}
	p.undeclared = p.person.undeclared + p.firm.undeclared
	p.unusable += p.person.unusable + p.firm.unusable
	return p
}

// checkIDs reports what makes a call unusable before anything else is read.
func checkIDs(c *Call) error {
	for _, x := range [...]struct{ name, id string }{
		{"userId", c.UserID}, {"anonymousId", c.Anonymous}, {"previousId", c.PreviousID}, {"groupId", c.GroupID}, {"context.groupId", c.Context.GroupID},
	} {
		if _, err := short(x.id); err != nil {
			return reject("%s: %w", x.name, err)
		}
	}
	switch {
	case c.Kind < CallIdentify || c.Kind > CallAlias:
		return reject("its type is unknown")
	case c.Kind == CallGroup && c.GroupID == "":
		return reject("groupId is missing")
	case c.Kind == CallAlias && (c.PreviousID == "" || c.UserID == ""):
		return reject("an alias needs previousId and userId")
	case c.Kind == CallTrack && strings.TrimSpace(c.Event) == "":
		return reject("event is missing")
	case len(c.Event) > maxName || len(c.Category) > maxName:
		return reject("the event's name has more than %d bytes", maxName)
	}
	return nil
}

// messageHash is what a call is recognised by when it comes again: its message
// id, or all of its content where it has none.
func messageHash(c *Call) (h store.MessageHash) {
	whole := sha256.New()
	if c.MessageID != "" {
		whole.Write([]byte("id " + c.MessageID))
	} else {
		whole.Write(binary.BigEndian.AppendUint64([]byte("call "), uint64(c.Time.UnixMicro())))
		if b, err := json.Marshal(c); err == nil { // it came from JSON
			whole.Write(b)
		}
	}
	copy(h[:], whole.Sum(nil))
	return h
}

// readEmail finds the address of the call's person.
func (p *prepared) readEmail(c *Call) {
	mail := c.Email
	if p.identify || mail == "" {
		of := c.Traits
		if c.Kind != CallIdentify && p.event.Name == EventSignedUp {
			of = c.Properties
		}
		if s, ok := of["email"].(string); ok && c.Kind != CallGroup {
			mail = s
		}
	}
	if mail = strings.TrimSpace(mail); mail == "" {
		return
	}
	addr, err := rfc5321.ParseAddress(mail)
	if err != nil {
		p.unusable++
		return
	}
	p.email, p.key = addr, addr.Key()
}

// readPerson reads the traits of an identify call, and the properties of Signed
// Up, which are the same.
func (d *DB) readPerson(p *prepared, of map[string]any) {
	x := &p.person
	for _, name := range slices.Sorted(maps.Keys(of)) {
		v := of[name]
		if _, _, declared := d.fields.find(ofContact, name); declared {
			x.set(&d.fields, ofContact, name, v)
			if name != "tags" && name != "company" {
				continue
			}
		}
		switch name {
		case "email", "createdAt", "created_at", "language", "locale", "timezone", "time_zone", "consent_at", "consentAt", "consent_source", "consentSource", "source":
		case "company":
			d.readCompany(p, v)
		case "tags":
			if tags, left, ok := tagsOf(v); ok {
				x.tags, x.tagged = tags, true
				x.unusable += left
			} else {
				x.unusable++
			}
		default:
			x.set(&d.fields, ofContact, name, v)
		}
	}
	x.created = instantOf(of, "createdAt", "created_at")
	x.consent = instantOf(of, "consent_at", "consentAt")
	if x.consent.After(p.at) {
		x.consent = time.Time{}
	}
	x.consentBy = text(of, "consent_source", "consentSource")
	x.zone = zoneOf(text(of, "timezone", "time_zone"))
	x.language = languageOf(text(of, "language", "locale"))
	x.source = orElse(text(of, "source"), x.source)
}

// readCompany reads the trait "company": the account of the person.
func (d *DB) readCompany(p *prepared, v any) {
	switch x := v.(type) {
	case string:
		p.firm.name = tidyText(x)
	case map[string]any:
		p.firm.id = text(x, "id")
		d.readAccount(&p.firm, x)
	case nil:
	default:
		p.unusable++
	}
}

// readAccount reads what traits say about an account.
func (d *DB) readAccount(f *company, of map[string]any) {
	f.name = text(of, "name")
	f.domain = domainOf(text(of, "website", "domain"))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		v := of[name]
		_, _, declared := d.fields.find(ofAccount, name)
		switch name {
		case "id", "name", "website", "domain":
			if !declared {
				continue
			}
		case "parent_id", "parentId":
			f.parent = text(of, name)
			f.orphan = v == nil
			continue
		case "employee_count", "employeeCount":
			if !declared {
				name = "employees"
			}
		case "employees":
			if !declared {
				name = "employee_count"
			}
		}
		f.set(&d.fields, ofAccount, name, v)
	}
}

// readEvent reads a track, page or screen call.
func (p *prepared) readEvent(d *DB, c *Call) {
	e := rule.Event{Name: rule.CanonicalEvent(strings.TrimSpace(c.Event)), Time: p.at.UnixMicro(), Message: c.MessageID}
	e.Name = strings.ToValidUTF8(e.Name, "\uFFFD")
	if e.Message == "" {
		e.Message = fmt.Sprintf("%x", p.hash)
	}
	e.Properties = make(map[string]rule.Value, len(c.Properties))
	p.unusable += flatten(e.Properties, "", c.Properties, 0)
	if c.Kind != CallTrack {
		if e.Name != "" {
			e.Properties["name"] = rule.TextValue(e.Name)
		}
		if c.Category != "" {
			e.Properties["category"] = rule.TextValue(c.Category)
		}
		e.Name = EventPageViewed
		if c.Kind == CallScreen {
			e.Name = EventScreenViewed
		}
	}
	if e.Name == EventEmailOpened || e.Name == EventEmailLinkClicked {
		distrust(&e)
		for name, v := range map[string]string{"context.ip": c.Context.IP, "context.user_agent": c.Context.UserAgent} {
			if v != "" {
				e.Properties[name] = propertyOf(v)
			}
		}
	}
	p.event = e
	d.readSaaS(p, c.Properties)
}
