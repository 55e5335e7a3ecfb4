// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// machine is a host with both clocks, and whoever looks at them every five seconds.
type machine struct {
	start time.Time
	mono  time.Duration
	set   time.Duration // by how much the wall was set
	rate  float64       // of the wall against the monotonic clock
	s     State
	out   strings.Builder
}

func newMachine() *machine {
	return &machine{start: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), rate: 1}
}

func (m *machine) read() Reading {
	return Reading{Wall: m.start.Add(time.Duration(float64(m.mono)*m.rate) + m.set), Mono: m.mono}
}

var names = map[Change]string{Froze: "froze", Returned: "returned", Accepted: "accepted", Confirmed: "confirmed"}

func (m *machine) note(c Change) {
	if c != None {
		fmt.Fprintf(&m.out, "%s after %v, now %s\n", names[c], m.mono, m.s.Now(m.read()).Format("Jan 2 15:04:05"))
	}
}

// run lets time pass.
func (m *machine) run(d time.Duration) {
	for end := m.mono + d; m.mono < end; {
		m.mono += min(5*time.Second, end-m.mono)
		var c Change
		m.s, c = m.s.Step(m.read())
		m.note(c)
	}
}

func (m *machine) do(t *testing.T, line string) {
	t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	length := func() time.Duration {
		d, err := time.ParseDuration(rest)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	switch word {
	case "start":
		m.s = Start(m.read())
	case "resume", "resume-frozen": // the stored time, against the wall
		m.s = Resume(m.read(), m.read().Wall.Add(length()), word == "resume-frozen")
	case "run":
		m.run(length())
	case "set":
		m.set += length()
	case "slew": // parts in a million
		var ppm float64
		if _, err := fmt.Sscan(rest, &ppm); err != nil {
			t.Fatal(err)
		}
		before := m.read().Wall
		m.rate = 1 + ppm/1e6
		m.set += before.Sub(m.read().Wall)
	case "confirm":
		var c Change
		m.s, c = m.s.Confirm(m.read())
		m.note(c)
	default:
		t.Fatalf("unknown word %q", word)
	}
}

func TestClockConversations(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Helper()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			m := newMachine()
			lines := bufio.NewScanner(strings.NewReader(d.Input))
			for lines.Scan() {
				m.do(t, lines.Text())
			}
			r := m.read()
			state := "steady"
			if m.s.Frozen() {
				state = fmt.Sprintf("frozen, %v left", m.s.Left(r))
			}
			fmt.Fprintf(&m.out, "%s: wall %s, now %s, settled %s, jump %v\n", state,
				r.Wall.Format("15:04:05"), m.s.Now(r).Format("15:04:05"), m.s.Settled(r).Format("15:04:05"), m.s.Jump(r).Round(time.Second))
			return m.out.String()
		})
	})
}

// Whatever is done to the wall: as long as it is not believed, Now keeps the
// pace of the monotonic clock and Settled stands still; and neither ever leaves
// the pace by more than Tolerance without a change that says so.
func TestClockNeverJumpsUnsaid(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		m := newMachine()
		m.s = Start(m.read())
		for range 400 {
			if rng.IntN(10) == 0 {
				m.set += time.Duration(rng.NormFloat64() * float64(20*time.Minute))
			}
			before, now, settled := m.s, m.s.Now(m.read()), m.s.Settled(m.read())
			step := time.Duration(rng.IntN(60)) * time.Second
			m.mono += step
			next, change := before.Step(m.read())
			m.s = next
			drift := m.s.Now(m.read()).Sub(now) - step
			if (change == None || change == Froze) && !within(drift) {
				t.Fatalf("seed %d: now left the pace by %v with change %d", seed, drift, change)
			}
			if before.Frozen() && next.Frozen() && (drift != 0 || !m.s.Settled(m.read()).Equal(settled)) {
				t.Fatalf("seed %d: frozen, but now moved by %v and settled to %v", seed, drift, m.s.Settled(m.read()))
			}
		}
	}
}

// Times of the running machine carry a monotonic reading, which Sub would take
// instead of the wall: a step would never be seen.
func TestClockIgnoresTheMonotonicReadingOfAWall(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := Start(Reading{Wall: now})
	r := Reading{Wall: now.Add(time.Hour), Mono: time.Second}
	if got := s.Now(r); got.Sub(now) != time.Second {
		t.Errorf("an hour ahead within a second: now went on by %v", got.Sub(now))
	}
}

func TestClockReadsWithoutAllocation(t *testing.T) {
	s := Start(Reading{Wall: time.Now()})
	r := Reading{Wall: time.Now(), Mono: time.Second}
	if n := testing.AllocsPerRun(100, func() { _ = s.Now(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
