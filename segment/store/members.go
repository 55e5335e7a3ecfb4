// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Segment is the definition of a segment whose members the store holds, and
// where it holds them.
type Segment struct {
	Name       string
	ID         uint32 // in keys; a name keeps its own
	Generation uint32 // of the members, in keys
	Since      uint64 // flips up to this one are in no member's set: they are of an older generation
	Version    uint64
	Identity   [16]byte // of everything that decides who is a member
	Where      string
	Include    []string
	Exclude    []string
	Stage      string
}

// Build is a pass over all contacts that makes the members of new definitions.
type Build struct {
	Plan       [16]byte // identity of what is built
	Generation uint32   // of the members that are built
	Cursor     uint64   // contacts up to this one are done
}

// Chunk is where a part of the members is: all with the same upper 16 bits.
type Chunk struct {
	Segment, Generation uint32
	Number              uint16
}

// segmentLayout is the newest layout of a segment. Layout 1 had no stage.
const segmentLayout = 2

func (s *Segment) append(b []byte) []byte {
	b = append(b, segmentLayout)
	for _, v := range []uint64{uint64(s.ID), uint64(s.Generation), s.Since, s.Version} {
		b = binary.AppendUvarint(b, v)
	}
	b = append(b, s.Identity[:]...)
	b = appendString(b, s.Where)
	for _, list := range [][]string{s.Include, s.Exclude} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, name := range list {
			b = appendString(b, name)
		}
	}
	return appendString(b, s.Stage)
}

func decodeSegment(name string, value []byte) (Segment, error) {
	r, version := newReaderUpTo(segmentLayout, value)
	s := Segment{Name: name, ID: r.uint32(), Generation: r.uint32(), Since: r.uvarint(), Version: r.uvarint()}
	for i := range s.Identity {
		s.Identity[i] = r.byte()
	}
	s.Where = r.string()
	s.Include, s.Exclude = r.strings(), r.strings()
	if version > layout {
		s.Stage = r.string()
	}
	return s, r.done("segment")
}

func (x *Build) append(b []byte) []byte {
	b = append(append(b, layout), x.Plan[:]...)
	b = binary.AppendUvarint(b, uint64(x.Generation))
	return binary.AppendUvarint(b, x.Cursor)
}

func decodeBuild(value []byte) (Build, error) {
	r := newReader(value)
	var x Build
	for i := range x.Plan {
		x.Plan[i] = r.byte()
	}
	x.Generation, x.Cursor = r.uint32(), r.uvarint()
	return x, r.done("build of segments")
}

func keyChunk(c Chunk) []byte {
	k := append(make([]byte, 0, len(prefixMembers)+10), prefixMembers...)
	k = binary.BigEndian.AppendUint32(k, c.Segment)
	k = binary.BigEndian.AppendUint32(k, c.Generation)
	return binary.BigEndian.AppendUint16(k, c.Number)
}

// A change of what is stored in chunks is keyed by whose it is and by what came or
// went; its value says which.
func keyChange(prefix string, of uint32, what uint64) []byte {
	k := append(make([]byte, 0, len(prefix)+12), prefix...)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(k, of), what)
}

func (b *Batch) change(prefix string, of uint32, what uint64, in bool) {
	v := [2]byte{layout}
	if in {
		v[1] = 1
	}
	b.set(keyChange(prefix, of, what), v[:])
}

// changes yields what [Batch.change] wrote.
func (s *Store) changes(at shelf, fn func(of uint32, what uint64, in bool) error) error {
	p := []byte(at.prefix)
	for e, err := range s.scan(p, after(p)) {
		if err != nil {
			return fmt.Errorf("reading %s: %w", at.all, err)
		}
		k := e.key[len(p):]
		if len(k) != 12 || len(e.value) != 2 || e.value[0] != layout {
			return fmt.Errorf("%w: %s", ErrCorrupt, at.one)
		}
		if err := fn(binary.BigEndian.Uint32(k), binary.BigEndian.Uint64(k[4:]), e.value[1] == 1); err != nil {
			return err
		}
	}
	return nil
}

// Segments returns every segment that has members in the store.
func (s *Store) Segments() ([]Segment, error) {
	var list []Segment
	p := []byte(prefixSegment)
	for e, err := range s.scan(p, after(p)) {
		if err != nil {
			return nil, fmt.Errorf("reading segments: %w", err)
		}
		x, err := decodeSegment(string(e.key[len(p):]), e.value)
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, nil
}

// Building returns the pass that is under way; false if there is none.
func (s *Store) Building() (Build, bool, error) {
	v, err := s.get([]byte(prefixBuild))
	if v == nil || err != nil {
		return Build{}, false, err
	}
	x, err := decodeBuild(v)
	return x, err == nil, err
}

// Chunks yields the stored members of every segment and generation. The value
// is valid until fn returns.
func (s *Store) Chunks(fn func(c Chunk, value []byte) error) error {
	p := []byte(prefixMembers)
	for e, err := range s.scan(p, after(p)) {
		if err != nil {
			return fmt.Errorf("reading members: %w", err)
		}
		k := e.key[len(p):]
		if len(k) != 10 || len(e.value) < 1 || e.value[0] != layout {
			return fmt.Errorf("%w: members of a segment", ErrCorrupt)
		}
		c := Chunk{binary.BigEndian.Uint32(k), binary.BigEndian.Uint32(k[4:]), binary.BigEndian.Uint16(k[8:])}
		if err := fn(c, e.value[1:]); err != nil {
			return err
		}
	}
	return nil
}

// Deltas yields what writes changed in the members under construction.
func (s *Store) Deltas(fn func(segment uint32, contact uint64, in bool) error) error {
	return s.changes(shelf{prefixDelta, "change of a member", "changes of members"}, fn)
}

// Segment writes the definition of a segment whose members the store holds.
func (b *Batch) Segment(s *Segment) {
	b.buf = s.append(b.buf[:0])
	b.set(key(prefixSegment, s.Name), b.buf)
}

// DeleteSegment forgets a definition; its members go with DeleteMembers.
func (b *Batch) DeleteSegment(name string) { b.delete(key(prefixSegment, name)) }

// Build writes how far the pass over all contacts is.
func (b *Batch) Build(x Build) {
	b.buf = x.append(b.buf[:0])
	b.set([]byte(prefixBuild), b.buf)
}

// DeleteBuild ends the pass, and forgets the changes beside it.
func (b *Batch) DeleteBuild() {
	b.delete([]byte(prefixBuild))
	p := []byte(prefixDelta)
	b.err = errors.Join(b.err, b.b.DeleteRange(p, after(p), nil))
}

// Members writes a chunk of members; a nil value says that there are none.
func (b *Batch) Members(c Chunk, value []byte) {
	if value == nil {
		b.delete(keyChunk(c))
		return
	}
	b.buf = append(append(b.buf[:0], layout), value...)
	b.set(keyChunk(c), b.buf)
}

// DeleteMembers removes the members of a segment in one generation, by their
// keys: chunks up to and including the last. Ranges would cost every iterator.
func (b *Batch) DeleteMembers(segment, generation uint32, last uint16) {
	for n := range uint32(last) + 1 {
		b.delete(keyChunk(Chunk{segment, generation, uint16(n)}))
	}
}

// Delta writes a change of the members under construction: who writes a contact
// that the pass has done notes here what the pass would now find.
func (b *Batch) Delta(segment uint32, contact uint64, in bool) {
	b.change(prefixDelta, segment, contact, in)
}

// DeleteDelta forgets a change of the members under construction.
func (b *Batch) DeleteDelta(segment uint32, contact uint64) {
	b.delete(keyChange(prefixDelta, segment, contact))
}

// Verified writes the last contact that the verifier has looked at.
func (b *Batch) Verified(contact uint64) { b.setID(key(prefixMeta, metaVerified), contact) }

// Verified returns the last contact that the verifier has looked at.
func (s *Store) Verified() (uint64, error) { return s.id(key(prefixMeta, metaVerified)) }

// Checkpoint writes the last flip that the stored members include. No later flip
// gets a number up to it, also where numbers were left out before.
func (b *Batch) Checkpoint(sequence uint64) {
	b.setID(key(prefixMeta, metaCheckpoint), sequence)
	b.LastFlip(sequence)
}

// LastFlip writes the sequence of the last flip, where a number is kept that no
// flip has.
func (b *Batch) LastFlip(sequence uint64) { b.setID(key(prefixMeta, metaFlips), sequence) }

// Checkpoint returns the last flip that the stored members include.
func (s *Store) Checkpoint() (uint64, error) { return s.id(key(prefixMeta, metaCheckpoint)) }

// SegmentIDs writes the last id given to a segment.
func (b *Batch) SegmentIDs(last uint32) { b.setID(key(prefixMeta, metaSegments), uint64(last)) }

// SegmentIDs returns the last id given to a segment.
func (s *Store) SegmentIDs() (uint32, error) {
	n, err := s.id(key(prefixMeta, metaSegments))
	return uint32(n), err //nolint:gosec // written from one
}

// Judged writes the identity of what the deadlines in the wheel were computed with.
func (b *Batch) Judged(identity [16]byte) { b.set(key(prefixMeta, metaJudged), identity[:]) }

// Judged returns the identity of what the deadlines in the wheel were computed with.
func (s *Store) Judged() (id [16]byte, err error) {
	v, err := s.get(key(prefixMeta, metaJudged))
	copy(id[:], v)
	return id, err
}

// Settle commits without waiting for the disk: for what is computed anew, or
// written again, after a crash.
func (b *Batch) Settle() error {
	defer b.Close()
	if b.err != nil {
		return b.err
	}
	if err := b.b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("committing to the contacts store: %w", err)
	}
	return nil
}

// FanOut is an account of which some contacts are still to be judged.
type FanOut struct {
	Account uint64
	Behind  uint64 // contacts up to this one are done
}

// FanOut writes how far an account's contacts are judged.
func (b *Batch) FanOut(f FanOut) { b.setID(keyID(prefixFanOut, f.Account), f.Behind) }

// DeleteFanOut ends it.
func (b *Batch) DeleteFanOut(account uint64) { b.delete(keyID(prefixFanOut, account)) }

// FanOuts returns up to limit accounts of which some contacts are still to be judged.
func (s *Store) FanOuts(limit int) ([]FanOut, error) {
	var list []FanOut
	p := []byte(prefixFanOut)
	for e, err := range s.scan(p, after(p)) {
		if err != nil {
			return nil, fmt.Errorf("reading accounts that changed: %w", err)
		}
		id, err := idOf(p, e.key)
		if err != nil {
			return nil, err
		}
		if len(e.value) != 8 {
			return nil, fmt.Errorf("%w: account that changed", ErrCorrupt)
		}
		if list = append(list, FanOut{id, binary.BigEndian.Uint64(e.value)}); len(list) == limit {
			break
		}
	}
	return slices.Clip(list), nil
}

// ContactsBehind yields the contacts of an account with an id above one, in order.
func (s *Store) ContactsBehind(account, behind uint64, fn func(contact uint64) error) error {
	p := keyID(prefixEdge, account)
	for e, err := range s.scan(keyPair(prefixEdge, account, behind+1), after(p)) {
		if err != nil {
			return fmt.Errorf("reading the contacts of account %d: %w", account, err)
		}
		contact, err := idOf(p, e.key)
		if err != nil {
			return err
		}
		if err := fn(contact); err != nil {
			return err
		}
	}
	return nil
}
