// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestRecordCache writes, removes and reads records at random, more than it keeps:
// what is read is always what is stored.
func TestRecordCache(t *testing.T) {
	t.Parallel()
	s := open(t, vfs.NewMem())
	defer s.Close()
	disk := s.Uncached()
	r := rand.New(rand.NewPCG(5, 6))
	address := func(of *Store, id uint64) string {
		t.Helper()
		c, _, err := of.Contact(id)
		if err != nil {
			t.Fatal(err)
		}
		return c.Address
	}
	series := func(of *Store, id uint64) string {
		t.Helper()
		list, err := of.SeriesOf(id)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(list)
	}
	for step := range 1000 {
		id := uint64(1 + r.IntN(50))
		b := s.Batch()
		switch r.IntN(8) {
		case 0, 1:
			b.Contact(id, &Contact{Address: fmt.Sprint("a", step)})
		case 2, 3:
			b.Series(id, []Series{{Data: bytes.Repeat([]byte{byte(step)}, r.IntN(20)+r.IntN(2)*r.IntN(2)*cacheLongest)}})
		case 4:
			b.EraseOwned(id, func(Kind) {})
		case 5:
			b.Series(id, nil)
		case 6:
			if r.IntN(20) == 0 {
				b.DropSeries()
			}
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			id := uint64(1 + r.IntN(50))
			if got, want := address(s, id), address(disk, id); got != want {
				t.Fatalf("step %d: contact %d is %q, stored is %q", step, id, got, want)
			}
			if got, want := series(s, id), series(disk, id); got != want {
				t.Fatalf("step %d: series of contact %d are not what is stored", step, id)
			}
		}
	}
}

// TestRecordCacheViews reads through a snapshot what was stored at its time.
func TestRecordCacheViews(t *testing.T) {
	t.Parallel()
	s := open(t, vfs.NewMem())
	defer s.Close()
	name := func(address string) {
		t.Helper()
		b := s.Batch()
		b.Contact(1, &Contact{Address: address})
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	name("before")
	err := s.Snapshot(func(view *Store) error {
		name("after")
		if c, _, err := view.Contact(1); err != nil || c.Address != "before" {
			t.Errorf("the snapshot says %q: %v", c.Address, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if c, _, err := s.Contact(1); err != nil || c.Address != "after" {
		t.Errorf("the store says %q: %v", c.Address, err)
	}
}

// TestRecordCacheCommits is about a reader that meets a commit, about one that
// failed, and about what stays of an erased record.
func TestRecordCacheCommits(t *testing.T) {
	t.Parallel()
	s := open(t, vfs.NewMem())
	defer s.Close()
	c := &recordCache{}
	k, _ := cacheKeyOf(keyID(prefixContact, 7))
	expect := func(what, want string, known bool) {
		t.Helper()
		if v, ok, _ := c.get(k); string(v) != want || ok != known {
			t.Errorf("%s: %q, %v, want %q, %v", what, v, ok, want, known)
		}
	}
	commit := func(failed bool, value string) {
		t.Helper()
		b := s.Batch()
		defer b.Close()
		if value == "" {
			b.delete(keyID(prefixContact, 7))
		} else {
			b.set(keyID(prefixContact, 7), []byte(value))
		}
		c.committed(b.b.Reader(), failed)
	}
	_, _, writes := c.get(k)
	commit(false, "new")
	c.put(k, []byte("read before"), writes)
	expect("a reader that met a commit", "new", true)
	commit(true, "lost")
	expect("after a commit that failed", "", false)
	commit(false, "person")
	commit(false, "")
	expect("a record that was removed", "", false)
	for i := range c.shards {
		if bytes.Contains(c.shards[i].young.data, []byte("person")) {
			t.Error("the bytes of a removed record are kept")
		}
	}
	_, _, writes = c.get(k)
	c.put(k, nil, writes)
	expect("one that was not there", "", true)
	commit(false, "there")
	expect("one that has come since", "there", true)
}

// TestRecordCacheBound fills it many times over.
func TestRecordCacheBound(t *testing.T) {
	t.Parallel()
	c := &recordCache{}
	value := []byte(strings.Repeat("x", 200))
	hot := cacheKey(prefixSeries[0])
	for id := range uint64(400_000) {
		k := cacheKey(id<<8 | uint64(prefixContact[0]))
		c.put(k, value[:id%200], 0)
		if id%1000 == 0 {
			if _, known, writes := c.get(hot); !known && id > 0 {
				t.Fatal("a record that is asked for often is gone")
			} else if !known {
				c.put(hot, value, writes)
			}
		}
	}
	for i := range c.shards {
		s := &c.shards[i]
		for _, r := range []*cachedRecords{&s.young, &s.old} {
			if used := len(r.data) + cacheEntry*len(r.spans); used > cacheHalf {
				t.Errorf("%d bytes in half a shard", used)
			}
		}
	}
}
