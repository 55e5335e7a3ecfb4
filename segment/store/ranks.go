// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Rank is the score of a contact as its accounts see it: a part that stays and a
// part that fades. How it fades is known to package score.
type Rank struct {
	Base  float64
	Value float64 // as of At
	At    int64   // microseconds since 1970
	Order float64 // of two with the same base, the one with the greater order is better at any time
}

// Ranked is a contact among those of its accounts.
type Ranked struct {
	Rank
	Accounts []uint64 // in order
}

// Equal reports whether both are the same.
func (x *Ranked) Equal(o *Ranked) bool {
	return x.Rank == o.Rank && slices.Equal(x.Accounts, o.Accounts)
}

// Append appends the record's binary form.
func (x *Ranked) Append(b []byte) []byte {
	b = append(b, layout)
	for _, n := range []float64{x.Base, x.Value, x.Order} {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(n))
	}
	b = binary.AppendVarint(b, x.At)
	b = binary.AppendUvarint(b, uint64(len(x.Accounts)))
	for _, account := range x.Accounts {
		b = binary.AppendUvarint(b, account)
	}
	return b
}

// DecodeRanked reads what [Ranked.Append] wrote. Errors wrap [ErrCorrupt].
func DecodeRanked(value []byte) (Ranked, error) {
	r := newReader(value)
	var x Ranked
	for _, n := range []*float64{&x.Base, &x.Value, &x.Order} {
		*n = r.float()
	}
	x.At = r.varint()
	for range r.count() {
		x.Accounts = append(x.Accounts, r.uvarint())
	}
	return x, r.done("rank of a contact")
}

// float reads a number that is one.
func (r *reader) float() float64 {
	if len(r.rest) < 8 {
		r.fail()
		return 0
	}
	n := math.Float64frombits(binary.BigEndian.Uint64(r.rest))
	r.rest = r.rest[8:]
	if math.IsNaN(n) {
		r.fail()
	}
	return n
}

// descending is a number in a form of which greater ones sort first.
func descending(n float64) uint64 {
	bits := math.Float64bits(n)
	if bits>>63 == 0 {
		return ^(bits | 1<<63)
	}
	return bits
}

func ascending(bits uint64) float64 {
	if bits>>63 == 0 {
		return math.Float64frombits(^bits &^ (1 << 63))
	}
	return math.Float64frombits(bits)
}

// A contact's rank in an account has the key Ra/ACCOUNT/BASE/ORDER/CONTACT.
const rankKey = len(prefixRank) + 4*8

func keyRank(account, contact uint64, x *Rank) []byte {
	k := append(make([]byte, 0, rankKey), keyID(prefixRank, account)...)
	for _, n := range []uint64{descending(x.Base), descending(x.Order), contact} {
		k = binary.BigEndian.AppendUint64(k, n)
	}
	return k
}

// decodeRank returns whose rank an entry is, and the rank.
func decodeRank(e entry) (contact uint64, x Rank, err error) {
	r := newReader(e.value)
	if len(e.key) != rankKey {
		return 0, x, fmt.Errorf("%w: rank in an account", ErrCorrupt)
	}
	number := func(n int) uint64 { return binary.BigEndian.Uint64(e.key[len(prefixRank)+8*n:]) }
	x = Rank{Base: ascending(number(1)), Order: ascending(number(2)), Value: r.float(), At: r.varint()}
	return number(3), x, r.done("rank in an account")
}

// Ranked returns what is ranked of a contact; false where nothing is.
func (s *Store) Ranked(contact uint64) (Ranked, bool, error) {
	v, err := s.get(keyID(prefixRanked, contact))
	if v == nil || err != nil {
		return Ranked{}, false, err
	}
	x, err := DecodeRanked(v)
	if err != nil {
		return x, false, fmt.Errorf("contact %d: %w", contact, err)
	}
	return x, true, nil
}

// Ranks returns the ranks in an account that are among the most best of those with
// the same base, whatever time it is. It goes by what they are stored under, so the
// others cost nothing. Contacts for which skip says so are left out.
func (s *Store) Ranks(account uint64, most int, skip func(contact uint64) bool) (list []Rank, err error) {
	p := keyID(prefixRank, account)
	it, err := s.from.NewIter(&pebble.IterOptions{LowerBound: p, UpperBound: after(p)})
	if err != nil {
		return nil, fmt.Errorf("reading ranks: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	n := 0 // of this base
	for ok := it.First(); ok; {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		contact, x, err := decodeRank(entry{it.Key(), v})
		if err != nil {
			return nil, fmt.Errorf("account %d: %w", account, err)
		}
		if n > 0 && list[len(list)-1].Base != x.Base {
			n = 0
		}
		if !skip(contact) {
			list = append(list, x)
			n++
		}
		if n < most {
			ok = it.Next()
		} else {
			n = 0
			ok = it.SeekGE(after(keyRank(account, 0, &x)[:len(p)+8]))
		}
	}
	return list, it.Error()
}

// Ranked changes what is ranked of a contact, in its own record and in those of
// its accounts. One without accounts is gone.
func (b *Batch) Ranked(contact uint64, was, is *Ranked) {
	for _, account := range was.Accounts {
		b.delete(keyRank(account, contact, &was.Rank))
	}
	if len(is.Accounts) == 0 {
		b.delete(keyID(prefixRanked, contact))
		return
	}
	for _, account := range is.Accounts {
		v := binary.BigEndian.AppendUint64([]byte{layout}, math.Float64bits(is.Value))
		b.set(keyRank(account, contact, &is.Rank), binary.AppendVarint(v, is.At))
	}
	b.buf = is.Append(b.buf[:0])
	b.set(keyID(prefixRanked, contact), b.buf)
}

// Ranking is what is known of all ranks.
type Ranking struct {
	Identity [16]byte // of the model that they are by
	Built    bool     // every contact has its rank
}

// Ranking returns it; false where nobody is ranked.
func (s *Store) Ranking() (Ranking, bool, error) {
	v, err := s.get(key(prefixRanking, ""))
	if v == nil || err != nil {
		return Ranking{}, false, err
	}
	r := newReader(v)
	var x Ranking
	for i := range x.Identity {
		x.Identity[i] = r.byte()
	}
	x.Built = r.byte() == 1
	return x, true, r.done("ranking")
}

// Ranking writes it.
func (b *Batch) Ranking(x Ranking) {
	v := append([]byte{layout}, x.Identity[:]...)
	built := byte(0)
	if x.Built {
		built = 1
	}
	b.set(key(prefixRanking, ""), append(v, built))
}

// DropRanks forgets all ranks.
func (b *Batch) DropRanks() {
	for _, prefix := range []string{prefixRank, prefixRanked, prefixRanking} {
		p := []byte(prefix)
		b.err = errors.Join(b.err, b.b.DeleteRange(p, after(p), nil))
	}
}
