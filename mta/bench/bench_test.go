// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/mtatest"
)

const sinkAddress = "127.0.0.1:2525"

// run lets a sink take what a sender sends, both inside the test.
func run(t *testing.T, send SendOptions, sink SinkOptions) (*SendReport, SinkReport) {
	t.Helper()
	network := mtatest.NewNet()
	sink.Network, sink.Listen = network, []string{sinkAddress}
	k, err := NewSink(t.Context(), sink)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- k.Run(t.Context()) }()
	send.Network, send.To = network, netip.MustParseAddrPort(sinkAddress)
	r, err := Send(t.Context(), send)
	if err != nil {
		t.Fatal(err)
	}
	if sink.Messages > 0 || sink.Quiet > 0 || sink.Duration > 0 {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	return r, k.Report()
}

// lines are the lines of a ledger, in order of the alphabet.
func lines(b *bytes.Buffer) []string { return slices.Sorted(strings.Lines(b.String())) }

// Everything that is answered 250 is in the sender's ledger, and it is what the
// sink took: a message is never there twice.
func TestLedgersAgree(t *testing.T) {
	t.Parallel()
	var sent, taken bytes.Buffer
	r, k := run(t, SendOptions{Connections: 8, Messages: 1000, Domains: Destinations(3), Size: 2000, Ledger: &sent},
		SinkOptions{Messages: 1000, Ledger: &taken})
	if r.Sent != 1000 || r.Accepted != 1000 || len(r.Errors) != 0 {
		t.Errorf("the sender counts %+v", r)
	}
	if k.Messages != 1000 || k.Recipients != 1000 || k.Unique != 1000 || k.Duplicates != 0 || k.Connections < 1 || k.Connections > 8 || k.Octets != 2000*1000 {
		t.Errorf("the sink counts %+v", k)
	}
	if a, b := lines(&sent), lines(&taken); !slices.Equal(a, b) || len(a) != 1000 || a[0] != "r00000000@dest0.example\n" || a[999] != "r00000999@dest0.example\n" {
		t.Errorf("ledgers of %d and %d lines differ", len(a), len(b))
	}
	if r.Rate <= 0 || k.Rate <= 0 || r.Acceptance.P50 <= 0 || r.Acceptance.P50 > r.Acceptance.P99 || r.Acceptance.P99 > r.Acceptance.Max || r.Transaction.Max < r.Acceptance.Max {
		t.Errorf("measured %+v", r)
	}
}

// A load generator is no weapon against others.
func TestLoadStaysHere(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"192.0.2.1:25", "[2001:db8::1]:25", "10.255.255.1:25", "0.0.0.0:25"} {
		network := mtatest.NewNet()
		_, err := Send(t.Context(), SendOptions{Network: network, To: netip.MustParseAddrPort(to), Messages: 1})
		if !errors.Is(err, ErrForeign) || len(network.Dials()) != 0 {
			t.Errorf("sending to %s: %v", to, err)
		}
		if _, err := NewSink(t.Context(), SinkOptions{Network: network, Listen: []string{to}}); !errors.Is(err, ErrForeign) {
			t.Errorf("listening at %s: %v", to, err)
		}
	}
}

func TestDurationAndRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, k := run(t, SendOptions{Connections: 2, Rate: 20, Duration: time.Minute}, SinkOptions{Quiet: 5 * time.Second})
		if r.Sent != 1200 || r.Accepted != 1200 || k.Messages != 1200 || r.Last.Sub(r.First) != time.Minute-50*time.Millisecond {
			t.Errorf("a minute at 20/s: sent %+v, took %+v", r, k)
		}
	})
}
