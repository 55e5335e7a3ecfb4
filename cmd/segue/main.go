// SPDX-License-Identifier: Apache-2.0

// Command segue is the engine and the hands of its operator in one program.
//
//	segue serve --config FILE    runs the engine
//	segue check --config FILE    says everything that is wrong with a configuration
//	segue demo                   shows the whole engine on this machine alone
//	segue simulate               plays weeks of sending without a network: what each safeguard is worth
//	segue bench send, bench sink put a mail server of this machine under load and take what it delivers
//
// The other commands ask or order a running engine over HTTP, through package
// mta/api and nothing else: an engine on another machine is steered alike. They print
// tables, or JSON with --json, and end with one line on stderr and status 1 when they
// fail, 2 when they were called wrongly.
//
// The program decides nothing: package mta assembles the engine, config reads its
// files. Here are flags, signals, the logger and the printing; main is the place
// to start reading, then the file of a command's noun.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // budget_zone works where the system has no zones

	"github.com/alecthomas/kong"
)

// commands is the grammar; the contract of their names is in ARCHITECTURE.md.
type commands struct {
	Serve       serveCmd       `cmd:"" help:"Run the engine."`
	Check       checkCmd       `cmd:"" help:"Check a configuration, or hash a password for it."`
	Demo        demoCmd        `cmd:"" help:"Show the whole engine on this machine alone, against simulated providers."`
	Simulate    simulateCmd    `cmd:"" help:"Play weeks of sending in seconds, with and without each safeguard."`
	Bench       benchCmd       `cmd:"" help:"Put a mail server of this machine under load, and take what it delivers."`
	Queue       queueCmd       `cmd:"" help:"See and steer queued mail."`
	Segment     segmentCmd     `cmd:"" help:"See segments."`
	Contact     contactCmd     `cmd:"" help:"See and import contacts."`
	Pool        poolCmd        `cmd:"" help:"See pools."`
	Source      sourceCmd      `cmd:"" help:"See, pause and resume sources."`
	Provider    providerCmd    `cmd:"" help:"See, cancel and pin what sources may do at providers."`
	Warmup      warmupCmd      `cmd:"" help:"See, steer and plan warm-ups."`
	Health      healthCmd      `cmd:"" help:"See what is wrong, why, and what undoes it."`
	Clock       clockCmd       `cmd:"" help:"See and confirm the time that the engine lives by."`
	Suppression suppressionCmd `cmd:"" help:"See, add and lift suppressions."`
	Bounce      bounceCmd      `cmd:"" help:"See and reload the rules of bounces."`
	Complaint   complaintCmd   `cmd:"" help:"See and close complaint cases."`
	Tokens      tokensCmd      `cmd:"" help:"See and rotate the keys that sign return paths and tokens."`
	Events      eventsCmd      `cmd:"" help:"Follow what happens."`

	Version kong.VersionFlag `help:"Print the version and end."`
}

// app is what commands are given: the outside world.
type app struct {
	ctx    context.Context //nolint:containedctx // it is the run of the program
	in     io.Reader
	out    io.Writer
	errors io.Writer
	now    func() time.Time
	remote *remote // of operator commands
}

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

// errSaid ends the program with status 1 when everything has been said.
var errSaid = errors.New("failed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(&app{ctx: ctx, in: os.Stdin, out: os.Stdout, errors: os.Stderr, now: time.Now}, os.Args[1:]))
}

// run carries one command line out and returns the exit status.
func run(a *app, args []string) int {
	parser, err := kong.New(&commands{}, kong.Name("segue"),
		kong.Description("Segue sends mail in the order of who is likely to want it."),
		kong.Writers(a.out, a.errors), kong.Vars{"version": version()}, kong.Bind(a),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}))
	if err != nil {
		return a.fail(err, exitUsage)
	}
	k, err := parser.Parse(args)
	if err != nil {
		if pe, ok := errors.AsType[*kong.ParseError](err); ok && pe.Context != nil {
			return a.fail(fmt.Errorf("%w (%s --help says more)", err, commandOf(pe.Context)), exitUsage)
		}
		return a.fail(err, exitUsage)
	}
	if err := k.Run(); err != nil {
		return a.fail(err, exitFailed)
	}
	return 0
}

// commandOf is the part of the command line that was understood.
func commandOf(k *kong.Context) string {
	words := []string{"segue"}
	for _, p := range k.Path {
		if p.Command != nil {
			words = append(words, p.Command.Name)
		}
	}
	return strings.Join(words, " ")
}

// fail says what went wrong, on one line.
func (a *app) fail(err error, status int) int {
	if errors.Is(err, errSaid) {
		return status
	}
	text := strings.Join(strings.FieldsFunc(explain(a, err), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	_, _ = fmt.Fprintf(a.errors, "segue: %s\n", clean(text)) // there is nobody else to tell
	return status
}

// version is what the build recorded.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				v += "-" + s.Value[:12]
			}
		}
	}
	return v
}
