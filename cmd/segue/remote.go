// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/seguemta/segue/mta/api"
)

// remote are the flags of every command that talks to a running engine.
type remote struct {
	Addr  string `env:"SEGUE_ADDR" default:"127.0.0.1:8025" placeholder:"HOST:PORT" help:"The engine: host:port or a URL."`
	Token string `env:"SEGUE_TOKEN" placeholder:"TOKEN" help:"The engine's token. Others on this machine can read a command line: rather set SEGUE_TOKEN."`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// AfterApply gives the program the flags that were parsed.
func (r *remote) AfterApply(a *app) error { //nolint:unparam // kong wants it so
	a.remote = r
	return nil
}

// client reaches the engine.
func (a *app) client() (api.Methods, error) {
	c, err := api.NewClient(a.remote.Addr, strings.TrimSpace(a.remote.Token))
	if err != nil {
		return nil, fmt.Errorf("%w (set --addr or SEGUE_ADDR)", err)
	}
	return c, nil
}

// show asks the engine and prints the answer: as JSON, or as a person reads it.
func show[T any](a *app, ask func(context.Context, api.Methods) (T, error), human func(T) error) error {
	m, err := a.client()
	if err != nil {
		return err
	}
	out, err := ask(a.ctx, m)
	if err != nil {
		return err
	}
	if a.remote.JSON {
		return a.json(out)
	}
	return human(out)
}

// order gives the engine an order that has no answer.
func (a *app) order(give func(context.Context, api.Methods) error, done string) error {
	return show(a, func(ctx context.Context, m api.Methods) (struct{}, error) { return struct{}{}, give(ctx, m) },
		func(struct{}) error { return a.say("%s", done) })
}

// explain says what an error means and what to do.
func explain(a *app, err error) string {
	if e, ok := errors.AsType[*interruptedError](err); ok {
		return explain(a, e.cause) + again
	}
	addr := ""
	if a.remote != nil {
		addr = a.remote.Addr
	}
	problem, isProblem := errors.AsType[*api.Error](err)
	switch {
	case errors.Is(err, context.Canceled) && a.ctx.Err() != nil:
		return "interrupted"
	case errors.Is(err, api.ErrUnreachable):
		return fmt.Sprintf("engine not reachable at %s: is `segue serve` running? set --addr or SEGUE_ADDR (%v)", addr, cause(err))
	case errors.Is(err, api.ErrNoEngine):
		return fmt.Sprintf("%v: set --addr or SEGUE_ADDR to where the engine listens", err)
	case isProblem && problem.Status == http.StatusUnauthorized:
		return fmt.Sprintf("the engine at %s does not know this token: set --token or SEGUE_TOKEN to what its http.token_file holds", addr)
	default:
		return err.Error()
	}
}

// cause is the innermost error: the machine's own word.
func cause(err error) error {
	for {
		var next error
		switch e := err.(type) { //nolint:errorlint // it walks the chain itself
		case interface{ Unwrap() error }:
			next = e.Unwrap()
		case interface{ Unwrap() []error }:
			if list := e.Unwrap(); len(list) > 0 {
				next = list[len(list)-1]
			}
		}
		if next == nil {
			return err
		}
		err = next
	}
}
