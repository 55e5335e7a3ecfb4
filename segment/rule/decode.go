// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Decoder is [Schema.Decode] for many records one after another, of which only
// some attributes are wanted. It makes no value twice: nearly all texts and lists
// occur again and again. It is not safe for concurrent use.
type Decoder struct {
	schema *Schema
	want   Bits // by slot
	values map[string]Value
}

// Limits of what a [Decoder] keeps.
const (
	keptValues = 4096
	keptValue  = 128 // bytes of its binary form
)

// NewDecoder returns a decoder that sets some slots.
func (s *Schema) NewDecoder(slots []int) *Decoder {
	d := &Decoder{schema: s, want: make(Bits, words(s.Len())), values: make(map[string]Value)}
	for _, slot := range slots {
		d.want.Set(slot, slot >= firstAttribute)
	}
	return d
}

// Decode is [Schema.Decode]. What is not wanted is not looked at.
func (d *Decoder) Decode(record []byte, slots []Value) error {
	if len(record) == 0 {
		return nil
	}
	if record[0] != recordVersion {
		return fmt.Errorf("%w: version %d is unknown", ErrCorrupt, record[0])
	}
	r := reader{in: record[1:]}
	next := firstAttribute
	for len(r.in) > 0 {
		name := r.bytes()
		value := r.value()
		if r.bad {
			return fmt.Errorf("%w: record of %d bytes", ErrCorrupt, len(record))
		}
		slot, ok := d.slot(next, name)
		if !ok {
			continue
		}
		next = slot + 1
		if !d.want.Has(slot) || slot >= len(slots) || Type(value[0]) != d.schema.types[slot] {
			continue
		}
		var err error
		if slots[slot], err = d.decode(value); err != nil {
			return err
		}
	}
	return nil
}

// slot is [Schema.from] for bytes.
func (d *Decoder) slot(next int, name []byte) (int, bool) {
	s := d.schema
	for slot := next; slot < min(next+few, len(s.names)); slot++ {
		if s.names[slot] == string(name) {
			return slot, true
		}
	}
	slot, ok := s.slots[string(name)]
	return slot, ok
}

// decode is the package's Decode of exactly one value.
func (d *Decoder) decode(value []byte) (Value, error) {
	if Type(value[0]) == Number {
		v := Value{kind: Number, bits: binary.LittleEndian.Uint64(value[1:])}
		if n := v.Number(); math.IsNaN(n) || math.IsInf(n, 0) || math.Float64bits(n+0) != v.bits {
			return Value{}, fmt.Errorf("%w: a number that is none", ErrCorrupt)
		}
		return v, nil
	}
	if v, ok := d.values[string(value)]; ok {
		return v, nil
	}
	v, _, err := Decode(value)
	if err == nil && len(value) <= keptValue {
		if len(d.values) >= keptValues {
			clear(d.values)
		}
		d.values[string(value)] = v
	}
	return v, err
}

// bytes reads a text without making one.
func (r *reader) bytes() []byte { return r.take(r.count(maxRecord)) }

func (r *reader) take(n int) []byte {
	if n > len(r.in) {
		r.bad = true
	}
	if r.bad {
		return nil
	}
	out := r.in[:n]
	r.in = r.in[n:]
	return out
}

// value reads the bytes of a value, of which the first is its type.
func (r *reader) value() []byte {
	from := r.in
	switch Type(r.byte()) {
	case Missing:
	case Text:
		r.bytes()
	case Number:
		r.take(8)
	case Boolean:
		r.byte()
	case Time:
		r.uvarint()
	case List:
		for range r.count(maxRecord) {
			r.bytes()
		}
	case Topics:
		for range r.count(maxRecord) {
			r.bytes()
			r.take(8)
		}
	default:
		r.bad = true
	}
	return from[:len(from)-len(r.in)]
}
