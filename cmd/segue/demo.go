// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta"
	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/demo"
)

// demoCmd shows the engine against simulated mailbox providers.
type demoCmd struct {
	JSON     bool   `name:"json" help:"Print JSON."`
	Keep     bool   `help:"Leave everything running until interrupted, and keep the files."`
	Messages int    `help:"Messages to send, and contacts to make." default:"20000" placeholder:"COUNT"`
	Seed     uint64 `help:"Another seed makes other people." default:"1" placeholder:"NUMBER"`
}

// demoLeast is the fewest messages with which every part of a demo has some.
const demoLeast = 500

// Run runs the demo. It fails when the numbers do not balance.
func (c *demoCmd) Run(a *app) error {
	if c.Messages < demoLeast {
		return fmt.Errorf("--messages %d is too few to show anything: take at least %d", c.Messages, demoLeast)
	}
	dir, err := os.MkdirTemp("", "segue-demo-")
	if err != nil {
		return fmt.Errorf("making a directory for the demo: %w", err)
	}
	if !c.Keep {
		defer os.RemoveAll(dir)
	}
	logFile, err := os.Create(filepath.Join(dir, "segue.log")) //nolint:gosec // in a directory of our own
	if err != nil {
		return fmt.Errorf("making the log of the demo: %w", err)
	}
	defer logFile.Close()
	log := slog.New(slog.NewTextHandler(logFile, nil))
	meter := newMeter(a.errors)
	var printed error
	o := demo.Options{
		Start: func(ctx context.Context, file string) (*demo.Engine, error) { return startEngine(ctx, file, log) },
		Dir:   dir, Contacts: c.Messages, Messages: c.Messages, Seed: c.Seed, Logger: log, Progress: meter.show, Now: a.now,
	}
	if c.Keep {
		o.Keep = func(ctx context.Context, r *demo.Report) {
			meter.end()
			printed = c.print(a, r)
			c.invite(a, r)
			<-ctx.Done()
		}
	}
	report, err := demo.Run(a.ctx, o)
	meter.end()
	switch {
	case err != nil && !(c.Keep && errors.Is(err, context.Canceled) && report != nil && report.Took > 0):
		return err
	case !c.Keep:
		printed = c.print(a, report)
	}
	if printed == nil && !report.Balanced {
		return fmt.Errorf("the demo does not balance: %s", report.Problem)
	}
	return printed
}

func (c *demoCmd) print(a *app, r *demo.Report) error {
	if c.JSON {
		return a.json(r)
	}
	_, err := io.WriteString(a.out, r.Text())
	return err
}

// invite says how to look around in what is left running.
func (c *demoCmd) invite(a *app, r *demo.Report) {
	_, _ = fmt.Fprintf(a.errors, `
It is still running; an interrupt ends it. Its files are in %s
  export SEGUE_ADDR=%s SEGUE_TOKEN=$(cat %s/token)
  segue queue ls --tier dormant
`, r.Dir, r.HTTP, r.Dir)
}

// startEngine starts an engine in this process.
func startEngine(ctx context.Context, file string, log *slog.Logger) (*demo.Engine, error) {
	c, problems := config.Load(file)
	if !config.Failed(problems) {
		problems = append(problems, mta.Check(c)...)
	}
	if config.Failed(problems) {
		var lines []string
		for _, p := range problems {
			lines = append(lines, p.String())
		}
		return nil, errors.New(strings.Join(lines, "; "))
	}
	token, err := os.ReadFile(string(c.HTTP.TokenFile))
	if err != nil {
		return nil, fmt.Errorf("reading the token: %w", err)
	}
	started := make(chan struct{})
	e, err := mta.New(mta.Options{Config: c, Logger: log, Version: version(), Started: func() { close(started) }})
	if err != nil {
		return nil, err
	}
	// What stops the engine is Stop, after the last look at it.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	select {
	case <-started:
	case err := <-done:
		stop()
		return nil, fmt.Errorf("the engine stopped at once: %w", err)
	}
	out := &demo.Engine{
		Submission: addrPort(e.Addr("submission", 0)), Feedback: addrPort(e.Addr("feedback", 0)), HTTP: addrPort(e.Addr("http", 0)),
	}
	client, err := api.NewClient(out.HTTP.String(), strings.TrimSpace(string(token)))
	if err != nil {
		stop()
		return nil, errors.Join(err, <-done)
	}
	out.API = client
	out.Stop = func() error {
		client.Close()
		stop()
		return <-done
	}
	return out, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return netip.AddrPortFrom(t.AddrPort().Addr().Unmap(), t.AddrPort().Port())
	}
	return netip.AddrPort{}
}

// meter tells people how far it is: on one line of a terminal, else now and then.
type meter struct {
	w        io.Writer
	terminal bool
	shown    time.Duration
	open     bool
}

func newMeter(w io.Writer) *meter {
	p := &meter{w: w, shown: -progressEvery}
	if f, ok := w.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	return p
}

// progressEvery is how often a line is written where there is no terminal.
const progressEvery = 5 * time.Second

func (p *meter) show(x demo.Progress) {
	if !p.terminal && x.Elapsed-p.shown < progressEvery {
		return
	}
	p.shown = x.Elapsed
	line := fmt.Sprintf("%3.0fs  %-10s  submitted %d of %d  delivered %d  bounced %d  waiting %d",
		x.Elapsed.Seconds(), x.Phase, x.Submitted, x.Total, x.Delivered, x.Bounced, x.Waiting)
	if !p.terminal {
		_, _ = fmt.Fprintln(p.w, line)
		return
	}
	p.open = true
	_, _ = fmt.Fprintf(p.w, "\r%s\x1b[K", line)
}

// end leaves the line.
func (p *meter) end() {
	if p.open {
		_, _ = fmt.Fprintln(p.w)
		p.open = false
	}
}
