// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
)

func rules(t *testing.T, texts ...string) []Rule {
	t.Helper()
	var list []Rule
	for _, text := range texts {
		r, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

// A rule is written as it is read, and what cannot be meant is refused.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"rcpt 2% 450 4.2.0 try again later", "rcpt @dest3.example 550 5.1.1 no such user", "connect 1% 421 4.3.2 too busy",
		"data 0.5% drop", "dot bob@x 10% delay 200ms", "mail drop",
	} {
		if r := rules(t, text)[0]; r.String() != text {
			t.Errorf("%q was read as %q", text, r)
		}
	}
	for _, text := range []string{
		"", "rcpt", "rset drop", "rcpt 2%", "rcpt 200% drop", "rcpt -1% drop", "rcpt NaN% drop", "rcpt x% drop", "rcpt 250 ok", "rcpt 4500 later",
		"rcpt delay", "rcpt delay 0s", "rcpt delay 2h", "rcpt drop it", "connect @x drop", "mail a@x drop",
	} {
		if r, err := ParseRule(text); err == nil || !strings.Contains(err.Error(), "say PHASE") {
			t.Errorf("%q was read as %q, %v", text, r, err)
		}
	}
}

// Rules choose the same mail in every run, whatever order it comes in, and other
// mail with another seed. What was deferred is chosen anew when it comes again.
func TestRulesAreRepeatable(t *testing.T) {
	t.Parallel()
	refused := func(seed uint64, connections int) (map[string]int, string) {
		var ledger bytes.Buffer
		r, _ := run(t, SendOptions{Connections: connections, Messages: 2000, Size: 1, Ledger: &ledger},
			SinkOptions{Rules: rules(t, "rcpt 10% 450 4.2.0 later", "dot 10% 554 5.6.0 spam"), Seed: seed})
		return r.Errors, strings.Join(lines(&ledger), "")
	}
	first, accepted := refused(1, 1)
	if first["450"] < 150 || first["450"] > 250 || first["554"] < 130 || first["554"] > 230 {
		t.Errorf("a tenth of 2000 was refused twice, in %v", first)
	}
	if again, same := refused(1, 7); !maps.Equal(first, again) || accepted != same {
		t.Errorf("%v, and with the same seed %v", first, again)
	}
	if _, other := refused(2, 1); accepted == other {
		t.Error("another seed chooses the same mail")
	}
	synctest.Test(t, func(t *testing.T) {
		r, k := run(t, SendOptions{Messages: 500, Size: 1, Retry: true}, SinkOptions{Messages: 500, Rules: rules(t, "rcpt 50% 450 4.2.0 later"), Seed: 1})
		if r.Accepted != 500 || k.Messages != 500 || r.Errors["450"] < 400 || r.Errors["450"] != k.Rules["rcpt 50% 450 4.2.0 later"] {
			t.Errorf("half of 500, half of them again, and so on: %+v", r)
		}
	})
}

// Each phase does what its rule says.
func TestPhases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule   string
		errors map[string]int
		taken  int
	}{
		{"mail 421 4.7.0 enough", map[string]int{"421": 4}, 0},
		{"mail drop", map[string]int{"connection": 4}, 0},
		{"rcpt @dest1.example 550 5.1.1 nobody", map[string]int{"550": 2}, 2},
		{"rcpt @DEST1 drop", map[string]int{"connection": 2}, 2},
		{"data 452 4.3.1 full", map[string]int{"452": 4}, 0},
		{"data drop", map[string]int{"connection": 4}, 0},
		{"dot r00000000@ 451 4.3.0 later", map[string]int{"451": 1}, 3},
		{"dot drop", map[string]int{"connection": 4}, 0},
		{"dot delay 5s", map[string]int{}, 4},
		{"connect delay 5s", map[string]int{}, 4},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				r, k := run(t, SendOptions{Messages: 4, Domains: Destinations(2), Size: 100 << 10},
					SinkOptions{Rules: rules(t, c.rule), Duration: time.Minute})
				if !maps.Equal(r.Errors, c.errors) || k.Messages != c.taken || k.Recipients != c.taken {
					t.Errorf("sent %+v, took %+v", r, k)
				}
				if strings.Contains(c.rule, "delay") && r.Last.Sub(began) < 5*time.Second {
					t.Errorf("it took %s", r.Last.Sub(began))
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r, k := run(t, SendOptions{Messages: 4, Connections: 4}, SinkOptions{Rules: rules(t, "connect 50% 421 4.3.2 busy"), Seed: 3, Duration: time.Minute})
		if r.Accepted != 4 || k.Connections <= 4 || k.Connections != 4+k.Rules["connect 50% 421 4.3.2 busy"] {
			t.Errorf("sent %+v, took %+v", r, k)
		}
	})
}

// Through every kind of trouble each message arrives once, and both ledgers say so.
func TestChaos(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent, taken bytes.Buffer
		r, k := run(t, SendOptions{Connections: 10, Messages: 500, Retry: true, Ledger: &sent},
			SinkOptions{Quiet: time.Minute, Rules: Chaos(0.2), Seed: 1, Ledger: &taken})
		if len(k.Rules) != len(Chaos(0.2)) {
			t.Errorf("not every rule met mail: %v", k.Rules)
		}
		if dead := r.Errors["550"]; dead == 0 || r.Accepted != 500-dead || k.Messages != r.Accepted || k.Unique != r.Accepted || k.Duplicates != 0 {
			t.Errorf("sent %+v, took %+v", r, k)
		}
		if !slices.Equal(lines(&sent), lines(&taken)) {
			t.Error("the ledgers differ")
		}
	})
}

// What comes again is seen, messages are looked at for signatures, and BDAT is
// as good as DATA.
func TestSinkCounts(t *testing.T) {
	t.Parallel()
	for _, chunking := range []bool{false, true} {
		t.Run(fmt.Sprint("chunking ", chunking), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				network := mtatest.NewNet()
				k, err := NewSink(t.Context(), SinkOptions{Network: network, Listen: []string{sinkAddress, "127.0.0.2:2525"}, SignedEach: 1, Chunking: chunking, Messages: 3})
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- k.Run(t.Context()) }()
				for i, text := range []string{"Subject: x\r\nDKIM-Signature: v=1\r\n\r\nx\r\n", "Subject: x\r\n\r\nDKIM-Signature: no\r\n", "dkim-signature: v=1\r\n\r\n.\r\n"} {
					at := netip.MustParseAddrPort([]string{sinkAddress, "127.0.0.2:2525"}[i%2])
					c, err := smtpclient.Dial(t.Context(), smtpclient.Options{Network: network, Remote: at, Hello: "x.test", TLS: smtpclient.TLSNone})
					if err != nil {
						t.Fatal(err)
					}
					res := c.Send(t.Context(), &smtpclient.Transaction{
						From: rfc5321.Address{Local: "a", Domain: "x.test"}, Parts: [][]byte{[]byte(text)},
						To: []rfc5321.Address{{Local: "same", Domain: "y.test"}, {Local: fmt.Sprint(i), Domain: "y.test"}},
					})
					if res.Err != nil || !res.Recipients[1].Delivered() {
						t.Errorf("%+v", res)
					}
					c.Close()
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if r := k.Report(); r.Messages != 3 || r.Recipients != 6 || r.Unique != 4 || r.Duplicates != 2 || r.Signed != 2 || r.Unsigned != 1 {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

func FuzzParseRule(f *testing.F) {
	for _, text := range []string{"rcpt 2% 450 4.2.0 later", "rcpt @x drop", "dot delay 1s", "connect 1e-3% 421 x", "data a@b 0.5% 599"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		if !(r.Share >= 0 && r.Share <= 1) || (r.Reply == "") == (!r.Drop && r.Delay == 0) {
			t.Errorf("%q was read as %+v", text, r)
		}
		again, err := ParseRule(r.String())
		if err != nil || again.String() != r.String() {
			t.Errorf("%q was read as %q, and that as %q, %v", text, r, again, err)
		}
	})
}
