// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/store"
	"github.com/seguemta/segue/segment"
)

// Lift implements api.Methods. Every suppression that goes is an event that says who
// lifted it and why.
func (m methods) Lift(ctx context.Context, s api.Suppression) error {
	a, err := rfc5321.ParseAddress(s.Address)
	if err != nil {
		return badRequest("the address cannot be read", err)
	}
	who := s.Source
	if who == "" {
		who = "an operator"
	}
	why := "lifted by " + who
	if s.Evidence != "" {
		why += ": " + s.Evidence
	}
	lifted, err := m.people.Lift(a, s.Scope, segment.Because{Cause: why, Stated: s.Evidence != ""})
	switch {
	case errors.Is(err, segment.ErrUnstated):
		return api.Problem(http.StatusConflict, err.Error(), "say why (--reason), it is kept in the event log")
	case errors.Is(err, segment.ErrScope):
		return badRequest("bad scope", err)
	case err != nil:
		return err
	case len(lifted) == 0:
		return notFound(a.String() + " is not suppressed" + within(s.Scope))
	}
	return m.mail.Commit(ctx, func(tx *store.Tx) error {
		for i := range lifted {
			tx.Event(&event.Event{
				Kind: event.SuppressLift, Address: a.String(), Scope: lifted[i].Scope, Reason: lifted[i].Reason + " " + why,
			})
		}
		return nil
	})
}

func within(scope string) string {
	if scope == "" {
		return ""
	}
	return " in scope " + scope
}

// checkScope refuses a scope of a stream or domain that there is not: it would stop nothing. Lists come with mail
// and imports, so that nobody knows all of them.
func (m methods) checkScope(scope string) error {
	if name, ok := strings.CutPrefix(scope, "stream:"); ok {
		return m.checkNames(&api.QueueQuery{Stream: name})
	}
	name, ok := strings.CutPrefix(scope, "domain:")
	if !ok || slices.ContainsFunc(m.c.Domains, func(d config.Domain) bool { return d.Name == name }) {
		return nil
	}
	return notFound("no [[domain]] has the name " + name + ": the scope is of the domain that mail is sent as")
}

// ImportSuppressions implements api.Methods.
func (m methods) ImportSuppressions(ctx context.Context, in api.SuppressionImport, rows io.Reader) (api.Imported, error) {
	var bad rejects
	res, err := m.people.ImportSuppressions(ctx, segment.SuppressionImport{
		Reader: rows, Name: in.Name, Format: in.Format, Reason: in.Reason, Scope: in.Scope, Expires: in.Expires, DryRun: in.DryRun,
		Rejected: func() (io.WriteCloser, error) { return &bad, nil },
	})
	if errors.Is(err, segment.ErrScope) {
		return api.Imported{}, badRequest("bad scope", err)
	}
	return imported(&res, &bad, err)
}

// ExportSuppressions implements api.Methods.
func (m methods) ExportSuppressions(ctx context.Context, out api.SuppressionExport, to io.Writer) (api.Exported, error) {
	n, err := m.people.ExportSuppressions(ctx, segment.SuppressionExport{
		Writer: to, Format: out.Format, Reason: out.Reason, Scope: out.Scope, Raw: out.Raw,
	})
	if errors.Is(err, segment.ErrFormat) {
		return api.Exported{}, badRequest("nothing was exported", err)
	}
	return api.Exported{Rows: n}, err
}
