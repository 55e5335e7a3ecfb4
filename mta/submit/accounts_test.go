// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seguemta/segue/mta/rfc5321"
)

func TestPasswords(t *testing.T) {
	h := HashPassword([]byte("tulip"))
	if !strings.HasPrefix(h, "$argon2id$v=19$m=19456,t=2,p=1$") || h == HashPassword([]byte("tulip")) {
		t.Error(h)
	}
	for password, want := range map[string]bool{"tulip": true, "Tulip": false, "": false, "tulip ": false} {
		if ok, err := VerifyPassword(h, []byte(password)); ok != want || err != nil {
			t.Errorf("%q: %v %v", password, ok, err)
		}
	}
	for _, bad := range []string{
		"", "tulip", "$2y$10$abc", "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
		"$argon2id$v=16$m=19456,t=2,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
		"$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
		"$argon2id$v=19$m=8,t=0,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
		"$argon2id$v=19$m=8,t=1,p=2$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
		"$argon2id$v=19$m=8,t=1,p=1,x=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
		"$argon2id$v=19$m=8,t=1,p=1$short$MTIzNDU2Nzg5MDEyMzQ1Ng", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$short",
	} {
		if _, err := VerifyPassword(bad, []byte("tulip")); !errors.Is(err, ErrPasswordHash) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(cheap("tulip"))
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s)
		if err == nil && h.String() != s {
			t.Fatalf("%q prints as %q", s, h)
		}
	})
}

func code(err error) int {
	if r, ok := errors.AsType[*rfc5321.Refusal](err); ok {
		return r.Reply.Code
	}
	return 0
}

// guesser plays logins against an Accounts in a synctest bubble.
type guesser struct {
	t *testing.T
	a *Accounts
}

// expect logs in and checks the code and how long the answer took.
func (g guesser) expect(from, login string, want int, wait time.Duration) {
	g.t.Helper()
	name, password, _ := strings.Cut(login, ":")
	begin := time.Now()
	_, err := g.a.Verify(g.t.Context(), netip.MustParseAddr(from), name, []byte(password))
	if got, took := code(err), time.Since(begin); got != want || took != wait {
		g.t.Errorf("%s %s: %d after %v, want %d after %v", from, login, got, took, want, wait)
	}
}

// later lets time pass.
func later(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

// Four failures per address and six per account are allowed here.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guesser{t, accounts(t)}
		const bad, good = "203.0.113.1", "198.51.100.1"
		g.expect(good, "shop:tulip", 0, 0)
		for i := 1; i <= 4; i++ {
			g.expect(bad, "shop:guess"+strconv.Itoa(i), 535, time.Duration(i)*time.Second)
		}
		g.expect(bad, "shop:guess5", 421, 0)
		g.expect(bad, "slow:rose", 421, 0)  // right, and too late
		g.expect(bad, "shop:tulip", 421, 0) // right, and remembered for others only: no place to guess on
		g.expect(good, "slow:rose", 0, 0)   // others do not suffer
		g.expect(good, "nobody:x", 535, time.Second)
		g.expect(good, "net:", 535, 2*time.Second) // has no login

		later(11 * time.Minute)
		g.expect(bad, "slow:rose", 0, 0)
	})
}

// Somebody behind the owner's own address guesses: the owner's login is remembered, up
// to a point.
func TestGuessingFromTheOwnersAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guesser{t, accounts(t)}
		const shared = "203.0.113.1"
		g.expect(shared, "shop:tulip", 0, 0)
		for i := 1; i <= 4; i++ {
			g.expect(shared, "shop:guess", 535, time.Duration(i)*time.Second)
		}
		for range 36 {
			g.expect(shared, "shop:tulip", 0, 0)
			g.expect(shared, "shop:guess", 421, 0)
		}
		g.expect(shared, "shop:tulip", 421, 0) // forty failures
		later(11 * time.Minute)
		g.expect(shared, "shop:tulip", 0, 0)
	})
}

// Many addresses guess at one account for weeks. They get six guesses in ten
// minutes; the owner gets in all the time, from where it came before.
func TestABotnetLocksNoOwnerOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guesser{t, accounts(t)}
		const owner, elsewhere = "198.51.100.1", "198.51.100.77"
		// Of the table's tallies each bot has one of its own: two that share one by the
		// chance of a seed are counted together, which is right and not what is asked here.
		var bots []string
		taken := map[int]bool{}
		for i := 0; len(bots) < 40*26+8; i++ {
			a := netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)})
			if at := g.a.byHost.at(hostKey(a)); !taken[at] {
				taken[at] = true
				bots = append(bots, a.String())
			}
		}
		bot := func(i int) string { return bots[i] }
		g.expect(owner, "shop:tulip", 0, 0)
		n := 0
		for range 40 { // days
			for range 6 {
				g.expect(bot(n), "shop:guess", 535, time.Second)
				n++
			}
			for range 20 {
				g.expect(bot(n), "shop:guess", 454, 0)
				n++
			}
			g.expect(bot(n), "shop:tulip", 454, 0) // what is known elsewhere is told to nobody
			g.expect(elsewhere, "shop:tulip", 454, 0)
			g.expect(elsewhere, "slow:rose", 0, 0)
			g.expect(owner, "shop:tulip", 0, 0)
			later(24 * time.Hour)
		}
		g.expect(elsewhere, "shop:tulip", 0, 0)
		g.expect(bot(n), "made-up:x", 535, time.Second)
		for range 5 { // a name that does not exist is answered no differently
			n++
			g.expect(bot(n), "made-up:x", 535, time.Second)
		}
		g.expect(bot(n+1), "made-up:x", 454, 0)
	})
}

// A hundred guesses at once are not a hundred guesses.
func TestGuessesAtOnceAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := accounts(t)
		a.hashing = make(chan struct{}, 1)
		var mu sync.Mutex
		codes := map[int]int{}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := a.Verify(t.Context(), netip.MustParseAddr("203.0.113.1"), "shop", []byte("guess"))
				mu.Lock()
				defer mu.Unlock()
				codes[code(err)]++
			})
		}
		wg.Wait()
		if codes[535] != 4 || codes[421] != 96 {
			t.Errorf("answered %v", codes)
		}
	})
}

// What a login costs must not tell whether the name exists, also where the real
// ones cost this and that.
func TestUnknownNamesCostTheSame(t *testing.T) {
	dear := hash{memory: 64, passes: 2, lanes: 1, salt: []byte("saltsalt"), key: make([]byte, 16)}
	a, err := NewAccounts(AccountsOptions{Credentials: []Credential{
		{Name: "cheap", PasswordHash: cheap("tulip")}, {Name: "dear", PasswordHash: dear.String()}, {Name: "net"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	real := map[string]bool{"m=8,t=1,p=1": true, "m=64,t=2,p=1": true}
	seen := map[string]bool{}
	for _, h := range a.current.Load().decoys {
		seen[h.cost()] = true
		if h.matches(nil) || h.matches([]byte("tulip")) {
			t.Error("a decoy has a password")
		}
	}
	if !maps.Equal(real, seen) {
		t.Errorf("decoys cost %v, real names %v", seen, real)
	}
	none, err := NewAccounts(AccountsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d := none.current.Load().decoys; len(d) != 1 || d[0].memory != hashMemory || d[0].passes != hashPasses {
		t.Errorf("without credentials a login costs %v", d)
	}
}

// A wrong name costs a hash like a wrong password. It is seen by the memory that argon2
// takes, since times are noise here.
func TestUnknownNamesCostAHash(t *testing.T) {
	a, err := NewAccounts(AccountsOptions{
		Credentials: []Credential{{Name: "shop", PasswordHash: HashPassword([]byte("tulip"))}, {Name: "net"}}, Delay: time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shop", "nobody", "net", strings.Repeat("n", 9000)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := a.Verify(t.Context(), netip.MustParseAddr("203.0.113.1"), name, []byte("guess")); code(err) != 535 {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent < hashMemory<<10 {
			t.Errorf("%.10q: took %d octets of memory, a hash takes %d", name, spent, hashMemory<<10)
		}
	}
}

func TestReplaceForgetsOldPasswords(t *testing.T) {
	a := accounts(t)
	addr := netip.MustParseAddr("198.51.100.1")
	if _, err := a.Verify(t.Context(), addr, "shop", []byte("tulip")); err != nil {
		t.Fatal(err)
	}
	if err := a.Replace([]Credential{{Name: "shop", PasswordHash: cheap("iris")}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the delay is not waited for
	if _, err := a.Verify(ctx, addr, "shop", []byte("tulip")); err == nil {
		t.Error("the old password still works")
	}
	if _, err := a.Verify(t.Context(), addr, "shop", []byte("iris")); err != nil {
		t.Error(err)
	}
	if _, ok := a.Lookup("slow"); ok {
		t.Error("slow is still there")
	}
	err := a.Replace([]Credential{{Name: "a"}, {Name: "a"}, {Name: ""}, {Name: "b", PasswordHash: "x"}})
	for _, want := range []string{`"a" is there twice`, "1 to 255 octets", `credential "b": bad password hash`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %s", err, want)
		}
	}
	if _, ok := a.Lookup("shop"); !ok {
		t.Error("a failed Replace took the old ones away")
	}
}

func TestHashingIsBounded(t *testing.T) {
	a, err := NewAccounts(AccountsOptions{Credentials: []Credential{{Name: "shop", PasswordHash: cheap("tulip")}}, Hashing: 1, Delay: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	a.hashing <- struct{}{} // somebody else's
	synctest.Test(t, func(t *testing.T) {
		b := &Accounts{opts: a.opts, hashing: make(chan struct{}, 1), memory: a.memory, byHost: a.byHost, byName: a.byName}
		b.current.Store(a.current.Load())
		b.hashing <- struct{}{}
		if _, err := b.Verify(t.Context(), netip.Addr{}, "shop", []byte("tulip")); code(err) != 454 {
			t.Error(err)
		}
	})
}

func TestTablesAreBounded(t *testing.T) {
	f := newFailures(time.Minute)
	now := time.Unix(1000, 0)
	// As many failures as passwords can be checked within a window, each with a name and an
	// address of its own: strangers to that are still strangers.
	for i := range 50 * 600 {
		f.add(strconv.Itoa(i), now)
	}
	for i := range 1000 {
		if n := f.count("somebody new "+strconv.Itoa(i), now); n >= 10 {
			t.Errorf("somebody new has a count of %d", n)
		}
	}
	if n := f.add("1", now.Add(time.Hour)); n != 1 || len(f.mu.tallies) != maxTallies {
		t.Errorf("after the window: %d of %d", n, len(f.mu.tallies))
	}
	m := newMemory(time.Minute)
	newest := mark{}
	for i := range maxMarks + 10 {
		newest = m.mark(strconv.Itoa(i), "", "", nil)
		m.add(newest, now)
	}
	if len(m.mu.until) != maxMarks || !m.has(newest, now) {
		t.Errorf("%d logins are remembered", len(m.mu.until))
	}
	if m.has(newest, now.Add(time.Hour)) {
		t.Error("a login is remembered for ever")
	}
}

// A clock that ran years ahead and was set right locks nobody out: neither who failed
// nor who sent before that waits for those years.
func TestAClockThatIsSetBackLocksNobodyOut(t *testing.T) {
	ahead := time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
	right := ahead.AddDate(-10, 0, 0)
	f := newFailures(10 * time.Minute)
	f.add("shop", ahead)
	if n := f.count("shop", right); n != 0 {
		t.Errorf("%d failures are still counted", n)
	}
	if f.add("shop", ahead); f.add("shop", right) != 1 || f.count("shop", right.Add(11*time.Minute)) != 0 {
		t.Error("a window has the length of the step")
	}
	l := NewHourLimiter()
	if !l.Take("shop", 2, ahead) || !l.Take("shop", 2, right) || l.Take("shop", 2, right) {
		t.Error("the step gives or takes")
	}
	if !l.Take("shop", 2, right.Add(time.Hour)) {
		t.Error("the limit holds for longer than an hour")
	}
}

// What is answered without a hash takes the same work for any name, or the time of it would
// tell which exist: a long password takes a while to look up.
func TestRefusalsCostTheSame(t *testing.T) {
	a := accounts(t)
	now := time.Now()
	password := []byte(strings.Repeat("x", 9000))
	cost := map[string]float64{}
	for _, name := range []string{"shop", "net", "nobody"} {
		for range 6 {
			a.byName.add(name, now)
		}
		cost[name] = testing.AllocsPerRun(100, func() {
			if _, err := a.Verify(t.Context(), netip.MustParseAddr("203.0.113.1"), name, password); code(err) != 454 {
				t.Fatal(err)
			}
		})
	}
	if cost["nobody"] != cost["shop"] || cost["net"] != cost["shop"] {
		t.Errorf("allocations: %v", cost)
	}
}

// TestHourLimiterAgainstList compares with a plain list of times.
func TestHourLimiterAgainstList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := NewHourLimiter()
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		now := time.Unix(1_700_000_000, 0)
		var taken []int64 // minutes
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "pause")) * time.Second)
			minute := now.Unix() / 60
			for len(taken) > 0 && taken[0] <= minute-60 {
				taken = taken[1:]
			}
			if rapid.IntRange(0, 5).Draw(t, "act") == 0 {
				n := min(rapid.IntRange(1, 3).Draw(t, "back"), len(taken))
				l.Give("c", n, now)
				taken = taken[:len(taken)-n]
				continue
			}
			want := len(taken) < limit
			if got := l.Take("c", limit, now); got != want {
				t.Fatalf("took %v with %d of %d in the hour", got, len(taken), limit)
			}
			if want {
				taken = append(taken, minute)
			}
		}
	})
}

func TestHourLimiterConcurrent(t *testing.T) {
	l := NewHourLimiter()
	now := time.Unix(1_700_000_000, 0)
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if l.Take("c", 300, now) {
					mu.Lock()
					total++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if total != 300 {
		t.Error(total)
	}
}

func TestMaySendAs(t *testing.T) {
	c := Credential{Domains: []string{"Example.com", "*.shop.example"}}
	for domain, want := range map[string]bool{
		"example.com": true, "eu.shop.example": true, "a.b.shop.example": true,
		"shop.example": false, "sub.example.com": false, "myshop.example": false, "evilexample.com": false, "": false,
	} {
		if got := c.MaySendAs(domain, own); got != want {
			t.Errorf("%q: %v", domain, got)
		}
	}
	if !(Credential{}).MaySendAs("ours.example", own) || (Credential{}).MaySendAs("x.example", own) {
		t.Error("own domains")
	}
}
