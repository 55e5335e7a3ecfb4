// SPDX-License-Identifier: Apache-2.0

package track

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of Segment's, whose KB are 1,024 octets in its clients.
const (
	maxEvent     = 32 << 10  // octets
	maxBody      = 500 << 10 // octets, decompressed
	maxBatch     = 2500      // events
	maxMessageID = 100       // characters
	maxText      = 256       // octets of an id or a name
)

// request is a body as it was sent.
type request struct {
	writeKey any
	sentAt   any
	context  any
	items    []item
}

// item is one event as it was sent.
type item struct {
	fields map[string]any // nil = it has a fault
	fault  *EventError
	id     any               // its messageId, whatever its fault
	sum    [sha256.Size]byte // of its text
}

// decode reads a whole body: a batch, or the one event of a call. The error says
// why it is none.
func decode(text []byte, batch bool) (*request, error) {
	p := &parser{text: bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))}
	r := &request{}
	var err error
	if batch {
		err = p.batch(r)
	} else {
		err = p.single(r)
	}
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (p *parser) single(r *request) error {
	if p.peek() != '{' {
		return p.wrong("no JSON object")
	}
	it, err := p.item(r)
	r.items = []item{it}
	return err
}

func (p *parser) batch(r *request) error {
	found := false
	err := p.object(func(key string) (err error) {
		p.begin()
		switch key {
		case "batch":
			found, r.items = true, nil
			return p.events(r)
		case "writeKey":
			r.writeKey, err = p.value(1)
		case "sentAt":
			r.sentAt, err = p.value(1)
		case "context":
			if r.context, err = p.value(1); p.fault != nil {
				return p.wrong("the context of the batch is refused: " + p.fault.Reason)
			}
		default:
			_, err = p.value(1)
		}
		return err
	})
	if err == nil && !found {
		return &syntaxError{text: `no "batch" in the object`}
	}
	return err
}

func (p *parser) events(r *request) error {
	if p.peek() != '[' {
		return p.wrong(`"batch" is no list`)
	}
	return p.array(func() error {
		if len(r.items) == maxBatch {
			return p.wrong(fmt.Sprintf("a batch of more than %d events", maxBatch))
		}
		it, err := p.item(&request{})
		r.items = append(r.items, it)
		return err
	})
}

// item reads one event with what is wrong with it. What tells whose it is and which
// is kept in any case, in of and in the item.
func (p *parser) item(of *request) (item, error) {
	p.begin()
	var it item
	if p.peek() != '{' {
		_, err := p.value(1)
		it.fault = &EventError{"not_an_object", "an event is a JSON object"}
		return it, err
	}
	from := p.at
	it.fields = map[string]any{}
	err := p.object(func(key string) (err error) {
		var v any
		switch key {
		case "messageId":
			v, err = p.kept()
			it.id = v
		case "writeKey":
			of.writeKey, err = p.kept()
			return err
		case "sentAt":
			v, err = p.kept()
			of.sentAt = v
		default:
			v, err = p.value(2)
		}
		if p.fault == nil {
			it.fields[key] = v
		}
		return err
	})
	raw := p.text[from:p.at]
	it.fault, it.sum = p.fault, sha256.Sum256(raw)
	if len(raw) > maxEvent {
		it.fault = &EventError{"too_large", fmt.Sprintf("an event has at most %d octets, this one has %d", maxEvent, len(raw))}
	}
	if it.fault != nil {
		it.fields = nil
	}
	return it, err
}

// kept reads a value; a text also where its event has a fault.
func (p *parser) kept() (any, error) {
	if p.peek() != '"' {
		return p.value(2)
	}
	return p.string()
}

// reader makes calls of items. Its first fault stays.
type reader struct {
	fields map[string]any
	fault  *EventError
}

func (r *reader) fail(code, format string, args ...any) {
	if r.fault == nil {
		r.fault = &EventError{code, fmt.Sprintf(format, args...)}
	}
}

// batchOf is what the events of a request share.
type batchOf struct {
	key      string
	kind     Kind // "" = each says its own
	received time.Time
	sentAt   any
	context  map[string]any
}

// call checks one item. The kind is that of the path, or the item's; "" where it has
// none that is known.
func (b *batchOf) call(it item) (Call, *EventError) {
	c := Call{Kind: b.kind, Key: b.key, Received: b.received}
	if it.fault != nil {
		return c, it.fault
	}
	r := &reader{fields: it.fields}
	if c.Kind == "" {
		c.Kind = r.kind()
	}
	c.UserID, c.AnonymousID = r.id(r.fields, "userId"), r.id(r.fields, "anonymousId")
	if c.UserID == "" && c.AnonymousID == "" {
		r.fail("no_user_anon_id", "userId or anonymousId is needed")
	}
	r.subject(&c)
	r.surroundings(&c, b.context)
	when := r.time(b)
	c.Time = when.at
	c.MessageID = r.messageID(&c, it.sum, when.said)
	return c, r.fault
}

func (r *reader) kind() Kind {
	text, _ := r.fields["type"].(string)
	switch k := Kind(text); k {
	case Identify, Track, Page, Screen, Group, Alias:
		return k
	}
	r.fail("unknown_type", "type is identify, track, page, screen, group or alias")
	return ""
}

// subject reads what a kind has of its own.
func (r *reader) subject(c *Call) {
	switch c.Kind {
	case Identify:
		c.Traits = r.object(r.fields, "traits")
	case Track:
		c.Event, c.Properties = r.text(r.fields, "event"), r.object(r.fields, "properties")
		if strings.TrimSpace(c.Event) == "" {
			r.fail("no_event", "event, its name, is needed")
		}
	case Page, Screen:
		c.Name, c.Category = r.text(r.fields, "name"), r.text(r.fields, "category")
		c.Properties = r.object(r.fields, "properties")
	case Group:
		c.GroupID, c.Traits = r.id(r.fields, "groupId"), r.object(r.fields, "traits")
		if c.GroupID == "" {
			r.fail("no_group_id", "groupId is needed")
		}
	case Alias:
		c.PreviousID = r.id(r.fields, "previousId")
		if c.PreviousID == "" || c.UserID == "" {
			r.fail("no_previous_id", "previousId and userId are needed")
		}
	}
}

// surroundings reads the context: the event's own, then the batch's.
func (r *reader) surroundings(c *Call, outer map[string]any) {
	own := r.object(r.fields, "context")
	one := func(key string) map[string]any {
		if _, ok := own[key]; ok {
			return own
		}
		return outer
	}
	c.Context = Context{
		GroupID: r.id(one("groupId"), "groupId"), Traits: r.object(one("traits"), "traits"),
		IP: r.hint(one("ip"), "ip"), UserAgent: r.hint(one("userAgent"), "userAgent"),
		Locale: r.hint(one("locale"), "locale"), TimeZone: r.hint(one("timezone"), "timezone"),
	}
	if campaign, ok := one("campaign")["campaign"].(map[string]any); ok {
		c.Context.Source = r.hint(campaign, "source")
	}
	if _, ok := r.fields["traits"]; !ok && c.Kind == Identify {
		c.Traits = c.Context.Traits // where old clients put them
	}
}

func (r *reader) object(of map[string]any, key string) map[string]any {
	switch v := of[key].(type) {
	case nil:
		return nil
	case map[string]any:
		return v
	default:
		r.fail("bad_type", "%s is a JSON object", key)
		return nil
	}
}

// text reads a name. Control characters have no place in one.
func (r *reader) text(of map[string]any, key string) string {
	s, ok := of[key].(string)
	switch {
	case of[key] == nil:
	case !ok:
		r.fail("bad_type", "%s is a text", key)
	case len(s) > maxText:
		r.fail("too_long", "%s has at most %d octets", key, maxText)
	case strings.IndexFunc(s, unicode.IsControl) >= 0:
		r.fail("bad_text", "%s has a control character", key)
	}
	return s
}

// id reads an id: a text, or a whole number, which some applications have for
// one.
func (r *reader) id(of map[string]any, key string) string {
	x, ok := of[key].(float64)
	if !ok {
		return r.text(of, key)
	}
	if x != math.Trunc(x) || math.Abs(x) >= 1<<53 {
		r.fail("bad_type", "%s is a text", key)
		return ""
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

// hint reads what an event is not refused for: what is no short text is left out.
func (r *reader) hint(of map[string]any, key string) string {
	s, _ := of[key].(string)
	if len(s) > 2*maxText || strings.IndexFunc(s, unicode.IsControl) >= 0 {
		return ""
	}
	return s
}

// messageID is the client's. One is made where it gave none: from the text of an
// event that says when it happened, so that the same one sent again is known, and else
// from nothing.
func (r *reader) messageID(c *Call, sum [sha256.Size]byte, dated bool) string {
	id := r.text(r.fields, "messageId")
	switch {
	case utf8.RuneCountInString(id) > maxMessageID:
		r.fail("bad_message_id", "messageId has at most %d characters", maxMessageID)
	case id == "" && dated:
		h := sha256.New()
		h.Write([]byte(c.Key + "\x00" + string(c.Kind) + "\x00"))
		h.Write(sum[:])
		return "segue-" + hex.EncodeToString(h.Sum(nil)[:16])
	case id == "":
		return "segue-" + rand.Text()
	}
	return id
}
