// SPDX-License-Identifier: Apache-2.0

package deliver

import (
	"context"
	"net/netip"
	"testing"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/mx"
	"github.com/seguemta/segue/mta/resolve"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
)

// road leads everywhere to one address.
type road struct{ to netip.AddrPort }

func (r road) Resolve(context.Context, string) (mx.Target, error) {
	return mx.Target{Site: "mx.dest.example", Hosts: []mx.Host{{Name: "mx.dest.example", Port: 25}}}, nil
}

func (r road) Addresses(context.Context, mx.Host, resolve.Families) ([]netip.AddrPort, error) {
	return []netip.AddrPort{r.to}, nil
}

func (road) Classify(string, rfc5321.Reply) (class, verdict, subject string) {
	return "Other", "ignore", ""
}

// lane is a deliverer with one exchanger at the end of the road.
func lane(t *testing.T, rules ...string) (*Deliverer, *mtatest.Exchanger) {
	t.Helper()
	n := mtatest.NewNet()
	e := &mtatest.Exchanger{Name: "mx.dest.example", Extensions: []string{"PIPELINING"}, Rules: mtatest.Script(rules...)}
	if err := e.Start(n, "198.51.100.5:25"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	r := road{netip.MustParseAddrPort("198.51.100.5:25")}
	d, err := New(Options{
		Router: r, Classifier: r, Network: n,
		Sources: map[string]Source{"a1": {V4: netip.MustParseAddr("192.0.2.10"), Hostname: "a1.example.net"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, e
}

func job(local string) *queue.Job {
	text := "Subject: x\r\n\r\nbody\r\n"
	return &queue.Job{
		Source: "a1", Domain: "dest.example", MessageID: 1, Body: []byte(text),
		Message:    &store.Message{Sender: rfc5321.Address{Local: "s", Domain: "example.com"}, HeaderSize: 14},
		Recipients: []store.Entry{{ID: store.ID{Message: 1}, Recipient: store.Recipient{Address: rfc5321.Address{Local: local, Domain: "dest.example"}}}},
	}
}

// A kept connection that the peer has closed meanwhile is no attempt: the mail
// goes over a new one at once instead of waiting for its next try.
func TestAConnectionClosedWhileIdleCostsNoAttempt(t *testing.T) {
	d, e := lane(t, "dot @1 : 250 ok then close")
	c, res := d.Dial(t.Context(), job("ann"))
	if res != nil {
		t.Fatalf("%+v", res)
	}
	defer c.Close()
	for i, local := range []string{"ann", "bob", "eve"} {
		res := c.Send(t.Context(), job(local))
		if len(res.Outcomes) != 1 || res.Outcomes[0].Kind != queue.Delivered || !res.MailSent || !res.Usable || res.Failed {
			t.Errorf("%s: %+v", local, res)
		}
		if n := len(e.Messages()); n != i+1 {
			t.Errorf("%d messages arrived after %d", n, i+1)
		}
	}
	if n := e.Connections(); n != 2 {
		t.Errorf("%d connections, not 2", n)
	}
}

// Where no new connection is to be had, the site has failed.
func TestAStaleConnectionToASiteThatIsGone(t *testing.T) {
	d, e := lane(t, "dot @1 : 250 ok then close", "banner @2 : 421 closed then close")
	c, res := d.Dial(t.Context(), job("ann"))
	if res != nil {
		t.Fatalf("%+v", res)
	}
	defer c.Close()
	c.Send(t.Context(), job("ann"))
	res = c.Send(t.Context(), job("bob"))
	if res.Outcomes[0].Kind != queue.Deferred || res.MailSent || res.Usable || !res.Failed {
		t.Errorf("%+v", res)
	}
	if n := e.Connections(); n != 2 {
		t.Errorf("%d connections, not 2", n)
	}
}
