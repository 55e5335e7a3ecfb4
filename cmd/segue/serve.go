// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

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
	// What is made holds mail and keys: as the unit has it, also where segue is started by hand.
	syscall.Umask(0o077)
	defer ignoreHangup(log)()
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

// ignoreHangup keeps the engine running at a SIGHUP, by which other servers are told to read their
// configuration again, and says what does that here. Without, the process would end without a drain, and
// systemd would take that for an end that was wanted.
func ignoreHangup(log *slog.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var told sync.WaitGroup
	told.Go(func() {
		for range hangups {
			log.Warn("SIGHUP changes nothing: the configuration is read at the start, so restart for it; " +
				"certificates are read again by themselves, rules by segue bounce reload and segue provider reload")
		}
	})
	return func() {
		signal.Stop(hangups)
		close(hangups)
		told.Wait()
	}
}
