// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/reputation/throttle"
)

// throttleRules reads the rules of throttling: those of Segue, and before them those of
// the operator.
func throttleRules(c *config.Config) (*throttle.Rules, error) {
	return operatorRules("throttle", c.Throttle.RulesFile, throttle.Builtin, (*throttle.Rules).Override)
}

// checkThrottleRules reports what is wrong with the operator's rules, and which of them can
// never act.
func checkThrottleRules(c *config.Config) []config.Problem {
	const key = "throttle.rules_file"
	if _, err := throttleRules(c); err != nil {
		return ruleProblems(c, key, err, throttle.ErrRules, "the built-in rules are examples: see their file reputation/throttle/rules.txt")
	}
	return checkThrottleProviders(c, key)
}

// checkThrottleProviders warns of the operator's rules for providers that nobody configured. The
// built-in ones name many that a sender need not have.
func checkThrottleProviders(c *config.Config, key string) []config.Problem {
	if c.Throttle.RulesFile == "" {
		return nil
	}
	text, err := os.ReadFile(string(c.Throttle.RulesFile))
	if err != nil {
		return []config.Problem{unreadable(c, key, err)}
	}
	own, err := throttle.Parse(string(c.Throttle.RulesFile), string(text))
	if err != nil {
		return []config.Problem{c.Problem(key, err.Error(), "")}
	}
	var names []string
	for _, p := range c.Providers {
		names = append(names, p.Name)
	}
	var list []config.Problem
	for _, name := range own.Unused(names) {
		list = append(list, c.Warning(key, fmt.Sprintf("a rule is for provider %q, which there is none of: it never acts", name), "the names are those of [[provider]]"))
	}
	return list
}

// ReloadThrottleRules implements api.Methods. A file that is wrong changes nothing.
func (m methods) ReloadThrottleRules(context.Context) (api.ThrottleRules, error) {
	rules, err := throttleRules(m.c)
	if err != nil {
		return api.ThrottleRules{}, api.Problem(http.StatusConflict, "the throttle rules stay as they were", err.Error())
	}
	m.throttles.replace(rules)
	out := api.ThrottleRules{File: string(m.c.Throttle.RulesFile), Rules: rules.Len()}
	m.log.Info("throttle rules were read again", slog.String("file", out.File), slog.Int("rules", out.Rules))
	return out, nil
}

// replace gives events from now on to other rules. What those before have in force, goes
// on until its time.
func (t *throttles) replace(rules *throttle.Rules) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rules, t.policies = rules, make(map[string]*throttle.Policy)
}
