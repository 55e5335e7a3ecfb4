// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/store"
)

// events writes the events of a contact or a visitor, oldest first.
func (e *exporter) events(id uint64, c *store.Contact, anonymous string) error {
	return e.view.Events(id, minTime, func(x store.Event) error {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		a, _, err := e.account(x.Account)
		if err != nil {
			return err
		}
		of := map[string]rule.Value{}
		if err := rule.Records(x.Properties, func(name string, v rule.Value) { of[name] = v }); err != nil {
			return fmt.Errorf("properties of event %q of contact %d: %w", x.Name, id, err)
		}
		var properties []byte
		if len(of) > 0 {
			if properties, err = json.Marshal(of); err != nil {
				return fmt.Errorf("properties of event %q of contact %d: %w", x.Name, id, err)
			}
		}
		e.rows++
		for i := range e.columns {
			if e.columns[i].field == fieldProperties {
				e.out.object(i, properties)
				continue
			}
			e.out.cell(i, eventCell(e.columns[i].field, c, &x, a.Group, anonymous))
		}
		return e.out.end()
	})
}

// eventCell is a built-in column of an event.
func eventCell(f field, c *store.Contact, x *store.Event, group, anonymous string) rule.Value {
	switch f {
	case fieldEmail:
		return rule.TextValue(c.Address)
	case fieldUser:
		return rule.TextValue(c.UserID)
	case fieldAnonymous:
		return rule.TextValue(anonymous)
	case fieldEvent:
		return rule.TextValue(x.Name)
	case fieldTime:
		return rule.TimeValue(time.UnixMicro(x.Time))
	case fieldMessage:
		return rule.TextValue(x.Message)
	case fieldGroup:
		return rule.TextValue(group)
	default:
		return rule.Value{}
	}
}

// everyVisitor writes the events of those whose address is not known.
func (e *exporter) everyVisitor() error {
	return e.view.Visitors(0, func(id uint64, c store.Contact) error {
		ids, err := e.view.IDsOf(id)
		if err != nil {
			return err
		}
		anonymous := ""
		for _, p := range ids {
			if p.Kind == store.AnonymousID {
				anonymous = p.Name
			}
		}
		if anonymous == "" && c.UserID == "" {
			return nil
		}
		return e.events(id, &c, anonymous)
	})
}
