// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
	"github.com/seguemta/segue/queue/store"
)

const testConfig = `
hostname = "mta1.mail.example.net"
data_dir = "%[1]s/data"
secrets_dir = "%[1]s/secrets"
shutdown_deadline = "5s"
[dns]
servers = ["192.0.2.53:53"]
[rehearsal]
private_targets = ["198.51.100.0/24"]
[delivery]
pool = "standard"
retry = ["1m", "5m"]
[http]
address = "127.0.0.1:8025"
[public]
address = "127.0.0.1:8080"
url = "https://u.example.com"
[[listener]]
purpose = "submission"
address = "127.0.0.1:2587"
trust = ["127.0.0.0/8"]
trust_as = "shop"
[[listener]]
purpose = "feedback"
address = "127.0.0.1:2525"
[[credential]]
name = "shop"
streams = ["marketing", "transactional"]
domains = ["example.com"]
[[domain]]
name = "example.com"
return_path = "bounce.example.com"
[[domain.dkim]]
selector = "s1"
key_file = "%[1]s/dkim.pem"
[[source]]
name = "a1"
addresses = ["192.0.2.10"]
hostname = "a1.mail.example.net"
[[source]]
name = "cold"
addresses = ["192.0.2.11"]
hostname = "cold.mail.example.net"
plan = "warmup"
[[pool]]
name = "standard"
[[pool.member]]
source = "a1"
[[pool]]
name = "prime"
excess = "overflow"
overflow = "standard"
[[pool.member]]
source = "cold"
[[plan]]
name = "warmup"
pace = false
[[plan.stage]]
tiers = ["active"]
per_day = { default = 2 }
[[tier]]
name = "active"
pool = "prime"
[[attribute]]
name = "contact.status"
type = "text"
[[segment]]
name = "trial"
order = 10
where = 'contact.status == "trial"'
`

const zone = `dest.example. 300 IN MX 10 mx.dest.example.
mx.dest.example. 300 IN A 198.51.100.5
inside.example. 300 IN MX 10 localhost.inside.example.
localhost.inside.example. 300 IN A 127.0.0.1
nomail.example. 300 IN MX 0 .
`

// town is an engine with the little internet around it.
type town struct {
	*Engine
	t        testing.TB
	net      *mtatest.Net
	mx       *mtatest.Exchanger
	zones    *mtatest.Zones
	mailFS   vfs.FS
	peopleFS vfs.FS
	wall     func() time.Time // the wall clock; nil = the bubble's
	dir      string
	change   *strings.Replacer // of the configuration; nil = none
	stop     func()
	ended    func() error // waits for the engine to end by itself
}

func newTown(t testing.TB, rules ...string) *town {
	t.Helper()
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(filepath.Join(dir, "dkim.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	w := &town{t: t, dir: dir, net: mtatest.NewNet(), mailFS: vfs.NewMem(), peopleFS: vfs.NewMem()}
	w.zones = mtatest.NewZones(zone)
	w.net.HandleDNS(netip.MustParseAddrPort("192.0.2.53:53"), w.zones.Handle)
	w.mx = &mtatest.Exchanger{Name: "mx.dest.example", Extensions: []string{"PIPELINING", "8BITMIME"}, Rules: mtatest.Script(rules...)}
	if err := w.mx.Start(w.net, "198.51.100.5:25"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.mx.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// run starts the engine and stops it at the end of the test.
func (w *town) run() {
	w.t.Helper()
	text := fmt.Sprintf(testConfig, w.dir)
	if w.change != nil {
		text = w.change.Replace(text)
	}
	c, problems := config.Parse("segue.toml", []byte(text))
	for _, p := range append(problems, Check(c)...) {
		if !p.Warning {
			w.t.Fatal(p)
		}
	}
	started := make(chan struct{})
	e, err := New(Options{Config: c, Network: w.net, MailFS: w.mailFS, PeopleFS: w.peopleFS, Now: w.wall, Started: func() { close(started) }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Engine = e
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	<-started
	stopped := false
	w.ended = func() error {
		stopped = true
		defer cancel()
		return <-done
	}
	w.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				w.t.Error(err)
			}
		}
	}
	w.t.Cleanup(w.stop)
}

// submit sends a message over SMTP and returns the reply.
func (w *town) submit(header string, to ...string) rfc5321.Reply {
	w.t.Helper()
	c, err := smtpclient.Dial(w.t.Context(), smtpclient.Options{
		Network: w.net, Local: netip.MustParseAddr("127.0.0.1"), Remote: netip.MustParseAddrPort("127.0.0.1:2587"), Hello: "app.example.com", TLS: smtpclient.TLSNone,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	tx := &smtpclient.Transaction{From: address(w.t, "news@example.com"), Parts: [][]byte{[]byte(header + "From: Shop <news@example.com>\r\nSubject: hello\r\n\r\nbody\r\n")}}
	for _, a := range to {
		tx.To = append(tx.To, address(w.t, a))
	}
	res := c.Send(w.t.Context(), tx)
	if res.Err != nil {
		w.t.Fatal(res.Err)
	}
	return res.Recipients[0].Reply
}

func address(t testing.TB, s string) rfc5321.Address {
	t.Helper()
	a, err := rfc5321.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// settle waits until the contacts have followed the events and a condition holds.
func (w *town) settle(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := w.queue.Counted(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		durable, _ := w.mail.Durable()
		if w.contacts.consumed() >= durable && ok() {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("waiting for %s: queue %+v, events %v", what, w.queue.Total(), w.kinds())
		}
	}
}

func (w *town) kinds() []string {
	list, err := w.mail.Events(0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = string(e.Kind) + " " + e.Address + " " + e.Reason + e.Reply
	}
	return out
}

// event is the last event of a kind about an address.
func (w *town) has(kind, addr string) bool {
	for _, s := range w.kinds() {
		if strings.HasPrefix(s, kind+" "+addr+" ") {
			return true
		}
	}
	return false
}

func TestAMessageGoesAllTheWay(t *testing.T) {
	w := newTown(t)
	w.run()
	r := w.submit("X-Segue-Campaign: spring\r\n", "ann@dest.example")
	if r.Code != 250 || !strings.Contains(r.Text, "queued as ") {
		t.Fatalf("submission: %s", r)
	}
	w.settle("the delivery", func() bool { return w.has("delivered", "ann@dest.example") })
	got := w.mx.Messages()
	if len(got) != 1 {
		t.Fatalf("%d messages arrived", len(got))
	}
	text := string(got[0].Data)
	for _, want := range []string{"DKIM-Signature: ", "X-Segue-Ref: ", "Received: by mta1.mail.example.net", "Message-ID: ", "Date: ", "Subject: hello", "\r\n\r\nbody\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the message lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "X-Segue-Campaign") {
		t.Error("X-Segue-Campaign left the house")
	}
	if !strings.HasSuffix(got[0].From, "@bounce.example.com") {
		t.Errorf("envelope sender %s", got[0].From)
	}
	c, err := w.Methods().Contact(t.Context(), "ann@dest.example")
	if err != nil || c.Sends != 1 || c.Tier != "new" {
		t.Errorf("contact %+v, %v", c, err)
	}
	w.stop()
	w.verify()
}

// verify opens the stores again and checks them.
func (w *town) verify() {
	w.t.Helper()
	s, err := store.Open(store.Options{Dir: filepath.Join(w.dir, "data/queue"), FS: w.mailFS})
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	list, err := store.Verify(s)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, v := range list {
		w.t.Errorf("violation: %s", v)
	}
}

// A host that offers CHUNKING gets the message by BDAT, unless delivery.chunking is off.
func TestChunkingIsUsedAndCanBeSwitchedOff(t *testing.T) {
	for key, verb := range map[string]string{"": "BDAT ", "chunking = false": "DATA"} {
		w := newTown(t)
		w.mx.Extensions = []string{"PIPELINING", "CHUNKING"}
		w.change = strings.NewReplacer("[delivery]\n", "[delivery]\n"+key+"\n")
		w.run()
		w.submit("", "ann@dest.example")
		w.settle("the delivery", func() bool { return w.has("delivered", "ann@dest.example") })
		if said := strings.Join(w.mx.Commands(), "\n"); !strings.Contains(said, "\n"+verb) || len(w.mx.Messages()) != 1 || len(w.mx.Violations()) > 0 {
			t.Errorf("with %q the exchanger heard\n%s\n%q", key, said, w.mx.Violations())
		}
		w.stop()
	}
}
