// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/bench"
)

// benchCmd holds the two ends of a benchmark.
type benchCmd struct {
	Send benchSend `cmd:"" help:"Send messages to a server of this machine as fast as it takes them, and measure."`
	Sink benchSink `cmd:"" help:"Take mail, count it, and misbehave by rules."`
}

type benchSend struct {
	To          string        `required:"" help:"Server, on this machine." placeholder:"ADDRESS:PORT"`
	Connections int           `help:"Connections at one time." default:"50" placeholder:"COUNT"`
	Messages    int           `help:"Messages to send; 0 = until --seconds are over." default:"0" placeholder:"COUNT"`
	Seconds     float64       `help:"Begin no message after so many seconds." placeholder:"NUMBER"`
	Rate        float64       `help:"Messages a second; 0 = as fast as they are accepted." default:"0" placeholder:"NUMBER"`
	Size        string        `help:"Size of a message with its header." default:"10k" placeholder:"SIZE"`
	From        string        `help:"Sender." default:"news@example.com" placeholder:"ADDRESS"`
	Domains     string        `help:"How many recipient domains, dest0.example and so on, or their names with commas." default:"5" placeholder:"COUNT|NAMES"`
	Recipients  int           `help:"Different recipients; 0 = another for each message." default:"0" placeholder:"COUNT"`
	Prefix      string        `help:"What recipients begin with." default:"r" placeholder:"TEXT"`
	Stream      string        `help:"X-Segue-Stream of the messages." placeholder:"STREAM"`
	Retry       bool          `help:"Send again what was answered 4xx or cut, until it is accepted."`
	Patience    time.Duration `help:"How long the server may be away." default:"10s" placeholder:"DURATION"`
	Ledger      string        `help:"Write each recipient whose message was answered 250." placeholder:"FILE"`
	JSON        bool          `name:"json" help:"Print JSON."`
}

// Run sends. It fails when a message was not accepted.
func (c *benchSend) Run(a *app) error {
	o := bench.SendOptions{
		Connections: c.Connections, Messages: c.Messages, Duration: seconds(c.Seconds), Rate: c.Rate, From: c.From,
		Recipients: c.Recipients, Prefix: c.Prefix, Stream: c.Stream, Retry: c.Retry, Patience: c.Patience,
	}
	var err error
	if o.To, err = netip.ParseAddrPort(c.To); err != nil {
		return fmt.Errorf("--to %s: say ADDRESS:PORT, the address in digits: %w", c.To, err)
	}
	if o.Size, err = bench.ParseSize(c.Size); err != nil {
		return fmt.Errorf("--size: %w", err)
	}
	if o.Domains = strings.Split(c.Domains, ","); len(o.Domains) == 1 {
		if n, err := strconv.ParseUint(c.Domains, 10, 16); err == nil {
			o.Domains = bench.Destinations(int(n))
		}
	}
	file, err := create(c.Ledger)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
		o.Ledger = file
	}
	r, err := bench.Send(a.ctx, o)
	if r != nil {
		if err := c.print(a, r); err != nil {
			return err
		}
	}
	if err == nil && r.Accepted < r.Sent {
		err = fmt.Errorf("%d of %d messages were not accepted", r.Sent-r.Accepted, r.Sent)
	}
	return err
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// create makes a file, or none where there is no name.
func create(name string) (*os.File, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // there is nothing to write to, and that is no error
	}
	return os.Create(name) //nolint:gosec // the operator names it
}

func (c *benchSend) print(a *app, r *bench.SendReport) error {
	if c.JSON {
		return a.json(r)
	}
	latency := func(l bench.Latency) string {
		return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms, longest %.1f ms", l.P50, l.P99, l.Max)
	}
	return a.pairs(
		[2]string{"sent", number(r.Sent)}, [2]string{"accepted", number(r.Accepted)}, [2]string{"not accepted", counted(r.Errors)},
		[2]string{"rate", fmt.Sprintf("%.0f messages/s", r.Rate)},
		[2]string{"acceptance", latency(r.Acceptance)}, [2]string{"transaction", latency(r.Transaction)},
	)
}

// counted lists counters by name.
func counted(m map[string]int) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s: %d", name, m[name]))
	}
	return strings.Join(list, ", ")
}

type benchSink struct {
	Listen     []string      `required:"" help:"Where to listen, on this machine; again for more." placeholder:"ADDRESS:PORT"`
	Name       string        `help:"Name of the host in its greeting." default:"sink.example" placeholder:"NAME"`
	Messages   int           `help:"End after so many; 0 = go on." default:"0" placeholder:"COUNT"`
	Seconds    float64       `help:"End after so many seconds." placeholder:"NUMBER"`
	Quiet      time.Duration `help:"End when nothing came for so long." placeholder:"DURATION"`
	Delay      time.Duration `help:"Wait before the reply to a message." placeholder:"DURATION"`
	Rule       []string      `sep:"none" help:"PHASE [@MATCH] [SHARE%] ACTION, such as 'rcpt 2% 450 4.2.0 later'; again for more." placeholder:"RULE"`
	Script     string        `help:"Rules, one a line; # begins a comment." placeholder:"FILE"`
	Chaos      float64       `help:"Share of the mail, 0 to 1, that meets each kind of trouble." placeholder:"SHARE"`
	Seed       uint64        `help:"Another seed chooses other mail for rules." default:"1" placeholder:"NUMBER"`
	SignedEach int           `help:"Look at every so manieth message for a DKIM signature." placeholder:"COUNT"`
	Chunking   bool          `help:"Offer BDAT."`
	Ledger     string        `help:"Write each recipient of what was taken." placeholder:"FILE"`
	Report     string        `help:"Write the report here at the end, as JSON." placeholder:"FILE"`
	Stats      string        `help:"Answer every HTTP request at this address with the report so far." placeholder:"ADDRESS:PORT"`
	JSON       bool          `name:"json" help:"Print JSON."`
}

// Run takes mail until there is enough of it, or an interrupt.
func (c *benchSink) Run(a *app) error {
	o := bench.SinkOptions{
		Listen: c.Listen, Name: c.Name, Messages: c.Messages, Duration: seconds(c.Seconds), Quiet: c.Quiet, Delay: c.Delay,
		Seed: c.Seed, SignedEach: c.SignedEach, Chunking: c.Chunking,
	}
	var err error
	if o.Rules, err = c.rules(); err != nil {
		return err
	}
	file, err := create(c.Ledger)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
		o.Ledger = file
	}
	sink, err := bench.NewSink(a.ctx, o)
	if err != nil {
		return err
	}
	stop, err := c.serve(a, sink)
	if err != nil {
		sink.Close()
		return err
	}
	defer stop()
	for _, at := range sink.Addrs() {
		_, _ = fmt.Fprintf(a.errors, "listening at %s\n", at)
	}
	// An interrupt is a way to end it, and no failure.
	failed := sink.Run(a.ctx)
	if err := c.print(a, sink.Report()); err != nil {
		return err
	}
	return failed
}

// serve answers at --stats until it is stopped.
func (c *benchSink) serve(a *app, sink *bench.Sink) (func(), error) {
	if c.Stats == "" {
		return func() {}, nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(a.ctx, "tcp", c.Stats)
	if err != nil {
		return nil, fmt.Errorf("listening at --stats: %w", err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		to := app{out: w}
		_ = to.json(sink.Report()) // who asked has gone
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln) // it ends when it is closed
	}()
	return func() {
		_ = srv.Close() // it has nothing to keep
		<-done
	}, nil
}

func (c *benchSink) rules() ([]bench.Rule, error) {
	lines := c.Rule
	if c.Script != "" {
		text, err := os.ReadFile(c.Script)
		if err != nil {
			return nil, fmt.Errorf("reading the rules: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				lines = append(lines, line)
			}
		}
	}
	var list []bench.Rule
	for _, line := range lines {
		r, err := bench.ParseRule(line)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	switch {
	case c.Chaos < 0 || c.Chaos > 1:
		return nil, fmt.Errorf("--chaos %g: a share is 0 to 1", c.Chaos)
	case c.Chaos > 0:
		list = append(list, bench.Chaos(c.Chaos)...)
	}
	return list, nil
}

func (c *benchSink) print(a *app, r bench.SinkReport) error {
	if c.Report != "" {
		f, err := os.Create(c.Report)
		if err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		to := *a
		to.out = f
		if err := to.json(r); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	if c.JSON {
		return a.json(r)
	}
	looked := ""
	if c.SignedEach > 0 {
		looked = fmt.Sprintf("%d of %d", r.Signed, r.Signed+r.Unsigned)
	}
	return a.pairs(
		[2]string{"messages", number(r.Messages)}, [2]string{"recipients", fmt.Sprintf("%d, %d different, %d that had come before", r.Recipients, r.Unique, r.Duplicates)},
		[2]string{"octets", number(r.Octets)}, [2]string{"connections", number(r.Connections)}, [2]string{"rate", fmt.Sprintf("%.0f messages/s", r.Rate)},
		[2]string{"signed", looked}, [2]string{"rules", counted(r.Rules)},
	)
}
