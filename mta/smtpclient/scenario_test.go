// SPDX-License-Identifier: Apache-2.0

package smtpclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
)

// TestScenarios runs the dialogues of testdata/scenarios. Each case is a script
// for the peer; the arguments of "deliver" are
//
//	to=(a,b)          recipients (local parts @example.org); default a
//	times=N           transactions on one connection; stops where it is not reusable
//	ext=(A,B_1)       EHLO keywords, "_" for a space; "none" for none
//	policy=required   TLS policy; the peer offers STARTTLS with tls
//	tls               the peer offers STARTTLS
//	size=N            octets of the body
//	cancel=D          the context is cancelled after D
//	fate=refused      refused, blackhole, nosource
//	show              prints the commands that the peer saw, and in how many flights
//	commands          the same without flights
//	idle=D            wait between transactions
//	window=N          octets that the peer may be behind; default 32 KiB
//	certificate=none  the peer's certificate is no certificate; or expired
//	nochunking        DATA, whatever is offered
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		t.Helper()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			var out string
			synctest.Test(t, func(t *testing.T) { out = scenario(t, d) })
			return out
		})
	})
}

var (
	source = netip.MustParseAddr("192.0.2.10")
	target = netip.MustParseAddrPort("203.0.113.25:25")
)

func scenario(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var out strings.Builder
	n := mtatest.NewNet()
	n.Window = 32 << 10
	if d.HasArg("window") {
		n.ReplyWindow = n.Window
		d.ScanArgs(t, "window", &n.Window)
	}
	mx := &mtatest.Exchanger{Name: "mx1.example.org", Rules: mtatest.Script(d.Input)}
	if d.HasArg("ext") {
		mx.Extensions = values(d, "ext")
		for i, x := range mx.Extensions {
			mx.Extensions[i] = strings.ReplaceAll(x, "_", " ")
		}
		if mx.Extensions[0] == "none" {
			mx.Extensions = []string{}
		}
	}
	opts := smtpclient.Options{
		Network: n, Local: source, Remote: target, Host: "mx1.example.org", Hello: "a1.mail.example.net",
	}
	if d.HasArg("tls") {
		cert, pool, err := mtatest.Certificate("mx1.example.org")
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case !d.HasArg("certificate"):
		case values(d, "certificate")[0] == "none":
			cert.Certificate = [][]byte{[]byte("nonsense")}
		default:
			time.Sleep(100 * 365 * 24 * time.Hour) // a bubble has its own years
		}
		mx.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		opts.TLSConfig = &tls.Config{RootCAs: pool}
	}
	opts.NoChunking = d.HasArg("nochunking")
	if d.HasArg("policy") {
		opts.TLS = smtpclient.TLSPolicy(values(d, "policy")[0])
	}
	if d.HasArg("host") {
		opts.Host = values(d, "host")[0]
	}
	if err := mx.Start(n, target.String()); err != nil {
		t.Fatal(err)
	}
	defer mx.Close()
	fate(t, d, n)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if d.HasArg("cancel") {
		defer time.AfterFunc(duration(t, d, "cancel"), cancel).Stop()
	}
	begin := time.Now()
	deliver(ctx, t, d, opts, &out)
	took := time.Since(begin)
	synctest.Wait()
	fmt.Fprintf(&out, "peer: connections=%d messages=%d", mx.Connections(), len(mx.Messages()))
	if v := mx.Violations(); len(v) > 0 {
		fmt.Fprintf(&out, " violations=%q", v)
	}
	if took > 0 {
		fmt.Fprintf(&out, " took=%s", took)
	}
	if d.HasArg("show") {
		fmt.Fprintf(&out, " flights=%d", mx.Flights())
	}
	out.WriteByte('\n')
	if d.HasArg("show") || d.HasArg("commands") {
		for _, c := range mx.Commands() {
			fmt.Fprintf(&out, "> %s\n", c)
		}
	}
	return out.String()
}

func fate(t *testing.T, d *datadriven.TestData, n *mtatest.Net) {
	t.Helper()
	if !d.HasArg("fate") {
		return
	}
	switch f := values(d, "fate")[0]; f {
	case "refused":
		n.Fail(target, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	case "blackhole":
		n.Blackhole(target)
	case "nosource":
		n.Plumb(netip.MustParseAddr("192.0.2.99"))
	default:
		t.Fatalf("unknown fate %q", f)
	}
}

func deliver(ctx context.Context, t *testing.T, d *datadriven.TestData, opts smtpclient.Options, out io.Writer) {
	t.Helper()
	c, err := smtpclient.Dial(ctx, opts)
	if err != nil {
		printError(out, "dial", err)
		return
	}
	defer c.Close()
	if d.HasArg("tls") {
		fmt.Fprintf(out, "encrypted=%t\n", c.TLS() != nil)
	}
	times := 1
	if d.HasArg("times") {
		d.ScanArgs(t, "times", &times)
	}
	for i := range times {
		if i > 0 && d.HasArg("idle") {
			time.Sleep(duration(t, d, "idle"))
		}
		tx := transaction(t, d)
		res := c.Send(ctx, tx)
		for j, o := range res.Recipients {
			if !o.Answered() {
				fmt.Fprintf(out, "%s: no answer\n", tx.To[j].Local)
				continue
			}
			verdict := "temporary"
			if o.Delivered() {
				verdict = "delivered"
			} else if o.Permanent() {
				verdict = "permanent"
			}
			fmt.Fprintf(out, "%s: %s: %s (%s)\n", tx.To[j].Local, verdict, o.Reply, o.Phase)
		}
		if res.Err != nil {
			printError(out, "send", res.Err)
		}
		fmt.Fprintf(out, "mail_sent=%t reusable=%t\n", res.MailSent, res.Reusable)
		if !res.Reusable {
			return
		}
	}
}

func transaction(t *testing.T, d *datadriven.TestData) *smtpclient.Transaction {
	t.Helper()
	to := []string{"a"}
	if d.HasArg("to") {
		to = values(d, "to")
	}
	tx := &smtpclient.Transaction{
		From:     rfc5321.Address{Local: "bounce+token", Domain: "b.example.net"},
		Parts:    [][]byte{[]byte("Subject: hi\r\n"), []byte("\r\n.hello\r\n")},
		EightBit: d.HasArg("eightbit"),
		UTF8:     d.HasArg("utf8"),
	}
	if d.HasArg("size") {
		var size int
		d.ScanArgs(t, "size", &size)
		tx.Parts = append(tx.Parts, bytes.Repeat([]byte("0123456789abcdef0123456789abcd\r\n"), (size+31)/32))
	}
	for _, local := range to {
		tx.To = append(tx.To, rfc5321.Address{Local: local, Domain: "example.org"})
	}
	return tx
}

// printError prints an error by its properties, so that the text of the
// standard library does not matter.
func printError(out io.Writer, what string, err error) {
	var e *smtpclient.Error
	if !errors.As(err, &e) {
		fmt.Fprintf(out, "%s: not an *Error: %v\n", what, err)
		return
	}
	fmt.Fprintf(out, "%s failed: phase=%s", what, e.Phase)
	if e.Reply.Code != 0 {
		fmt.Fprintf(out, " reply=%q", e.Reply)
	}
	for _, k := range []struct {
		name string
		is   bool
	}{
		{"timeout", e.Timeout()},
		{"cancelled", errors.Is(e, context.Canceled)},
		{"refused", errors.Is(e, syscall.ECONNREFUSED)},
		{"no_source", errors.Is(e, syscall.EADDRNOTAVAIL)},
		{"reset", errors.Is(e, syscall.ECONNRESET)},
		{"closed", errors.Is(e, io.EOF) || errors.Is(e, io.ErrUnexpectedEOF) || errors.Is(e, syscall.EPIPE)},
		{"bad_reply", errors.Is(e, smtpclient.ErrReply)},
		{"no_tls", errors.Is(e, smtpclient.ErrNoTLS)},
		{"tls_failed", e.TLSFailed},
		{"stale", e.Stale},
		{"chunking", e.Chunking},
		{"sent", e.Sent},
	} {
		if k.is {
			fmt.Fprintf(out, " %s", k.name)
		}
	}
	fmt.Fprintln(out)
}

func values(d *datadriven.TestData, name string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == name {
			return a.Vals
		}
	}
	return nil
}

func duration(t *testing.T, d *datadriven.TestData, name string) time.Duration {
	t.Helper()
	v, err := time.ParseDuration(values(d, name)[0])
	if err != nil {
		t.Fatal(err)
	}
	return v
}
