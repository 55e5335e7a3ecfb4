// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/arf"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/verp"
	"github.com/seguemta/segue/mta/wilson"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/reputation/complaint"
)

// TokenKeys implements api.Methods.
func (m methods) TokenKeys(context.Context) (api.TokenKeys, error) {
	ids := m.plan.secrets.tokens.IDs()
	out := api.TokenKeys{Signing: int(ids[0]), Verifies: []int{}}
	for _, id := range ids[1:] {
		out.Verifies = append(out.Verifies, int(id))
	}
	return out, nil
}

// RotateTokens implements api.Methods. The file has the new key before anything is
// signed by it. A file that somebody edited since the start is left alone: what was
// taken out of it must not come back.
func (m methods) RotateTokens(ctx context.Context) (api.TokenKeys, error) {
	ring := m.plan.secrets.tokens
	path := filepath.Join(string(m.c.SecretsDir), tokenFile)
	held := ring.Text()
	err := ring.Rotate(rand.Reader, func(text []byte) error {
		have, err := os.ReadFile(path) //nolint:gosec // a fixed name below secrets_dir
		if err != nil {
			return err
		}
		if now, err := verp.ParseRing(have); err != nil || !bytes.Equal(now.Text(), held) {
			return errEdited
		}
		return writeFile(path, text)
	})
	if errors.Is(err, errEdited) {
		return api.TokenKeys{}, api.Problem(http.StatusConflict, path+" was changed since the engine read it", "restart the engine, then rotate")
	}
	if err != nil {
		return api.TokenKeys{}, err
	}
	m.log.Info("token keys rotated", slog.Int("key", int(ring.IDs()[0])))
	return m.TokenKeys(ctx)
}

var errEdited = errors.New("the file was changed")

// takenPrefix begins the names in the queue's store of reports that came over the API,
// each with the name that its caller gave it.
const takenPrefix = "feedback/"

// Feedback implements api.Methods.
func (m methods) Feedback(ctx context.Context, in api.Feedback) (api.FeedbackTaken, error) {
	if err := in.Check(); err != nil {
		return api.FeedbackTaken{}, err
	}
	f := m.feedback
	once := takenPrefix + in.ID
	if _, err := f.mail.State(once); err == nil {
		return api.FeedbackTaken{Repeated: true}, nil
	} else if !errors.Is(err, store.ErrNotFound) {
		return api.FeedbackTaken{}, err
	}
	id, err := f.named(&in)
	var x fact
	if err == nil {
		x, err = f.stated(id, &in)
	}
	if u, ok := errors.AsType[*unresolved](err); ok {
		f.missed("api", u.reason)
		return api.FeedbackTaken{}, api.Problem(http.StatusNotFound, "the report is about no recipient of ours", u.text)
	}
	if err != nil {
		return api.FeedbackTaken{}, err
	}
	fresh, err := f.commit(ctx, []fact{x}, once)
	return api.FeedbackTaken{Recipient: x.id.String(), Repeated: fresh == 0}, err
}

// named is the token's recipient that a report of the API is about.
func (f *feedback) named(in *api.Feedback) (store.ID, error) {
	switch {
	case in.Reference != "":
		return f.token(verp.Reference, in.Reference)
	case in.ReturnPath != "":
		local, _, _ := strings.Cut(strings.Trim(in.ReturnPath, "<> "), "@")
		return f.token(verp.ReturnPath, local)
	case in.Message != "":
		id, err := store.ParseID(in.Message)
		if err != nil {
			return id, badRequest("bad message", err)
		}
		sent, err := f.mail.SentRecord(id)
		if errors.Is(err, store.ErrNotFound) {
			return id, nil // group says why
		}
		if err != nil {
			return id, err
		}
		in.Address = sent.Address // one of a transaction
		return store.ID{Message: id.Message, Recipient: sent.Token}, nil
	}
	a, err := rfc5321.ParseAddress(in.Address)
	if err != nil {
		return store.ID{}, badRequest("the address cannot be read", err)
	}
	until := in.Time
	if until.IsZero() {
		until = f.now()
	}
	id, sent, err := f.mail.SentTo(a.Key(), f.now().Add(-f.kept), until)
	if errors.Is(err, store.ErrNotFound) {
		return id, &unresolved{noneSent, "nothing was delivered to the address in the " + config.Duration(f.kept).String() + " before " + until.UTC().Format(time.RFC3339)}
	}
	return store.ID{Message: id.Message, Recipient: sent.Token}, err
}

// noneSent is the reason of a report about an address that was sent nothing.
const noneSent = "unknown"

// stated is the fact that a report of the API states.
func (f *feedback) stated(id store.ID, in *api.Feedback) (fact, error) {
	g, err := f.group(id)
	if err != nil {
		return fact{}, err
	}
	if in.Kind == "bounce" {
		c := g.whom(in.Address)
		c.named = c.named || in.Address == "" && !c.nobody // the caller means whose token it is
		return f.failed(id, c, parseReply(in.Reply)), nil
	}
	t := arf.Type(in.Type)
	if t == "" {
		t = arf.Abuse
	}
	kind, heard, ok := kindOf(t)
	if !ok {
		return fact{}, api.Problem(http.StatusBadRequest, "bad report", "type is abuse, fraud, opt-out or not-spam")
	}
	return f.reported(id, g.whom(in.Address), kind, heard, string(t)), nil
}

// parseReply reads a reply as people write it: 550 5.1.1 no such user.
func parseReply(text string) rfc5321.Reply {
	var r rfc5321.Reply
	text = strings.TrimSpace(text)
	if first, rest, _ := strings.Cut(text, " "); len(first) == 3 {
		if n, err := strconv.Atoi(first); err == nil && n >= 400 && n < 600 {
			r.Code, text = n, rest
		}
	}
	r.Enhanced, r.Text = rfc5321.CutEnhanced(strings.TrimSpace(text))
	if r.Code == 0 && r.Enhanced[0] != 0 {
		r.Code = r.Enhanced[0] * 100
	}
	return r
}

// Complaints implements api.Methods.
func (m methods) Complaints(_ context.Context, q api.ComplaintQuery) ([]api.Complaint, error) {
	list := []api.Complaint{}
	err := m.complaints.cases(func(x complaint.Case) error {
		c := m.complaintOf(&x)
		status := q.Status == "" || q.Status == c.Status || q.Status == "overdue" && c.Overdue
		if status && (q.Segment == "" || q.Segment == c.Segment) && (q.Before == 0 || c.ID < q.Before) {
			list = append(list, c)
		}
		return nil
	})
	slices.Reverse(list)
	return list[:min(len(list), limit(q.Limit))], err
}

func (m methods) complaintOf(x *complaint.Case) api.Complaint {
	e := x.Event("", "")
	e.Time = x.Opened
	m.people.Redact(&e)
	return api.Complaint{
		ID: x.ID, Class: x.Class, Status: string(x.Status), Owner: x.Owner, Opened: x.Opened, Due: x.Due, Overdue: x.Overdue(m.time.Settled()),
		Closed: x.Closed, Note: x.Note, Recipient: store.ID{Message: x.Message, Recipient: x.Recipient}.String(), Address: e.Address, Contact: e.Contact,
		Stream: x.Stream, Segment: x.Segment, SegmentVersion: x.SegmentVersion, Tier: x.Tier, Campaign: x.Campaign, Batch: x.Batch,
		Source: x.Source, Provider: other(x.Provider),
	}
}

// Complaint implements api.Methods.
func (m methods) Complaint(_ context.Context, id uint64) (api.Complaint, error) {
	x, err := m.complaints.one(id)
	if errors.Is(err, store.ErrNotFound) {
		return api.Complaint{}, noCase(id)
	}
	return m.complaintOf(&x), err
}

func noCase(id uint64) error { return notFound(fmt.Sprintf("no case has the number %d", id)) }

// CloseComplaint implements api.Methods.
func (m methods) CloseComplaint(ctx context.Context, in api.ComplaintClose) (api.Complaint, error) {
	x, err := m.complaints.close(ctx, in.ID, in.Note)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return api.Complaint{}, noCase(in.ID)
	case errors.Is(err, complaint.ErrClosed):
		return api.Complaint{}, api.Problem(http.StatusConflict, "the case is closed", err.Error())
	case errors.Is(err, complaint.ErrNote):
		return api.Complaint{}, badRequest("bad note", err)
	case err != nil:
		return api.Complaint{}, err
	}
	return m.complaintOf(&x), nil
}

// ComplaintReport implements api.Methods.
func (m methods) ComplaintReport(_ context.Context, days int) ([]api.ComplaintRate, error) {
	tallies, err := m.complaints.days(days)
	if err != nil {
		return nil, err
	}
	interval := func(hits, of uint64) (low, high float64) {
		r := wilson.Interval(hits, of)
		return r.Low, r.High
	}
	reports := make(map[string]bool)
	for _, p := range m.c.Providers {
		reports[p.Name] = p.ReportsComplaints
	}
	list := []api.ComplaintRate{}
	for _, l := range complaint.Report(tallies, func(provider string) bool { return reports[other(provider)] }, interval) {
		list = append(list, api.ComplaintRate(l))
	}
	return list, nil
}
