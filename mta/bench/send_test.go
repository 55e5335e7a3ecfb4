// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/mtatest"
)

// against sends to a scripted server, inside a bubble where time costs nothing.
func against(t *testing.T, o SendOptions, script ...string) (*SendReport, *mtatest.Exchanger, error) {
	t.Helper()
	o.Network = mtatest.NewNet()
	o.To = netip.MustParseAddrPort(sinkAddress)
	e := &mtatest.Exchanger{Rules: mtatest.Script(script...)}
	if err := e.Start(o.Network, sinkAddress); err != nil {
		t.Fatal(err)
	}
	r, err := Send(t.Context(), o)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if v := e.Violations(); len(v) > 0 {
		t.Errorf("the sender broke the protocol: %v", v)
	}
	return r, e, err
}

// What is refused at any point is counted by its code, is not in the ledger, and
// the next message goes out as if nothing had been.
func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		script string
		errors map[string]int
	}{
		{"mail @2 : 451 4.3.0 later", map[string]int{"451": 1}},
		{"rcpt @2 : 550 5.1.1 nobody", map[string]int{"550": 1}},
		{"rcpt @2 : 450 4.2.0 later\ndata @2 : 354 go ahead", map[string]int{"450": 1}},
		{"data @2 : 452 4.3.1 full", map[string]int{"452": 1}},
		{"dot @2 : 554 5.6.0 spam", map[string]int{"554": 1}},
		{"dot @2 : close", map[string]int{"connection": 1}},
		{"mail @2 : reset", map[string]int{"connection": 1}},
		{"mail @2 : 421 4.7.0 enough then close", map[string]int{"421": 1}},
		{"mail @2 : whatever", map[string]int{"connection": 1}},
		{"dot @2 : silent", map[string]int{"connection": 1}},
		{"banner @1 : 421 4.3.2 busy then close", map[string]int{}},
		{"ehlo @1 : 502 what", map[string]int{}},
	} {
		t.Run(c.script, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var ledger bytes.Buffer
				r, e, err := against(t, SendOptions{Messages: 5, Ledger: &ledger}, c.script)
				if err != nil {
					t.Fatal(err)
				}
				failed := 0
				for _, n := range c.errors {
					failed += n
				}
				if r.Sent != 5 || r.Accepted != 5-failed || !maps.Equal(r.Errors, c.errors) {
					t.Errorf("counted %+v", r)
				}
				taken := slices.DeleteFunc(e.Messages(), func(m mtatest.Message) bool { return len(m.To) == 0 })
				if got := len(taken); got != r.Accepted || got != strings.Count(ledger.String(), "\n") || failed > 0 == strings.Contains(ledger.String(), "r00000001@") {
					t.Errorf("the server took %d, the ledger is\n%s", got, ledger.String())
				}
			})
		})
	}
}

// With Retry a message goes on until it is accepted; what is refused for good
// does not.
func TestRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, _, err := against(t, SendOptions{Messages: 5, Retry: true},
			"rcpt r00000003@ : 550 5.1.1 nobody", "dot @2 : 451 4.3.0 later", "dot @3 : close")
		if err != nil || r.Accepted != 4 || !maps.Equal(r.Errors, map[string]int{"451": 1, "connection": 1, "550": 1}) {
			t.Errorf("%v, counted %+v", err, r)
		}
	})
}

// A server that comes back within the patience is waited for; one that does not
// ends the run, with the report of what was before.
func TestPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := mtatest.NewNet()
		o := SendOptions{Network: network, To: netip.MustParseAddrPort(sinkAddress), Messages: 3, Patience: time.Minute}
		began := time.Now()
		time.AfterFunc(50*time.Second, func() {
			e := &mtatest.Exchanger{}
			if err := e.Start(network, sinkAddress); err != nil {
				t.Error(err)
			}
			context.AfterFunc(t.Context(), func() { e.Close() })
		})
		if r, err := Send(t.Context(), o); err != nil || r.Accepted != 3 || time.Since(began) < 50*time.Second {
			t.Errorf("back after 50 s: %+v, %v", r, err)
		}
		o.To = netip.MustParseAddrPort("127.0.0.9:25")
		r, err := Send(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "connecting to 127.0.0.9:25 for 1m0s") || r.Sent != 0 {
			t.Errorf("never there: %+v, %v", r, err)
		}
	})
}

// An interrupt ends the sending, not what is under way.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		network := mtatest.NewNet()
		e := &mtatest.Exchanger{Rules: mtatest.Script("dot : delay 1s then 250 ok")}
		if err := e.Start(network, sinkAddress); err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		time.AfterFunc(2500*time.Millisecond, cancel)
		r, err := Send(ctx, SendOptions{Network: network, To: netip.MustParseAddrPort(sinkAddress), Messages: 100})
		if err != nil || r.Sent != 3 || r.Accepted != 3 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// Acceptance is from the final dot on, the transaction from MAIL on.
func TestWhatIsMeasured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, _, err := against(t, SendOptions{Messages: 100},
			"rcpt : delay 100ms then 250 ok", "dot @7 : delay 5s then 250 ok", "dot : delay 200ms then 250 ok")
		near := func(got, want float64) bool { return got >= want && got < want*1.02 }
		if err != nil || !near(r.Acceptance.P50, 200) || !near(r.Acceptance.P99, 200) || r.Acceptance.Max != 5000 || !near(r.Transaction.P50, 300) || r.Transaction.Max != 5100 {
			t.Errorf("%+v, %v", r, err)
		}
		if want := 100 / (99*0.3 + 5.1); !near(r.Rate, want) {
			t.Errorf("rate %f, want %f", r.Rate, want)
		}
	})
}

// A message has the size that was asked for, whatever its number, no bare line
// ends, and a Message-ID and a recipient of its own.
func TestMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{1, 400, 1000, 10240, 102400} {
			_, e, err := against(t, SendOptions{Messages: 80, Size: size, Stream: "transactional", Domains: Destinations(3), Recipients: 70})
			if err != nil {
				t.Fatal(err)
			}
			ids, to := map[string]bool{}, map[string]bool{}
			for _, m := range e.Messages() {
				text := string(m.Data)
				if size >= 400 && len(text) != size {
					t.Errorf("%d octets, want %d", len(text), size)
				}
				if bare := strings.ReplaceAll(text, "\r\n", ""); strings.ContainsAny(bare, "\r\n") || !strings.HasSuffix(text, "\r\n") {
					t.Errorf("bare line ends in %q", text)
				}
				if !strings.Contains(text, "\r\nTo: <"+m.To[0]+">\r\n") || !strings.Contains(text, "\r\nX-Segue-Stream: transactional\r\n") {
					t.Errorf("header of %q", text[:300])
				}
				_, id, _ := strings.Cut(text, "\r\nMessage-ID: ")
				ids[strings.SplitN(id, "\r\n", 2)[0]] = true
				to[m.To[0]] = true
			}
			if len(ids) != 80 || len(to) != 70 || !to["r00000069@dest0.example"] {
				t.Errorf("%d Message-IDs, %d recipients: %v", len(ids), len(to), to)
			}
		}
	})
}

// A body ends with a line end and has no bare one, wherever it was cut.
func TestBodies(t *testing.T) {
	t.Parallel()
	for size := range 400 {
		b := body(size)
		if bare := bytes.ReplaceAll(b, []byte("\r\n"), nil); len(b) != max(size, 4) || !bytes.HasSuffix(b, []byte("\r\n")) || bytes.ContainsAny(bare, "\r\n") {
			t.Errorf("%d octets: %q", size, b)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

// A ledger that cannot be written is worth nothing.
func TestLedgerFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if _, _, err := against(t, SendOptions{Messages: 1, Ledger: full{}}); err == nil || !strings.Contains(err.Error(), "writing the ledger: no space") {
			t.Errorf("%v", err)
		}
	})
}

// Whatever a server says, it is one reply or an error.
func FuzzReply(f *testing.F) {
	for _, text := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "354 \n", "25", "999 x\r\n", "250\r\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l := &line{r: bufio.NewReader(bytes.NewReader(text))}
		for range bytes.Count(text, []byte("\n")) {
			code, err := l.reply()
			if err != nil {
				return
			}
			if code < 200 || code > 599 {
				t.Fatalf("%q has the code %d", text, code)
			}
		}
		if code, err := l.reply(); err == nil {
			t.Fatalf("%q has one reply more: %d", text, code)
		}
	})
}
