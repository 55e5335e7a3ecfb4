// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta"
)

type serveCmd struct {
	Config string `required:"" placeholder:"FILE" help:"The configuration."`
}

// Run is the engine, until a signal ends it.
func (c *serveCmd) Run(a *app) error {
	conf, problems := load(c.Config)
	if config.Failed(problems) {
		for _, p := range problems {
			_, _ = fmt.Fprintln(a.errors, clean(p.String())) // there is nobody else to tell
		}
		bad, warnings := count(problems)
		return fmt.Errorf("%s is not valid: %s", c.Config, tally(bad, warnings))
	}
	log, err := newLogger(a.errors, string(conf.Log.Level), conf.Log.Format == config.LogJSON)
	if err != nil {
		return err
	}
	for _, p := range problems {
		log.Warn("configuration", slog.String("problem", p.String()))
	}
	notify := notifier{socket: os.Getenv("NOTIFY_SOCKET"), log: log}
	if err := mta.AwaitSpace(a.ctx, conf, log); err != nil || a.ctx.Err() != nil {
		return err // nil where a signal ended the wait: nothing was begun
	}
	engine, err := mta.New(mta.Options{
		Config: conf, Logger: log, Version: version(), Started: func() { notify.send("READY=1") },
	})
	if err != nil {
		return err
	}
	defer context.AfterFunc(a.ctx, func() { notify.send("STOPPING=1") })()
	return engine.Run(a.ctx)
}
