// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
)

// ledger is what the world outside the engine knows: which messages were
// answered 250, and which the exchanger has.
type ledger struct {
	mu    sync.Mutex
	acked []string
}

func (l *ledger) ack(subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, subject)
}

func (l *ledger) snapshot() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.acked...)
}

// subjects counts the messages at the exchanger by subject.
func (w *town) subjects() map[string]int {
	m := make(map[string]int)
	for _, msg := range w.mx.Messages() {
		for line := range strings.SplitSeq(string(msg.Data), "\r\n") {
			if s, ok := strings.CutPrefix(line, "Subject: "); ok {
				m[s]++
				break
			}
		}
	}
	return m
}

// pump submits messages until ctx ends and notes which were answered 250.
func (w *town) pump(ctx context.Context, l *ledger, worker int) {
	c, err := smtpclient.Dial(ctx, smtpclient.Options{
		Network: w.net, Local: netip.MustParseAddr("127.0.0.1"), Remote: netip.MustParseAddrPort("127.0.0.1:2587"), Hello: "app.example.com", TLS: smtpclient.TLSNone,
	})
	if err != nil {
		return
	}
	defer c.Abort()
	from, to := rfc5321.Address{Local: "news", Domain: "example.com"}, rfc5321.Address{Domain: "dest.example"}
	for i := 0; ctx.Err() == nil; i++ {
		subject := fmt.Sprintf("m-%d-%d", worker, i)
		to.Local = fmt.Sprintf("r%d", i%7)
		text := "From: <news@example.com>\r\nSubject: " + subject + "\r\n\r\n" + strings.Repeat("x", i*37%2000) + "\r\n"
		res := c.Send(ctx, &smtpclient.Transaction{From: from, To: []rfc5321.Address{to}, Parts: [][]byte{[]byte(text)}})
		if res.Err != nil {
			return
		}
		if res.Recipients[0].Delivered() {
			l.ack(subject)
		}
	}
}

// connections is how many deliveries can be in flight: delivery.connections of one source at one site.
const connections = 5

// crash runs the whole engine under load, cuts the power of each store at a
// moment of its own, starts it again on what the disks kept, and lets it finish.
func crash(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	mail, people := vfs.NewCrashableMem(), vfs.NewCrashableMem()
	w := newTown(t)
	w.mailFS, w.peopleFS = mail, people
	w.run()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := &ledger{}
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { w.pump(ctx, l, i) })
	}
	cut := func(fs *vfs.MemFS, after uint64, look func()) *vfs.MemFS {
		for {
			durable, changed := w.mail.Durable()
			if durable >= after {
				look()
				return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			}
			<-changed
		}
	}
	var acked []string
	var before map[string]int
	look := func() { acked, before = l.snapshot(), w.subjects() }
	first, second := uint64(rng.IntN(300)), uint64(rng.IntN(300))
	var mailLeft, peopleLeft *vfs.MemFS
	if first <= second {
		mailLeft = cut(mail, first, look)
		peopleLeft = cut(people, second, func() {})
	} else {
		peopleLeft = cut(people, second, func() {})
		mailLeft = cut(mail, first, look)
	}
	stop()
	wg.Wait()
	w.stop()
	lived := w.subjects() // until the stop: the world went on after the cut

	w.mailFS, w.peopleFS = mailLeft, peopleLeft
	w.run()
	w.settle("the rest to be delivered", func() bool { t := w.queue.Total(); return t.Waiting+t.Held+t.InFlight == 0 })
	w.stop()
	w.verify()
	after := w.subjects()
	for _, s := range acked {
		if after[s] == 0 {
			t.Errorf("seed %d: %s was answered 250 and is lost", seed, s)
		}
	}
	twice := 0
	for s, n := range after {
		if n > lived[s]+1 || n > 2 {
			t.Errorf("seed %d: %s was delivered %d times", seed, s, n)
		}
		if n == 2 && before[s] == 1 {
			twice++
		}
	}
	if twice > connections {
		t.Errorf("seed %d: %d were delivered again; at most the %d in flight may be", seed, twice, connections)
	}
	t.Logf("seed %d: %d answered, %d delivered before the cut, %d after, %d again", seed, len(acked), len(before), len(after), twice)
}

func TestPowerCutsLoseNothing(t *testing.T) {
	for seed := range uint64(12) {
		crash(t, seed)
	}
}
