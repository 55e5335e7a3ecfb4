// SPDX-License-Identifier: Apache-2.0

package submit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
)

// Credential is who may submit, and as what.
type Credential struct {
	Name         string
	PasswordHash string   // of [HashPassword]; empty = no login, for trusted networks only
	Streams      []string // it may use, the first is its default
	Domains      []string // it may send as, exact or "*.example.com" for what is below; empty = every domain of ours
	PerHour      int      // recipients in any 60 minutes; 0 = no limit
}

// MaySendAs reports whether an envelope sender or a From may be in domain,
// given in lower-case A-labels. own says which domains are ours.
func (c Credential) MaySendAs(domain string, own func(string) bool) bool {
	if len(c.Domains) == 0 {
		return own(domain)
	}
	for _, d := range c.Domains {
		if parent, ok := strings.CutPrefix(d, "*."); ok && strings.HasSuffix(domain, "."+strings.ToLower(parent)) {
			return true
		}
		if strings.EqualFold(d, domain) {
			return true
		}
	}
	return false
}

// AccountsOptions are what Accounts need; everything has a default.
type AccountsOptions struct {
	Credentials []Credential
	Limiter     Limiter          // default [NewHourLimiter]
	Now         func() time.Time // default time.Now

	Hashing            int           // passwords checked at once; default half of the CPUs: each holds 19 MiB, and mail needs the rest
	Remember           time.Duration // how long a right login is remembered after its last use; default 30 days
	Delay              time.Duration // before a failure is told, times the failures so far, at most five times; default 1 s
	FailuresPerAddress int           // within Window, then 421; default 10: a person who mistypes needs fewer
	FailuresPerAccount int           // within Window, then 454 to all but remembered logins; default 50
	Window             time.Duration // default 10 min
}

// Accounts knows the credentials and guards them against guessing. One serves
// all listeners. It is safe for concurrent use.
//
// Failures are counted by client address and by account. A login that was right
// before is remembered with its address, for a month after its last use, and passes
// without a hash and without the limit of the account: who guesses from many addresses can
// keep strangers out, but not the owner. The limit of the address binds it too, at
// ten times the number, since somebody behind the same address may guess. What is
// given up: while an account is under attack, an owner who comes from an address that
// did not log in since the engine started hears 454 until a window begins in
// which he is among the first.
type Accounts struct {
	opts    AccountsOptions
	current atomic.Pointer[roster]
	hashing chan struct{}
	memory  *memory
	byHost  *failures
	byName  *failures
}

type roster struct {
	accounts map[string]*account
	decoys   []hash // one for each cost that a real hash has; at least one
	decoy    string // one of them, as a PasswordHash
}

type account struct {
	Credential
	hash  hash
	login bool
}

// NewAccounts checks the credentials; the error lists every problem.
func NewAccounts(opts AccountsOptions) (*Accounts, error) {
	if opts.Limiter == nil {
		opts.Limiter = NewHourLimiter()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Hashing = cmp.Or(opts.Hashing, max(1, runtime.GOMAXPROCS(0)/2))
	opts.Remember = cmp.Or(opts.Remember, 30*24*time.Hour)
	opts.Delay = cmp.Or(opts.Delay, time.Second)
	opts.Window = cmp.Or(opts.Window, 10*time.Minute)
	opts.FailuresPerAddress = cmp.Or(opts.FailuresPerAddress, 10)
	opts.FailuresPerAccount = cmp.Or(opts.FailuresPerAccount, 50)
	a := &Accounts{
		opts:    opts,
		hashing: make(chan struct{}, opts.Hashing),
		memory:  newMemory(opts.Remember),
		byHost:  newFailures(opts.Window),
		byName:  newFailures(opts.Window),
	}
	if err := a.Replace(opts.Credentials); err != nil {
		return nil, err
	}
	return a, nil
}

// Replace puts other credentials in place, as a reload does; on an error the old
// ones stay. Connections that are logged in lose their right to send with their name.
func (a *Accounts) Replace(creds []Credential) error {
	r := &roster{accounts: make(map[string]*account, len(creds))}
	var errs []error
	for _, c := range creds {
		acc := &account{Credential: c, login: c.PasswordHash != ""}
		if acc.login {
			var err error
			if acc.hash, err = parseHash(c.PasswordHash); err != nil {
				errs = append(errs, fmt.Errorf("credential %q: %w", c.Name, err))
			}
		}
		switch {
		case c.Name == "" || len(c.Name) > maxName:
			errs = append(errs, fmt.Errorf("credential %q: a name has 1 to %d octets", c.Name, maxName))
		case r.accounts[c.Name] != nil:
			errs = append(errs, fmt.Errorf("credential %q is there twice", c.Name))
		}
		r.accounts[c.Name] = acc
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.decoys = decoys(r.accounts)
	r.decoy = r.decoys[0].String()
	a.current.Store(r)
	return nil
}

const maxName = 255

// Lookup finds a credential by name.
func (a *Accounts) Lookup(name string) (Credential, bool) {
	if acc := a.current.Load().accounts[name]; acc != nil {
		return acc.Credential, true
	}
	return Credential{}, false
}

// remembered is how many times FailuresPerAddress a client may fail before its
// remembered logins do not pass either.
const remembered = 10

// login is one attempt.
type login struct {
	acc      *account // nil: unknown, or without a password
	host     string
	name     string
	password []byte
	mark     mark
}

// Verify checks a login from addr. The error is a *rfc5321.Refusal: 535 for a wrong name
// or password, told late and never saying which; 421 when addr has failed too
// often; 454 when the account is under attack.
func (a *Accounts) Verify(ctx context.Context, addr netip.Addr, name string, password []byte) (Credential, error) {
	r := a.current.Load()
	l := login{host: hostKey(addr), name: name, password: password}
	passwordHash := r.decoy
	if acc := r.accounts[name]; acc != nil && acc.login {
		l.acc, passwordHash = acc, acc.PasswordHash
	}
	// Also for a name that does not exist: a long password takes a while.
	l.mark = a.memory.mark(l.host, name, passwordHash, password)
	ok, err := a.settled(&l)
	if !ok && err == nil {
		ok, err = a.check(ctx, r, &l)
	}
	switch {
	case err != nil:
		return Credential{}, err
	case ok:
		return l.acc.Credential, nil
	}
	wait(ctx, time.Duration(min(a.byHost.count(l.host, a.opts.Now()), 5))*a.opts.Delay)
	return Credential{}, rfc5321.Refuse(535, rfc5321.EnhancedCode{5, 7, 8}, "wrong name or password")
}

// settled answers a login that needs no hash: true where it was right before, an
// error where too many were wrong.
func (a *Accounts) settled(l *login) (bool, error) {
	now := a.opts.Now()
	failed := a.byHost.count(l.host, now)
	switch {
	case failed < remembered*a.opts.FailuresPerAddress && a.memory.has(l.mark, now) && l.acc != nil:
		return true, nil
	case failed >= a.opts.FailuresPerAddress:
		a.byHost.add(l.host, now)
		return false, rfc5321.Refuse(421, rfc5321.EnhancedCode{4, 7, 0}, "too many failed logins from this address, try again later")
	case a.byName.count(l.name, now) >= a.opts.FailuresPerAccount:
		return false, rfc5321.Refuse(454, rfc5321.EnhancedCode{4, 7, 0}, "too many failed logins, try again later")
	default:
		return false, nil
	}
}

// check computes the hash, at most Options.Hashing at a time, and counts a
// failure. Those who waited are asked again what was learned meanwhile: a hundred
// guesses at once are no more than one after the other, and an application that opens
// twenty connections costs one hash.
func (a *Accounts) check(ctx context.Context, r *roster, l *login) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case a.hashing <- struct{}{}:
	case <-ctx.Done():
		return false, &rfc5321.Refusal{
			Reply: rfc5321.Reply{Code: 454, Enhanced: rfc5321.EnhancedCode{4, 7, 0}, Text: "logins cannot be checked now, try again later"}, Err: ctx.Err(),
		}
	}
	defer func() { <-a.hashing }()
	if ok, err := a.settled(l); ok || err != nil {
		return ok, err
	}
	h := r.decoys[a.byName.at(l.name)%len(r.decoys)]
	if l.acc != nil {
		h = l.acc.hash
	}
	right := h.matches(l.password)
	now := a.opts.Now()
	if right && l.acc != nil {
		a.memory.add(l.mark, now)
		return true, nil
	}
	a.byName.add(l.name, now)
	a.byHost.add(l.host, now)
	return false, nil
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// charge takes one recipient from the hourly limit.
func (a *Accounts) charge(c Credential) bool {
	return c.PerHour <= 0 || a.opts.Limiter.Take(c.Name, c.PerHour, a.opts.Now())
}

func (a *Accounts) refund(c Credential, n int) {
	if c.PerHour > 0 {
		a.opts.Limiter.Give(c.Name, n, a.opts.Now())
	}
}
