// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/mtatest"
)

// Listeners that are made to be attacked.
const (
	impatientPort = "3587" // trusts the world, two seconds of patience
	publicPort    = "4587" // STARTTLS, two connections of an address, eight of all
	tlsPort       = "4465" // TLS from the first octet, two seconds of patience
)

const besieged = `
[[listener]]
purpose = "submission"
address = "%[1]s:3587"
trust = ["127.0.0.0/8"]
trust_as = "local"
idle_timeout = "2s"
[[listener]]
purpose = "submission"
address = "%[1]s:4587"
tls = "starttls"
cert_file = "%[2]s/cert.pem"
key_file = "%[2]s/key.pem"
max_connections = 8
max_connections_per_address = 2
[[listener]]
purpose = "submission"
address = "%[1]s:4465"
tls = "implicit"
cert_file = "%[2]s/cert.pem"
key_file = "%[2]s/key.pem"
idle_timeout = "2s"
`

// Addresses that clients come from.
const (
	owner    = 100
	stranger = 150 // and those above
)

// siege is an engine under attack and the exchanger that sees what gets out.
type siege struct {
	*world
	mx         *mtatest.Exchanger
	sent       int
	goroutines float64
}

// attack is something that clients do.
type attack struct {
	name string
	do   func(*siege)
}

func attacks() []attack {
	return []attack{
		{"stalled text", (*siege).stall},
		{"stray octets", (*siege).strayOctets},
		{"endless lines", (*siege).endlessLines},
		{"garbage without end", (*siege).garbage},
		{"slow connections at the limit", (*siege).slowloris},
		{"guessed passwords", (*siege).guess},
		{"chunks that lie", (*siege).lyingChunks},
		{"disconnects", (*siege).disconnect},
		{"half a handshake", (*siege).halfHandshake},
		{"too many recipients", (*siege).manyRecipients},
		{"commands in place of a message", (*siege).unsynchronised},
		{"many at once", (*siege).crowd},
	}
}

// What strangers do to the listeners of a running engine leaves nothing behind:
// the next decent client is served, nothing of the attack is queued or sent, and
// memory and goroutines are what they were.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	s := &siege{world: newWorld(t)}
	s.mx = s.exchanger(50, []string{"dest.example"})
	s.login()
	s.more += fmt.Sprintf(besieged, s.ip(1), s.dir)
	s.start()
	s.sane()
	s.goroutines = s.metric("go_goroutines")
	for _, attack := range attacks() {
		t.Run(attack.name, func(t *testing.T) {
			s.within(t, func() {
				attack.do(s)
				s.sane()
			})
		})
	}
	t.Logf("memory at most %d MB, %.0f goroutines before and %.0f after", s.kilobytes("VmHWM")>>10, s.goroutines, s.metric("go_goroutines"))
	s.balance()
	s.stop()
	s.verify()
	t.Run("a full disk", func(t *testing.T) { s.within(t, s.fullDisk) })
}

// within lets a subtest use the world of its parent.
func (s *siege) within(t *testing.T, f func()) {
	t.Helper()
	outer := s.t
	s.t = t
	defer func() { s.t = outer }()
	f()
}

// Bounds that only a leak passes: this engine stays at about 100 MB and gives
// every connection a goroutine or two.
const (
	mostMemory     = 300 << 10 // kB
	moreGoroutines = 25
)

// served sees that a decent client is.
func (s *siege) served() {
	s.t.Helper()
	s.sent++
	to := fmt.Sprintf("good%d@dest.example", s.sent)
	s.submit("", to)
	wait(s.t, "the message of a decent client", func() bool { return received(s.mx.Messages())[to] > 0 })
}

// sane checks that the engine is as it was.
func (s *siege) sane() {
	s.t.Helper()
	s.served()
	s.empty()
	once(s.t, "the exchanger", received(s.mx.Messages()), s.sent)
	if got := s.must("queue", "ls", "--json"); strings.Contains(got, "@") {
		s.t.Errorf("left in the queue: %s", got)
	}
	for _, m := range s.mx.Messages() {
		if text := string(m.Data); !strings.Contains(text, "secret-of-the-body") || strings.Contains(text, "smuggled") {
			s.t.Errorf("to %v arrived:\n%s", m.To, text)
		}
	}
	if kb := s.kilobytes("VmHWM"); kb > mostMemory {
		s.t.Errorf("the engine took %d MB", kb>>10)
	}
	if s.goroutines > 0 {
		wait(s.t, "the goroutines of the attack to end", func() bool { return s.metric("go_goroutines") <= s.goroutines+moreGoroutines })
	}
}
