// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// ErrCorrupt is wrapped by every error about a value that cannot be read:
// truncated, with bytes left over, or of a layout this program does not know.
var ErrCorrupt = errors.New("corrupt record")

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBytes(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// appendTime stores whole seconds; the zero time is 0.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.Unix())
}

// reader takes a value apart. After the first failure it returns zeros; the
// caller asks for the error once, at the end.
type reader struct {
	rest []byte
	text string // the end of the value as a string, which all strings are parts of; "" until the first
	bad  bool
}

// layout is the version that every value begins with. A record whose layout
// changes gets a version of its own, and reads this one as well.
const layout = 1

// newReader checks the layout version and reads on behind it.
func newReader(value []byte) *reader {
	r, _ := newReaderUpTo(layout, value)
	return r
}

// newReaderUpTo does so for a value whose layout has had versions up to newest.
func newReaderUpTo(newest byte, value []byte) (*reader, byte) {
	r := &reader{rest: value}
	version := r.byte()
	if version < layout || version > newest {
		r.fail()
	}
	return r, version
}

func (r *reader) fail() {
	r.bad = true
	r.rest = nil
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 { // most are small
		v := r.rest[0]
		r.rest = r.rest[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > 1<<32-1 {
		r.fail()
		return 0
	}
	return uint32(v)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) time() time.Time { return timeOf(r.varint()) }

func timeOf(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(v, 0).UTC()
}

// bytes returns a part of the value, not a copy.
func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	if n == 0 {
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// skip passes over a string or bytes.
func (r *reader) skip() {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return
	}
	r.rest = r.rest[n:]
}

// count is a number of things that follow, of which each takes at least a byte.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return 0
	}
	return int(n) //nolint:gosec // bounded by the length of a value
}

// strings reads what appendStrings wrote; nil for none.
func (r *reader) strings() []string {
	n := r.count()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.string()
	}
	return list
}

func (r *reader) string() string {
	if r.text == "" {
		r.text = string(r.rest)
	}
	b := r.bytes()
	end := len(r.text) - len(r.rest)
	if r.bad {
		return ""
	}
	return r.text[end-len(b) : end]
}

// done returns the error for what, if the value was anything but exactly read.
func (r *reader) done(what string) error {
	if r.bad || len(r.rest) != 0 {
		return fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	return nil
}
