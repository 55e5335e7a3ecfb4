// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// ErrCorrupt is wrapped by every error of reading the binary form.
var ErrCorrupt = errors.New("corrupt attribute data")

// Scope says whose attributes a record holds.
type Scope uint8

// The scopes: attributes named contact.x and account.x.
const (
	Contact Scope = iota
	Account
)

const (
	contactScope = "contact"
	accountScope = "account"
)

// prefix is what the names of the scope begin with.
func (s Scope) prefix() string {
	if s == Account {
		return accountScope + "."
	}
	return contactScope + "."
}

// recordVersion is the first byte of a record written by [Schema.Encode].
const recordVersion = 1

// Encode appends a record of all attributes of one scope that are present. The
// record goes by name: it outlives a change of the schema. Built-in names are
// state, not attributes, and are left out.
func (s *Schema) Encode(dst []byte, of Scope, slots []Value) []byte {
	dst = append(dst, recordVersion)
	for slot := firstAttribute; slot < min(len(slots), s.Len()); slot++ {
		if slots[slot].kind != Missing && strings.HasPrefix(s.names[slot], of.prefix()) {
			dst = AppendNamed(dst, s.names[slot], slots[slot])
		}
	}
	return dst
}

// Decode sets the slots of every name in the record that the schema declares
// with the same type. Others are skipped: whoever rewrites a record and must
// keep them walks it with [Records]. Slots that the record does not name stay as
// they are; on error, some may be set.
func (s *Schema) Decode(record []byte, slots []Value) error {
	return s.Each(record, func(slot int, v Value) {
		if slot < len(slots) {
			slots[slot] = v
		}
	})
}

// Each calls f with the slot and the value of every name in the record that Decode
// sets.
func (s *Schema) Each(record []byte, f func(slot int, v Value)) error {
	next := firstAttribute
	return Records(record, func(name string, v Value) {
		if slot, ok := s.from(next, name); ok && slot >= firstAttribute && s.types[slot] == v.kind {
			f(slot, v)
			next = slot + 1
		}
	})
}

// from is Slot for a name that most likely is one of the next: [Schema.Encode]
// writes in the order of slots.
func (s *Schema) from(next int, name string) (int, bool) {
	for slot := next; slot < min(next+few, len(s.names)); slot++ {
		if s.names[slot] == name {
			return slot, true
		}
	}
	slot, ok := s.slots[name]
	return slot, ok
}

// Records calls f with each name and value of a record.
func Records(record []byte, f func(name string, v Value)) error {
	if len(record) == 0 {
		return nil
	}
	if record[0] != recordVersion {
		return fmt.Errorf("%w: version %d is unknown", ErrCorrupt, record[0])
	}
	d := decoder{in: string(record[1:])}
	for d.in != "" && !d.bad {
		name := d.text()
		if v := d.value(); !d.bad {
			f(name, v)
		}
	}
	if d.bad {
		return fmt.Errorf("%w: record of %d bytes", ErrCorrupt, len(record))
	}
	return nil
}

// AppendNamed appends a name and its value, the unit of a record.
func AppendNamed(dst []byte, name string, v Value) []byte {
	return v.Append(appendText(dst, name))
}

// Append appends the binary form of a value: its type, then its bytes.
func (v Value) Append(dst []byte) []byte {
	dst = append(dst, byte(v.kind))
	switch v.kind {
	case Missing:
	case Text:
		dst = appendText(dst, v.text)
	case Number:
		dst = binary.LittleEndian.AppendUint64(dst, v.bits)
	case Boolean:
		dst = append(dst, "\x00\x01"[v.bits&1])
	case Time:
		dst = binary.AppendVarint(dst, v.micro())
	case List:
		dst = binary.AppendUvarint(dst, uint64(len(v.set.list)))
		for _, item := range v.set.list {
			dst = appendText(dst, item)
		}
	case Topics:
		dst = binary.AppendUvarint(dst, uint64(len(v.set.topics)))
		for _, t := range v.set.topics {
			dst = binary.LittleEndian.AppendUint64(appendText(dst, t.Name), math.Float64bits(t.Score))
		}
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// Decode reads one value from the front of data and returns the rest.
func Decode(data []byte) (Value, []byte, error) {
	d := decoder{in: string(data)}
	v := d.value()
	if d.bad {
		return Value{}, nil, fmt.Errorf("%w: value of at most %d bytes", ErrCorrupt, len(data))
	}
	return v, data[len(data)-len(d.in):], nil
}

// decoder reads from a string, so that all texts of a record share one
// allocation. After the first fault it stays bad and returns zeros.
type decoder struct {
	in  string
	bad bool
}

func (d *decoder) fail() {
	d.in, d.bad = "", true
}

func (d *decoder) take(n int) string {
	if n > len(d.in) {
		d.fail()
		return ""
	}
	out := d.in[:n]
	d.in = d.in[n:]
	return out
}

func (d *decoder) uvarint() uint64 {
	var x uint64
	for shift := 0; shift < 64; shift += 7 {
		b := d.take(1)
		if b == "" {
			return 0
		}
		x |= uint64(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			if b[0] == 0 && shift > 0 || shift == 63 && b[0] > 1 {
				break // not the shortest form, or too big
			}
			return x
		}
	}
	d.fail()
	return 0
}

// maxRecord bounds every length, so that it is an int on any machine.
const maxRecord = 1 << 30

// count reads a number of things of which each takes at least size bytes.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > maxRecord || int(n) > len(d.in)/size {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) text() string { return d.take(d.count(1)) }

func (d *decoder) uint64() uint64 {
	b := d.take(8)
	if b == "" {
		return 0
	}
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// number reads a double that [NumberValue] would keep as it is.
func (d *decoder) number() float64 {
	bits := d.uint64()
	n := math.Float64frombits(bits)
	if math.IsNaN(n) || math.IsInf(n, 0) || math.Float64bits(n+0) != bits {
		d.fail()
	}
	return n
}

func (d *decoder) value() Value {
	kind := d.take(1)
	if kind == "" {
		return Value{}
	}
	v := Value{kind: Type(kind[0])}
	switch v.kind {
	case Missing:
	case Text:
		v.text = d.text()
	case Number:
		v.bits = math.Float64bits(d.number())
	case Boolean:
		if b := d.take(1); b == "\x01" {
			v.bits = 1
		} else if b != "\x00" {
			d.fail()
		}
	case Time:
		zigzag := d.uvarint()
		v.bits = zigzag>>1 ^ -(zigzag & 1)
		if v.micro() == zeroMicro || !representable(v.Time()) {
			d.fail()
		}
	case List:
		v.set = &set{list: d.list()}
	case Topics:
		v.set = &set{topics: d.topics()}
	default:
		d.fail()
	}
	return v
}

func (d *decoder) list() []string {
	list := make([]string, 0, d.count(2))
	for range cap(list) {
		item := d.text()
		if item == "" || len(list) > 0 && item <= list[len(list)-1] {
			d.fail()
		}
		list = append(list, item)
	}
	return list
}

func (d *decoder) topics() []Topic {
	topics := make([]Topic, 0, d.count(10))
	for range cap(topics) {
		t := Topic{Name: d.text()}
		t.Score = d.number()
		if t.Name == "" || len(topics) > 0 && t.Name <= topics[len(topics)-1].Name {
			d.fail()
		}
		topics = append(topics, t)
	}
	return topics
}
