// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strconv"

	"github.com/seguemta/segue/mta/api"
)

type tokensCmd struct {
	remote
	Ls     tokensLs     `cmd:"" help:"List the keys of return paths and tokens, by their ids."`
	Rotate tokensRotate `cmd:"" help:"Sign with a new key from now on; what the others signed is still understood."`
}

type tokensLs struct{}

// Run prints the ids of the keys.
func (*tokensLs) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.TokenKeys, error) { return m.TokenKeys(ctx) }, func(k api.TokenKeys) error {
		t := a.table("KEY", "USE")
		t.row(strconv.Itoa(k.Signing), "signs")
		for _, id := range k.Verifies {
			t.row(strconv.Itoa(id), "verifies")
		}
		return t.flush()
	})
}

type tokensRotate struct{}

// Run makes a new key.
func (*tokensRotate) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.TokenKeys, error) { return m.RotateTokens(ctx) }, func(k api.TokenKeys) error {
		return a.say("key %d signs from now on, and what %s signed is still understood: back up token.keys", k.Signing, plural(len(k.Verifies), "older key"))
	})
}
