// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
)

// recordCache keeps records that were read or written lately, as bytes: who did
// something does more of it soon, and who is admitted is delivered to, opens and
// clicks. Finding a record in Pebble costs more than all that is done with it.
//
// A commit puts in what it wrote. Readers put in what they have read, unless there
// was a commit meanwhile, and also that a record is not there. Each shard is two
// halves: when the young one is full it becomes the old one, whose records go
// unless they are asked for. They hold no pointers, so that collecting garbage
// does not go over them.
type recordCache struct {
	shards [cacheShards]cacheShard
}

const (
	cacheShards  = 16
	cacheHalf    = 1 << 20  // bytes of half a shard: 32 MiB in all
	cacheEntry   = 64       // bytes of a record beside its own: the entry of a map
	cacheLongest = 16 << 10 // bytes of a record; those that are longer are not kept
)

// cachedPrefixes says which records are kept. Their keys are a prefix and an id.
const cachedPrefixes = prefixContact + prefixVisitor + prefixSeries + prefixBehaviour

type cacheShard struct {
	mu         sync.RWMutex
	writes     uint64 // commits so far: what was read before one may be old
	young, old cachedRecords
}

type cachedRecords struct {
	spans map[cacheKey]span
	data  []byte
}

// cacheKey is an id, then the prefix in the last byte.
type cacheKey uint64

// span is where a record is; empty where it is known that there is none.
type span struct{ from, to uint32 }

// cacheKeyOf takes a key apart; false for one whose record is not kept.
func cacheKeyOf(k []byte) (cacheKey, bool) {
	if len(k) != 9 || k[1] != 0 || strings.IndexByte(cachedPrefixes, k[0]) < 0 {
		return 0, false
	}
	return cacheKey(binary.BigEndian.Uint64(k[1:])<<8 | uint64(k[0])), true
}

func (c *recordCache) shard(k cacheKey) *cacheShard { return &c.shards[k>>8%cacheShards] }

// get returns a copy of a record, nil where there is none, and whether that is
// known. Where it is not, writes is for put, once it was read.
func (c *recordCache) get(k cacheKey) (value []byte, known bool, writes uint64) {
	s := c.shard(k)
	s.mu.RLock()
	value, known = s.young.get(k)
	aged := false
	if !known {
		value, known = s.old.get(k)
		aged = known
	}
	writes = s.writes
	s.mu.RUnlock()
	if aged {
		c.put(k, value, writes)
	}
	return value, known, writes
}

func (r *cachedRecords) get(k cacheKey) ([]byte, bool) {
	at, known := r.spans[k]
	if !known || at.from == at.to {
		return nil, known
	}
	return append(make([]byte, 0, at.to-at.from), r.data[at.from:at.to]...), true
}

// put keeps what was read, unless there was a commit since.
func (c *recordCache) put(k cacheKey, value []byte, writes uint64) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes == writes && len(value) <= cacheLongest {
		s.keep(k, value)
	}
}

// keep puts a record in, in place of what is known of it. The caller holds mu.
func (s *cacheShard) keep(k cacheKey, value []byte) {
	r := &s.young
	if len(r.data)+len(value)+cacheEntry*(len(r.spans)+1) > cacheHalf {
		s.young, s.old = s.old, s.young
		clear(r.spans)
		r.data = r.data[:0]
	}
	if r.spans == nil {
		r.spans = map[cacheKey]span{}
	}
	from := len(r.data)
	if from+len(value) > cap(r.data) { // append grows by a quarter, and would copy all of it many times
		r.data = append(make([]byte, 0, min(max(2*cap(r.data), from+len(value), cacheHalf/64), cacheHalf)), r.data...)
	}
	r.data = append(r.data, value...)
	r.spans[k] = span{uint32(from), uint32(len(r.data))} //nolint:gosec // below cacheHalf
}

// forget drops a record and overwrites it: it may be that of somebody who was
// erased. The caller holds mu.
func (s *cacheShard) forget(k cacheKey) {
	for _, r := range []*cachedRecords{&s.young, &s.old} {
		if at, known := r.spans[k]; known {
			clear(r.data[at.from:at.to])
			delete(r.spans, k)
		}
	}
}

// committed takes over what a commit wrote; where it failed, nobody knows what is
// stored.
func (c *recordCache) committed(batch batchrepr.Reader, failed bool) {
	for len(batch) > 0 {
		kind, key, value, ok, err := batch.Next()
		if !ok || err != nil {
			return
		}
		if kind == pebble.InternalKeyKindRangeDelete && len(key) > 0 && strings.IndexByte(cachedPrefixes, key[0]) >= 0 {
			c.clear()
		}
		k, kept := cacheKeyOf(key)
		if !kept {
			continue
		}
		s := c.shard(k)
		s.mu.Lock()
		s.writes++
		if kind == pebble.InternalKeyKindSet && !failed && len(value) <= cacheLongest {
			s.keep(k, value)
		} else {
			s.forget(k)
		}
		s.mu.Unlock()
	}
}

// clear drops everything.
func (c *recordCache) clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.writes++
		s.young, s.old = cachedRecords{}, cachedRecords{}
		s.mu.Unlock()
	}
}
