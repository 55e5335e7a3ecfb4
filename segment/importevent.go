// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// setEvent checks one column of an event.
func (r *row) setEvent(c *column, text string, v rule.Value, at time.Time) error {
	if r.call == nil {
		return nil
	}
	var err error
	switch c.field {
	case fieldAnonymous:
		r.call.Anonymous, err = short(text)
	case fieldEvent:
		r.call.Event, err = short(text)
	case fieldMessage:
		r.call.MessageID, err = short(text)
	case fieldTime:
		if r.call.Time = v.Time(); r.call.Time.After(at) {
			return errors.New("it is in the future")
		}
		_, err = past(v, at)
	default:
	}
	return err
}

// checkEvent reports what is missing in an event, and completes its call.
func (r *row) checkEvent() *fault {
	switch c := r.call; {
	case r.key == "" && r.user == "" && c.Anonymous == "":
		return &fault{"email", "the row names nobody (fill " + quoted(identifies(KindEvents)) + ")"}
	case c.Event == "":
		return &fault{"event", "the name of the event is missing"}
	case c.Time.IsZero():
		return &fault{"time", "the time is missing"}
	}
	r.call.UserID, r.call.Context.GroupID = r.user, r.group
	if r.key != "" {
		r.call.Email = r.address.String()
	}
	return nil
}

// property reads a cell with one property of an event or with an object of them.
func (r *row) property(c *column, cell []byte) error {
	if len(bytes.TrimSpace(cell)) == 0 {
		return nil
	}
	if r.call.Properties == nil {
		r.call.Properties = map[string]any{}
	}
	if c.field == fieldProperty {
		r.call.Properties[strings.TrimPrefix(c.name, propertyPrefix)] = propertyCell(string(cell))
		return nil
	}
	var of map[string]any
	if err := json.Unmarshal(cell, &of); err != nil {
		return errors.New("it is not a JSON object")
	}
	maps.Copy(r.call.Properties, of)
	return nil
}

// propertyCell is the value of a property in CSV, which has no types: what JSON
// reads as a number, a boolean or a string in quotation marks is that, anything
// else is text. So 7 is a number, and "7" and 007 are text.
func propertyCell(text string) any {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err == nil {
		switch v.(type) {
		case float64, bool, string:
			return v
		}
	}
	return text
}

// event folds one event into the open write. An event that is there already, in
// the log or by its message id, changes nothing.
func (im *importer) event(t *tx, r *row) (effect, error) {
	p := im.d.prepare(r.call, im.p.At)
	there, err := im.happened(t, p)
	if err != nil || there {
		return effectNone, err
	}
	if err := t.fold(p); err != nil {
		return effectNone, err
	}
	return im.making(string(p.hash[:])), nil
}

// happened reports whether an event is known.
func (im *importer) happened(t *tx, p *prepared) (bool, error) {
	verdict, err := t.known(p.hash)
	if verdict != store.Unseen || err != nil {
		return verdict == store.Applied, err
	}
	who, err := t.whose(p.user)
	if who == 0 && err == nil && p.key != "" {
		who, err = t.find(0, p.key)
	}
	if who == 0 && err == nil {
		who, err = t.whose(p.anon)
	}
	if who == 0 || err != nil {
		return false, err
	}
	return t.d.store.HasEvent(eventKey(who, &p.event))
}
