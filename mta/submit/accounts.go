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

	Hashing            int           // passwords checked at once; default the number of CPUs: each holds 19 MiB
	Remember           time.Duration // how long a right password is remembered; default 10 min: applications connect often
	Delay              time.Duration // before a failure is told, times the failures so far, at most five times; default 1 s
	FailuresPerAddress int           // within Window, then 421; default 10: a person who mistypes needs fewer
	FailuresPerAccount int           // within Window, then only remembered passwords pass; default 50: nobody shall lock an account out cheaply
	Window             time.Duration // default 10 min
}

// Accounts knows the credentials and guards them against guessing. One serves
// all listeners. It is safe for concurrent use.
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
	decoy    hash
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
	opts.Hashing = cmp.Or(opts.Hashing, runtime.GOMAXPROCS(0))
	opts.Remember = cmp.Or(opts.Remember, 10*time.Minute)
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
	var like hash
	for _, c := range creds {
		acc := &account{Credential: c, login: c.PasswordHash != ""}
		if acc.login {
			var err error
			if acc.hash, err = parseHash(c.PasswordHash); err != nil {
				errs = append(errs, fmt.Errorf("credential %q: %w", c.Name, err))
			}
			like = acc.hash
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
	r.decoy = decoy(like)
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

// Verify checks a login from addr. The error is a *rfc5321.Refusal: 535 for a wrong name
// or password, told late and never saying which; 421 when addr has failed too
// often; 454 when the account is under attack.
func (a *Accounts) Verify(ctx context.Context, addr netip.Addr, name string, password []byte) (Credential, error) {
	r := a.current.Load()
	acc := r.accounts[name]
	now := a.opts.Now()
	known := acc != nil && acc.login
	var remembered mark
	if known {
		remembered = a.memory.mark(name+"\x00"+acc.PasswordHash, password)
		if a.memory.has(remembered, now) {
			return acc.Credential, nil
		}
	}
	host := hostKey(addr)
	if a.byHost.count(host, now) >= a.opts.FailuresPerAddress {
		return Credential{}, rfc5321.Refuse(421, rfc5321.EnhancedCode{4, 7, 0}, "too many failed logins from this address, try again later")
	}
	if len(name) > maxName {
		name = name[:maxName]
	}
	if a.byName.count(name, now) >= a.opts.FailuresPerAccount {
		return Credential{}, rfc5321.Refuse(454, rfc5321.EnhancedCode{4, 7, 0}, "too many failed logins, try again later")
	}
	h := r.decoy
	if known {
		h = acc.hash
	}
	ok, err := a.check(ctx, h, password)
	switch {
	case err != nil:
		return Credential{}, &rfc5321.Refusal{
			Reply: rfc5321.Reply{Code: 454, Enhanced: rfc5321.EnhancedCode{4, 7, 0}, Text: "logins cannot be checked now, try again later"}, Err: err,
		}
	case ok && known:
		a.memory.add(remembered, now)
		return acc.Credential, nil
	}
	a.byName.add(name, now)
	n := a.byHost.add(host, now)
	wait(ctx, time.Duration(min(n, 5))*a.opts.Delay)
	return Credential{}, rfc5321.Refuse(535, rfc5321.EnhancedCode{5, 7, 8}, "wrong name or password")
}

// check computes the hash, at most Options.Hashing at a time.
func (a *Accounts) check(ctx context.Context, h hash, password []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case a.hashing <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-a.hashing }()
	return h.matches(password), nil
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
