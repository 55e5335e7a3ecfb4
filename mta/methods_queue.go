// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/mail"
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/admit"
	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
)

// actPage is how many recipients an order takes at a time.
const actPage = 1000

// QueueAct implements api.Methods.
func (m methods) QueueAct(ctx context.Context, act api.QueueAct) (api.QueueActed, error) {
	order, err := m.order(&act)
	if err != nil {
		return api.QueueActed{}, err
	}
	if act.ID != "" {
		id, err := store.ParseID(act.ID)
		if err != nil {
			return api.QueueActed{}, badRequest("bad id", err)
		}
		if err := m.queue.Do(ctx, id, order); err != nil {
			if errors.Is(err, queue.ErrNotFound) {
				return api.QueueActed{}, notFound(act.ID + " is not in the queue")
			}
			return api.QueueActed{}, err
		}
		return api.QueueActed{Recipients: 1}, nil
	}
	if act.Query == (api.QueueQuery{}) && !act.All {
		return api.QueueActed{}, api.Problem(http.StatusBadRequest, "an order needs an id or a filter", "to reach the whole queue, say all")
	}
	return m.actAll(ctx, act.Query, order)
}

// checkNames refuses a filter with a name that neither the configuration nor any mail that was queued has: an order
// that is misspelt would reach nobody and look done.
func (m methods) checkNames(q *api.QueueQuery) error {
	known := map[string][]string{}
	add := func(kind, name string) { known[kind] = append(known[kind], name) }
	for _, s := range m.c.Streams {
		add("stream", s.Name)
	}
	for _, s := range m.c.Segments {
		add("segment", s.Name)
	}
	for _, t := range m.c.Tiers {
		add("tier", t.Name)
	}
	for _, p := range m.c.Pools {
		add("pool", p.Name)
	}
	for _, c := range m.mail.Classes() {
		add("stream", c.Stream)
		add("segment", c.Segment)
		add("tier", c.Tier)
		add("pool", c.Pool)
	}
	for _, f := range [][2]string{{"stream", q.Stream}, {"segment", q.Segment}, {"tier", q.Tier}, {"pool", q.Pool}} {
		if f[1] == "" || slices.Contains(known[f[0]], f[1]) {
			continue
		}
		slices.Sort(known[f[0]])
		there := slices.DeleteFunc(slices.Compact(known[f[0]]), func(s string) bool { return s == "" })
		if len(there) == 0 {
			there = []string{"none"}
		}
		return notFound("no " + f[0] + " has the name " + f[1] + ": there are " + strings.Join(there, ", "))
	}
	return nil
}

// actAll carries an order out on everything that a query selects.
func (m methods) actAll(ctx context.Context, q api.QueueQuery, order queue.Order) (api.QueueActed, error) {
	var out api.QueueActed
	q.Limit, q.After = actPage, ""
	for {
		list, _, err := m.find(ctx, q)
		if err != nil {
			return out, err
		}
		ids := make([]store.ID, len(list))
		for i, e := range list {
			ids[i] = e.ID
		}
		n, err := m.queue.DoAll(ctx, ids, order)
		out.Recipients += n
		if err != nil {
			return out, fmt.Errorf("%w (%d recipients were reached before)", err, out.Recipients)
		}
		if len(list) < actPage {
			return out, nil
		}
		q.After = ids[len(ids)-1].String()
	}
}

// order is what an action does to one recipient.
func (m methods) order(act *api.QueueAct) (queue.Order, error) {
	switch act.Action {
	case "hold":
		name := act.Name
		if name == "" {
			name = "operator"
		}
		if k, ok := cutHold(name); ok {
			return nil, api.Problem(http.StatusBadRequest, name+" is the hold of a breaker", "take another name, or: segue segment hold, for "+string(k.kind)+" "+k.name)
		}
		return queue.Holding(name), nil
	case "release", "retry":
		return queue.Releasing(), nil
	case "drop":
		reason := act.Reason
		if reason == "" {
			reason = "dropped by an operator"
		}
		return queue.Dropping(reason), nil
	case "move":
		for _, p := range m.c.Pools {
			if p.Name == act.Pool {
				return queue.Moving(act.Pool), nil
			}
		}
		return nil, api.Problem(http.StatusBadRequest, "no pool has the name "+act.Pool, "segue pool ls shows them")
	default:
		return nil, api.Problem(http.StatusBadRequest, "unknown action "+act.Action, "hold, release, retry, drop and move are known")
	}
}

// Submit implements api.Methods: whoever holds the operator's token may send as
// every domain of ours, in every stream.
func (m methods) Submit(ctx context.Context, in api.Message) (api.Submitted, error) {
	if err := m.room(); err != nil {
		return api.Submitted{}, refused(err)
	}
	env := &admit.Envelope{Credential: "api", Protocol: "HTTP", Streams: []string{"marketing"}}
	for name := range m.plan.streams {
		if name != "marketing" {
			env.Streams = append(env.Streams, name)
		}
	}
	from, err := mail.ParseAddress(in.From)
	if err != nil {
		return api.Submitted{}, badRequest("from cannot be read", err)
	}
	if env.From, err = rfc5321.ParseAddress(from.Address); err != nil {
		return api.Submitted{}, badRequest("from cannot be read", err)
	}
	from.Address = from.Address[:strings.LastIndexByte(from.Address, '@')+1] + env.From.Domain
	if len(in.To) == 0 || len(in.To) > 1000 {
		return api.Submitted{}, api.Problem(http.StatusBadRequest, "to needs 1 to 1000 addresses", "")
	}
	for _, to := range in.To {
		a, err := rfc5321.ParseAddress(strings.TrimSpace(to))
		if err != nil {
			return api.Submitted{}, badRequest(fmt.Sprintf("recipient %q cannot be read", to), err)
		}
		env.To = append(env.To, a)
	}
	in.To = make([]string, len(env.To)) // as SMTP writes them: a domain in UTF-8 would make the header SMTPUTF8
	for i, a := range env.To {
		in.To[i] = a.String()
	}
	if env.Data, err = compose(&in, from); err != nil {
		return api.Submitted{}, badRequest("the message cannot be built", err)
	}
	mid, err := m.admit.Admit(ctx, env)
	if err != nil {
		return api.Submitted{}, refused(err)
	}
	return api.Submitted{ID: store.FormatMessage(mid)}, nil
}

// refused is an admission's refusal as a problem.
func refused(err error) error {
	var r *rfc5321.Refusal
	if !errors.As(err, &r) {
		return err
	}
	status := http.StatusUnprocessableEntity
	if r.Reply.Temporary() {
		status = http.StatusServiceUnavailable
	}
	return api.Problem(status, "the message was refused", r.Reply.String())
}

// compose is the message as text: as given, or built from its parts.
func compose(in *api.Message, from *mail.Address) ([]byte, error) {
	var b bytes.Buffer
	for name, v := range map[string]string{"X-Segue-Stream": in.Stream, "X-Segue-Segment": in.Segment, "X-Segue-Campaign": in.Campaign} {
		if strings.ContainsAny(v, "\r\n") {
			return nil, fmt.Errorf("%s holds a line end", name)
		}
		if v != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	if in.Raw != "" {
		raw := crlf(in.Raw)
		if err := checkRaw(raw); err != nil {
			return nil, err
		}
		b.Write(raw)
		return b.Bytes(), nil
	}
	if strings.ContainsAny(in.Subject, "\r\n") {
		return nil, errors.New("subject holds a line end")
	}
	for _, f := range [][2]string{{"From", from.String()}, {"To", visible(in.To)}, {"Subject", mime.QEncoding.Encode("utf-8", in.Subject)}} {
		if err := writeField(&b, f[0], f[1]); err != nil {
			return nil, err
		}
	}
	b.WriteString("MIME-Version: 1.0\r\n")
	writeText(&b, in)
	return b.Bytes(), nil
}

// visible is the To field: one recipient by name, several not to each other.
func visible(to []string) string {
	if len(to) == 1 {
		return "<" + to[0] + ">"
	}
	return "undisclosed-recipients:;"
}
