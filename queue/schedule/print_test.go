// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"strings"
)

func (id ID) text() string { return fmt.Sprintf("%d/%d", id.Message, id.Recipient) }

func (k BudgetKey) text() string {
	if k.Source != "" {
		return k.Source + "@" + k.Provider
	}
	return fmt.Sprintf("%s(%s,%s)@%s", k.Plan, k.Segment, k.Tier, k.Provider)
}

// print writes the last Ready, one line per request.
func (w *world) print() {
	r := &w.r
	for _, d := range r.Resolve {
		w.printf("resolve %s", d)
	}
	for _, l := range r.Load {
		after := "the head"
		if !l.After.isZero() {
			after = w.at(l.After.Due) + " " + l.After.ID.text()
		}
		w.printf("load %s class %d: %d after %s", l.Domain, l.Class, l.Limit, after)
	}
	for _, l := range r.Lease {
		w.printf("lease %s: %d", l.Key.text(), l.Total)
	}
	for _, d := range r.Dial {
		w.printf("dial %d %s", d.Conn, transactionText(d.Transaction))
	}
	for _, s := range r.Send {
		w.printf("send %d %s", s.Conn, transactionText(s.Transaction))
	}
	for _, c := range r.Close {
		w.printf("close %d", c)
	}
	for _, m := range r.Move {
		to := "refuse"
		if m.Pool != "" {
			to = "to " + m.Pool
		}
		w.printf("move %s of %s class %d: %s", m.Item.ID.text(), m.Domain, m.Class, to)
	}
	for _, f := range r.Fail {
		w.printf("fail %s of %s class %d", f.Item.ID.text(), f.Domain, f.Class)
	}
	w.printf("wake %s", w.at(r.Wake))
}

func transactionText(t Transaction) string {
	var ids, keys []string
	for _, it := range t.Items {
		ids = append(ids, it.ID.text())
	}
	for _, k := range t.Charges {
		keys = append(keys, k.text())
	}
	s := fmt.Sprintf("%s>%s class %d: %s", t.Source, t.Site, t.Class, strings.Join(ids, " "))
	if len(keys) > 0 {
		s += " charge " + strings.Join(keys, " ")
	}
	if t.Overdraft {
		s += " overdraft"
	}
	return s
}

// printSent writes what was delivered since n: one line per source, site and class, ids in order.
func (w *world) printSent(n int) {
	type key struct {
		source, site string
		class        ClassID
		over         bool
	}
	var order []key
	ids := map[key][]string{}
	for _, t := range w.sent[n:] {
		k := key{t.Source, t.Site, t.Class, t.Overdraft}
		if ids[k] == nil {
			order = append(order, k)
		}
		for _, it := range t.Items {
			ids[k] = append(ids[k], it.ID.text())
		}
	}
	for _, k := range order {
		over := ""
		if k.over {
			over = " overdraft"
		}
		list := ids[k]
		if len(list) > 8 {
			list = append(append(append([]string{}, list[:3]...), "..."), list[len(list)-2:]...)
		}
		w.printf("%s>%s class %d%s: %d (%s)", k.source, k.site, k.class, over, len(ids[k]), strings.Join(list, " "))
	}
	if len(order) == 0 {
		w.printf("nothing")
	}
	w.printf("wake %s", w.at(w.r.Wake))
}

// printOrder writes what was delivered since n as a list of classes.
func (w *world) printOrder(n int) {
	var list []string
	for _, t := range w.sent[n:] {
		list = append(list, fmt.Sprint(t.Class))
	}
	w.printf("classes in order: %s", strings.Join(list, " "))
}

func (w *world) why(p params) {
	k := backlogKey{p.m["domain"], ClassID(p.num("class", 1))}
	id := parseID(p.m["id"])
	for _, it := range w.disk[k] {
		if it.ID == id {
			r := w.m.Why(w.now, k.domain, k.class, it)
			w.printf("%s: %s", r.Code, r.Text)
			w.printf("until %s, expected %s, ahead %d", w.at(r.Until), w.at(r.Expected), r.Ahead)
			return
		}
	}
	w.printf("%s is not on disk", id.text())
}
