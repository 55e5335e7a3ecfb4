// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/seguemta/segue/mta/api"
)

type bounceCmd struct {
	remote
	Classify bounceClassify `cmd:"" help:"Say what an SMTP reply means, and by which rule."`
	Reload   bounceReload   `cmd:"" help:"Read the operator's rules again; a file that is wrong changes nothing."`
}

type bounceClassify struct {
	Reply    string `arg:"" help:"The reply, such as '550 5.1.1 User unknown'."`
	Provider string `help:"Who said so; by default one without a name." placeholder:"NAME"`
}

// Run classifies a reply.
func (c *bounceClassify) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.Classified, error) {
		return m.ClassifyReply(ctx, api.Reply{Provider: c.Provider, Text: c.Reply})
	}, func(r api.Classified) error {
		return a.pairs([2]string{"class", r.Class}, [2]string{"verdict", r.Verdict}, [2]string{"subject", r.Subject}, [2]string{"rule", r.Rule})
	})
}

type bounceReload struct{}

// Run makes the engine read the rules of bounces again.
func (*bounceReload) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.BounceRules, error) { return m.ReloadBounceRules(ctx) }, func(r api.BounceRules) error {
		if r.File == "" {
			return a.say("%d built-in rules are in force; [bounce] rules_file names no other", r.Rules)
		}
		return a.say("%d rules are in force, those of %s first", r.Rules, r.File)
	})
}
