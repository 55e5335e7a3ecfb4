// SPDX-License-Identifier: Apache-2.0

package mtatest_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/mtatest"
)

// visitor sends messages to an exchanger from an address, each on a connection of
// its own, and notes what it was told.
type visitor struct {
	t    *testing.T
	net  *mtatest.Net
	from netip.Addr
}

func (v *visitor) connect(script string) string {
	v.t.Helper()
	c, err := v.net.Dial(v.t.Context(), v.from, server)
	if err != nil {
		v.t.Fatal(err)
	}
	defer c.Close()
	said, err := mtatest.Conversation(c, script, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	return said
}

// send sends n messages on one connection and returns the first refusal, or the
// last answer.
func (v *visitor) send(n int, subject string) string {
	v.t.Helper()
	said := v.connect("<\nEHLO a.test\n" + strings.Repeat(message(subject), n))
	last := ""
	for line := range strings.Lines(strings.ReplaceAll(said, "(closed)\n", "")) {
		if last = line; line[0] >= '4' {
			break
		}
	}
	return last
}

func message(subject string) string {
	return "MAIL FROM:<a@x.test>\nRCPT TO:<b@y.test>\nDATA\n> Subject: " + subject + "\n> \n.\n"
}

func visit(t *testing.T, rules []mtatest.Rule, f func(a, b *visitor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := mtatest.NewNet()
		e := &mtatest.Exchanger{Rules: rules}
		if err := e.Start(n, server.String()); err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		f(&visitor{t, n, netip.MustParseAddr("192.0.2.1")}, &visitor{t, n, netip.MustParseAddr("192.0.2.2")})
	})
}

// expect compares the beginning of an answer.
func (v *visitor) expect(what, got, want string) {
	v.t.Helper()
	if !strings.HasPrefix(got, want) {
		v.t.Errorf("%s: %s was told %q, not %q", what, v.from, got, want)
	}
}

// The quota is each address's own; the penalty ends by itself, and what is tried
// meanwhile does not lengthen it.
func TestProviderHasAQuotaForEachAddress(t *testing.T) {
	rules := mtatest.Provider("yahoo", mtatest.Manner{Quota: 3, Within: 30 * time.Minute, Penalty: 2 * time.Hour})
	visit(t, rules, func(a, b *visitor) {
		a.expect("within its quota", a.send(3, "hello"), "250 ")
		a.expect("over it", a.send(1, "hello"), "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred")
		b.expect("another address", b.send(3, "hello"), "250 ")
		time.Sleep(119 * time.Minute)
		a.expect("an hour after the quota's end", a.send(1, "hello"), "421 4.7.0 [TSS04]")
		time.Sleep(2 * time.Minute)
		a.expect("after the penalty", a.send(3, "hello"), "250 ")
		a.expect("over it again", a.send(1, "hello"), "421 4.7.0 [TSS04]")
	})
}

// A message that is on its way counts, until it is answered or its connection ends.
func TestProviderCountsMessagesOnTheirWay(t *testing.T) {
	visit(t, mtatest.Provider("yahoo", mtatest.Manner{Quota: 2}), func(a, b *visitor) {
		a.expect("the first", a.send(1, "hello"), "250 ")
		c, err := a.net.Dial(a.t.Context(), a.from, server)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mtatest.Conversation(c, "<\nEHLO a.test\nMAIL FROM:<a@x.test>\n", nil); err != nil {
			t.Fatal(err)
		}
		a.expect("while the second is on its way", a.send(1, "hello"), "421 ")
		b.expect("another address", b.send(2, "hello"), "250 ")
		_ = c.Close()
		synctest.Wait()
		for _, end := range []string{"RSET\n", "EHLO a.test\n"} {
			a.connect("<\nEHLO a.test\nMAIL FROM:<a@x.test>\n" + end)
		}
		a.expect("when it has not come", a.send(1, "hello"), "250 ")
		a.expect("the third", a.send(1, "hello"), "421 ")
	})
}

func TestProviderCountsConnectionsAndMessagesOnOne(t *testing.T) {
	visit(t, mtatest.Provider("microsoft", mtatest.Manner{Connections: 2}), func(a, b *visitor) {
		var open []interface{ Close() error }
		for range 2 {
			c, err := a.net.Dial(a.t.Context(), a.from, server)
			if err != nil {
				a.t.Fatal(err)
			}
			open = append(open, c)
		}
		synctest.Wait()
		a.expect("a third connection", a.connect("<\n"), "421 4.3.2 The maximum number of concurrent server connections")
		b.expect("another address", b.connect("<\n"), "220 ")
		_ = open[0].Close()
		synctest.Wait()
		a.expect("after one was closed", a.connect("<\n"), "220 ")
		_ = open[1].Close()
	})
	visit(t, mtatest.Provider("yahoo", mtatest.Manner{PerConnection: 2}), func(a, _ *visitor) {
		a.expect("two messages", a.send(2, "hello"), "250 ")
		a.expect("three", a.send(3, "hello"), "421 Max message per connection reached")
	})
}

func TestProviderReadsTheMessage(t *testing.T) {
	visit(t, mtatest.Provider("google", mtatest.Manner{}), func(a, b *visitor) {
		a.expect("an offer", a.send(1, "X-Offer"), "550-5.7.1 [192.0.2.1      12] Gmail has detected")
		a.expect("no offer", a.send(2, "hello"), "250 ")
		b.expect("an offer", b.send(1, "x-offer"), "550-5.7.1 [192.0.2.2 ")
	})
	rules := mtatest.Script("mail from=192.0.2.2 over=1 : 450 enough")
	visit(t, rules, func(a, b *visitor) {
		a.expect("not meant", a.send(2, "hello"), "250 ")
		b.expect("meant, the first", b.send(1, "hello"), "250 ")
		time.Sleep(48 * time.Hour)
		b.expect("meant, ever after", b.send(1, "hello"), "450 ")
	})
}

func TestProvidersAreWhatTheyAreCalled(t *testing.T) {
	if names := fmt.Sprint(mtatest.Providers()); names != "[apple comcast gmx google microsoft orange qq yahoo]" {
		t.Errorf("providers are %s", names)
	}
	for _, name := range mtatest.Providers() {
		if all, some := mtatest.Provider(name, mtatest.Manner{Quota: 1, Connections: 1, PerConnection: 1}), mtatest.Provider(name, mtatest.Manner{}); len(all) <= len(some) {
			t.Errorf("%s has %d rules with limits and %d without", name, len(all), len(some))
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("there is a provider called hooli")
		}
	}()
	mtatest.Provider("hooli", mtatest.Manner{})
}
