// SPDX-License-Identifier: Apache-2.0

// Package codec is the binary form of stored values: a version byte, then
// fields in a fixed order as varints, length-prefixed strings and times.
//
// It is for values that only Segue writes and reads, but a disk can lie, so a
// [Reader] never panics and never allocates more than a small multiple of the bytes it was given:
// the first bad field makes every later read return zero and [Reader.Err]
// report [ErrCorrupt]. A newer version that only appends fields stays readable
// by older code, which stops early; [Reader.More] tells newer code whether an older
// writer left a field out.
//
// States that people may want to read are stored as JSON instead; [JSON] reads them as
// warily.
package codec

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// ErrCorrupt says that a stored value is cut short or holds a length beyond its end.
var ErrCorrupt = errors.New("corrupt stored value")

// AppendUint appends an unsigned varint.
func AppendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendInt appends a signed varint.
func AppendInt(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// AppendString appends a length and the bytes.
func AppendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// AppendBytes appends a length and the bytes.
func AppendBytes(b, s []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// AppendStrings appends a count and the strings.
func AppendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = AppendString(b, s)
	}
	return b
}

// AppendTime appends a time in whole microseconds; the zero time stays zero.
func AppendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return AppendInt(b, math.MinInt64)
	}
	return AppendInt(b, t.UnixMicro())
}

// AppendBool appends one byte.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// Reader reads fields in the order they were appended. The zero Reader is at
// the end of an empty value. Not safe for concurrent use.
type Reader struct {
	rest []byte
	bad  bool
}

// NewReader reads from b, which it does not keep beyond the strings it returns copies of.
func NewReader(b []byte) *Reader { return &Reader{rest: b} }

// Err is [ErrCorrupt] after the first field that could not be read.
func (r *Reader) Err() error {
	if r.bad {
		return ErrCorrupt
	}
	return nil
}

// More reports whether bytes are left.
func (r *Reader) More() bool { return !r.bad && len(r.rest) > 0 }

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.bad || len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

// Bool reads what AppendBool wrote.
func (r *Reader) Bool() bool { return r.Byte() != 0 }

// Uint reads an unsigned varint.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Int reads a signed varint.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.rest)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Bytes reads a length and that many bytes; the result aliases the input.
func (r *Reader) Bytes() []byte {
	n := r.Uint()
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	s := r.rest[:n:n]
	r.rest = r.rest[n:]
	return s
}

// String reads a length and that many bytes.
func (r *Reader) String() string { return string(r.Bytes()) }

// Strings reads a count and the strings; nil where the count is 0.
func (r *Reader) Strings() []string {
	n := r.Uint()
	if n == 0 || r.bad || n > uint64(len(r.rest)) {
		r.bad = r.bad || n > uint64(len(r.rest))
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, r.String())
	}
	if r.bad {
		return nil
	}
	return list
}

// Time reads what AppendTime wrote, in UTC.
func (r *Reader) Time() time.Time {
	v := r.Int()
	if r.bad || v == math.MinInt64 {
		return time.Time{}
	}
	return time.UnixMicro(v).UTC()
}
