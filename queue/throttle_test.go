// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue/schedule"
	"github.com/seguemta/segue/queue/store"
)

// providerWorld has two large providers and remembers who brought what where.
func providerWorld() (*world, func() string) {
	w := newWorld()
	w.providers = map[string]string{"gmail.com": "gmail", "yahoo.com": "yahoo"}
	var list []string
	w.mail = func(job *Job) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, e := range job.Recipients {
			list = append(list, e.Address.Local+" from "+job.Source)
		}
	}
	return w, func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		s := strings.Join(list, ", ")
		list = nil
		return s
	}
}

// twoSources lets the pool "other" use a second source.
func twoSources(o *Options) {
	o.Sources = append(o.Sources, schedule.DefineSource{Name: "a2"})
	o.Pools[1].Members = append(o.Pools[1].Members, schedule.Member{Source: "a2", Weight: 1})
}

// mailTo enqueues a message of a class.
func (r *running) mailTo(local, domain string, c store.Class) store.ID {
	r.t.Helper()
	m := r.message(local, c.Tier)
	m.Recipients[0].Address = rfc5321.Address{Local: local, Domain: domain}
	m.Recipients[0].Class = c
	return store.ID{Message: r.enqueue(m)}
}

func sortedWords(s string) string {
	list := strings.Split(s, ", ")
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// said compares with what left since the last time.
func said(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("left: %q, want %q", got, want)
	}
}

func TestLimitStopsASourceAtAProviderOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, left := providerWorld()
		r := startWith(t, vfs.NewMem(), w, twoSources)
		only, both := store.Class{Stream: "marketing", Tier: "active", Pool: "main"}, store.Class{Stream: "marketing", Tier: "active", Pool: "other"}
		r.Limit(schedule.Limit{Source: "a1", Provider: "gmail", Suspended: true, Until: w.clock.now().Add(time.Hour), Rate: 0.1})
		waits := r.mailTo("waits", "gmail.com", only)
		next := r.mailTo("next", "gmail.com", only)
		synctest.Wait()
		said(t, left(), "")
		r.mailTo("elsewhere", "yahoo.com", only)
		r.mailTo("other", "gmail.com", both)
		synctest.Wait()
		said(t, sortedWords(left()), "elsewhere from a1, other from a2")
		if got := r.why(waits); !strings.HasPrefix(got, "source a1 is suspended at gmail until ") || !strings.Contains(got, "`segue provider show gmail`") {
			t.Errorf("why: %s", got)
		}
		r.Pause("a1", "gmail", time.Time{}) // an operator's resume is no end of a suspension
		time.Sleep(time.Hour - time.Second)
		said(t, left(), "")
		time.Sleep(time.Second)
		synctest.Wait()
		said(t, left(), "waits from a1") // and the rate it was given for afterwards
		if got := r.why(next); !strings.HasPrefix(got, "waits for the rate of gmail: 0.1 recipients a second from source a1") {
			t.Errorf("why: %s", got)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		said(t, left(), "next from a1")
		r.idle()
		r.stop()
	})
}

func TestHoldAtHoldsTheClassesOfTheLastCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, left := providerWorld()
		r := startWith(t, vfs.NewMem(), w, twoSources)
		of := func(segment, tier string) store.Class {
			return store.Class{Stream: "marketing", Segment: segment, Tier: tier, Pool: "other"}
		}
		segment := func(name string) func(store.Class) bool {
			return func(c store.Class) bool { return c.Segment == name }
		}
		r.mailTo("known", "yahoo.com", of("trial", "active")) // interned before
		synctest.Wait()
		said(t, left(), "known from a1")

		r.HoldAt("gmail", segment("trial"))
		held := r.mailTo("trial", "gmail.com", of("trial", "active"))
		later := r.mailTo("cold", "gmail.com", of("trial", "dormant")) // a class that nobody knew
		paid := r.mailTo("paid", "gmail.com", of("paid", "active"))
		code := r.transactional("code")
		code.Recipients[0].Address.Domain, code.Recipients[0].Class.Segment = "gmail.com", "trial"
		r.enqueue(code)
		r.mailTo("elsewhere", "yahoo.com", of("trial", "active"))
		synctest.Wait()
		if w.times(held)+w.times(later) != 0 || w.times(paid) != 1 {
			t.Errorf("held mail left, or other mail did not")
		}
		if got := left(); strings.Count(got, " from ") != 3 || !strings.Contains(got, "code from") || !strings.Contains(got, "elsewhere from") {
			t.Errorf("left: %s", got)
		}
		if got := r.why(later); got != "the mail of its lane is held at gmail, from every source: see `segue provider show gmail`" {
			t.Errorf("why: %s", got)
		}

		r.HoldAt("gmail", segment("paid")) // the others are no longer among them
		paid = r.mailTo("paid", "gmail.com", of("paid", "active"))
		synctest.Wait()
		if w.times(held) != 1 || w.times(later) != 1 || w.times(paid) != 0 {
			t.Errorf("received: %v", w.received)
		}
		r.HoldAt("gmail", nil)
		synctest.Wait()
		if w.times(paid) != 1 {
			t.Error("nothing is held, and mail waits")
		}

		r.HoldAt("", segment("trial")) // sites without a provider, and no others
		small := r.mailTo("small", "example.com", of("trial", "active"))
		large := r.mailTo("large", "gmail.com", of("trial", "active"))
		synctest.Wait()
		if w.times(small) != 0 || w.times(large) != 1 {
			t.Errorf("received: %v", w.received)
		}
		r.HoldAt(schedule.Other, nil)
		synctest.Wait()
		r.idle()
		r.stop()
	})
}

// Mail that waits for a limit or at a provider lives no longer than other mail.
func TestLimitAndHoldAtDoNotKeepMailFromExpiring(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, left := providerWorld()
		r := startWith(t, vfs.NewMem(), w, func(*Options) {}, func(q *Queue) {
			q.Limit(schedule.Limit{Source: "a1", Provider: "gmail", Suspended: true})
			q.HoldAt("yahoo", func(store.Class) bool { return true })
		})
		c := store.Class{Stream: "marketing", Tier: "active", Pool: "main"}
		suspended, held := r.mailTo("suspended", "gmail.com", c), r.mailTo("held", "yahoo.com", c)
		time.Sleep(25 * time.Hour)
		said(t, left(), "")
		if a, b := r.kinds(suspended), r.kinds(held); a != "accepted expired " || b != "accepted expired " {
			t.Errorf("events: %s and %s", a, b)
		}
		r.idle()
		r.stop()
	})
}

// Limits are not stored: a crash forgets them. What is given before Run holds for
// the first mail of the new life.
func TestLimitsGivenBeforeRunHoldFromTheFirstMail(t *testing.T) {
	t.Parallel()
	for _, given := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w, left := providerWorld()
			fs := vfs.NewCrashableMem()
			limit := func(q *Queue) {
				q.Limit(schedule.Limit{Source: "a1", Provider: "gmail", Suspended: true})
				q.HoldAt("yahoo", func(c store.Class) bool { return c.Tier == "active" })
			}
			r := startWith(t, fs, w, func(*Options) {}, limit)
			c := store.Class{Stream: "marketing", Tier: "active", Pool: "main"}
			r.mailTo("suspended", "gmail.com", c)
			r.mailTo("held", "yahoo.com", c)
			synctest.Wait()
			said(t, left(), "")
			after := fs.CrashClone(vfs.CrashCloneCfg{})
			r.stop()

			if !given { // the control: that they waited was the limits' doing
				limit = func(*Queue) {}
			}
			r = startWith(t, after, w, func(*Options) {}, limit)
			time.Sleep(time.Minute)
			if !given {
				said(t, sortedWords(left()), "held from a1, suspended from a1")
				r.stop()
				return
			}
			said(t, left(), "")
			r.Limit(schedule.Limit{Source: "a1", Provider: "gmail"})
			r.HoldAt("yahoo", nil)
			synctest.Wait()
			said(t, sortedWords(left()), "held from a1, suspended from a1")
			r.idle()
			r.stop()
		})
	}
}
