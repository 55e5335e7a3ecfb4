// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/reputation/bounce"
)

// bounceRules reads the rules of bounces: those of Segue, and before them those of
// the operator.
func bounceRules(c *config.Config) (*bounce.Table, error) {
	return operatorRules("bounce", c.Bounce.RulesFile, bounce.Builtin, (*bounce.Table).Override)
}

// checkBounceRules reports what is wrong with the operator's rules.
func checkBounceRules(c *config.Config) []config.Problem {
	_, err := bounceRules(c)
	return ruleProblems(c, "bounce.rules_file", err, bounce.ErrRules, "segue bounce classify shows which rule a reply goes to")
}

// classifier gives the bounce rules the form that delivery takes.
type classifier struct{ rules *bounce.Classifier }

// Classify implements deliver.Classifier.
func (c classifier) Classify(provider string, r rfc5321.Reply) (class, verdict, subject string) {
	res := c.rules.Classify(provider, r)
	return string(res.Class), string(res.Verdict), string(res.Subject)
}

// ReloadBounceRules implements api.Methods. A file that is wrong changes nothing.
func (m methods) ReloadBounceRules(context.Context) (api.BounceRules, error) {
	table, err := bounceRules(m.c)
	if err != nil {
		return api.BounceRules{}, api.Problem(http.StatusConflict, "the bounce rules stay as they were", err.Error())
	}
	m.plan.bounces.Replace(table)
	out := api.BounceRules{File: string(m.c.Bounce.RulesFile), Rules: table.Len()}
	m.log.Info("bounce rules were read again", slog.String("file", out.File), slog.Int("rules", out.Rules))
	return out, nil
}

// ClassifyReply implements api.Methods.
func (m methods) ClassifyReply(_ context.Context, q api.Reply) (api.Classified, error) {
	reply, ok := bounce.ParseReply(strings.TrimSpace(q.Text))
	if !ok {
		return api.Classified{}, badRequest("bad reply", errors.New("a reply begins with its code, such as 550 5.1.1 User unknown"))
	}
	res := m.plan.bounces.Classify(q.Provider, reply)
	return api.Classified{Class: string(res.Class), Verdict: string(res.Verdict), Subject: string(res.Subject), Rule: res.Rule}, nil
}
