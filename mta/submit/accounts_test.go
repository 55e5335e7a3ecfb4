// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"context"
	"errors"
	"net/netip"
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

func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := accounts(t)
		bad, good := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("198.51.100.1")
		verify := func(addr netip.Addr, name, password string) (int, time.Duration) {
			begin := time.Now()
			_, err := a.Verify(t.Context(), addr, name, []byte(password))
			return code(err), time.Since(begin)
		}
		expect := func(addr netip.Addr, name, password string, want int, wait time.Duration) {
			t.Helper()
			if got, took := verify(addr, name, password); got != want || took != wait {
				t.Errorf("%s %s %s: %d after %v, want %d after %v", addr, name, password, got, took, want, wait)
			}
		}
		expect(good, "shop", "tulip", 0, 0)
		for i := 1; i <= 4; i++ {
			expect(bad, "shop", "guess"+strconv.Itoa(i), 535, time.Duration(i)*time.Second)
		}
		expect(bad, "shop", "guess5", 421, 0)
		expect(bad, "slow", "rose", 421, 0) // right, and too late
		expect(bad, "shop", "tulip", 0, 0)  // remembered
		expect(good, "slow", "rose", 0, 0)  // others do not suffer
		expect(good, "nobody", "x", 535, time.Second)
		expect(good, "net", "", 535, 2*time.Second) // has no login

		// The account itself: from the seventh failure only who is known gets in.
		for i := range 2 {
			expect(netip.AddrFrom4([4]byte{203, 0, 113, byte(10 + i)}), "shop", "guess", 535, time.Second)
		}
		fresh := netip.MustParseAddr("198.51.100.77")
		expect(fresh, "shop", "guess", 454, 0)
		expect(fresh, "shop", "tulip", 0, 0)

		timer := time.NewTimer(11 * time.Minute)
		<-timer.C
		expect(bad, "slow", "rose", 0, 0)
		expect(fresh, "shop", "tulip", 0, 0)
	})
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
	for i := range bound + 500 {
		f.add(strconv.Itoa(i), now)
	}
	if len(f.mu.counts) > bound {
		t.Errorf("%d entries", len(f.mu.counts))
	}
	if n := f.count("somebody new", now); n != 500 {
		t.Errorf("strangers share a count of %d", n)
	}
	if n := f.add("later", now.Add(time.Hour)); n != 1 || len(f.mu.counts) != 1 {
		t.Errorf("after the window: %d of %d", n, len(f.mu.counts))
	}
	m := newMemory(time.Minute)
	for i := range bound + 1 {
		m.add(m.mark(strconv.Itoa(i), nil), now)
	}
	if len(m.mu.until) > bound {
		t.Errorf("%d passwords", len(m.mu.until))
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
