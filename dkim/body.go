// SPDX-License-Identifier: Apache-2.0

package dkim

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// BodyHash is the SHA-256 of a body in relaxed form: the bh= tag. It depends on
// the body alone and may be cached with it.
type BodyHash [sha256.Size]byte

// HashBody hashes a whole body. A missing final CRLF counts as present (section
// 3.4.4); trailing empty lines count as absent.
func HashBody(body []byte) BodyHash {
	h := NewBodyHasher()
	h.Write(body)
	return h.Sum()
}

// BodyHasher hashes a body that arrives in parts, wherever they are cut. It is
// used by one goroutine at a time. Start with [NewBodyHasher].
type BodyHasher struct {
	h       hash.Hash
	n       int  // bytes waiting in buf
	blank   int  // line ends seen and not yet written: dropped if nothing follows
	space   bool // white space seen after them and not yet written
	cr      bool // the last part ended in CR
	content bool // something was written
	buf     [1024]byte
}

// NewBodyHasher starts an empty body.
func NewBodyHasher() *BodyHasher { return &BodyHasher{h: sha256.New()} }

// Write adds the next part of the body.
func (b *BodyHasher) Write(p []byte) {
	if b.cr && len(p) > 0 {
		b.cr = false
		if p[0] == '\n' {
			b.endLine()
			p = p[1:]
		} else {
			b.flushVoid()
			b.emitByte('\r')
		}
	}
	// White space and line ends at the end of the part wait for what follows.
	solid := len(p)
	for solid > 0 && isVoid(p[solid-1]) {
		solid--
	}
	b.write(p[:solid], true)
	b.write(p[solid:], false)
}

// write takes a piece that either ends with content (solid) or is nothing but
// white space and line-end bytes.
func (b *BodyHasher) write(p []byte, solid bool) {
	for len(p) > 0 {
		switch c := p[0]; {
		case isWSP(c):
			b.space = true
			p = p[1:]
		case c == '\r' && len(p) > 1 && p[1] == '\n':
			b.endLine()
			p = p[2:]
		case c == '\r' && len(p) == 1:
			b.cr = true
			return
		default:
			b.flushVoid()
			n := 1
			if solid {
				n = nextVoid(p)
			}
			b.emit(p[:n])
			p = p[n:]
		}
	}
}

func isVoid(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func (b *BodyHasher) endLine() {
	b.space = false
	b.blank++
}

// flushVoid writes the line ends and the one space that turned out to have
// content after them.
func (b *BodyHasher) flushVoid() {
	for ; b.blank > 0; b.blank-- {
		b.emitByte('\r')
		b.emitByte('\n')
	}
	if b.space {
		b.space = false
		b.emitByte(' ')
	}
}

// emit hashes p, gathering small pieces.
func (b *BodyHasher) emit(p []byte) {
	b.content = true
	if len(p) > len(b.buf)-b.n {
		b.h.Write(b.buf[:b.n])
		b.n = 0
		if len(p) >= len(b.buf) {
			b.h.Write(p)
			return
		}
	}
	b.n += copy(b.buf[b.n:], p)
}

// emitByte is emit for one byte; it keeps the byte off the heap.
func (b *BodyHasher) emitByte(c byte) {
	b.content = true
	if b.n == len(b.buf) {
		b.h.Write(b.buf[:])
		b.n = 0
	}
	b.buf[b.n] = c
	b.n++
}

// Sum ends the body. The hasher must not be used after it.
func (b *BodyHasher) Sum() BodyHash {
	if b.cr {
		b.flushVoid()
		b.emitByte('\r')
	}
	if b.content {
		b.emitByte('\r')
		b.emitByte('\n')
	}
	b.h.Write(b.buf[:b.n])
	var out BodyHash
	b.h.Sum(out[:0])
	return out
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// zeroBytes has 0x80 for each zero byte of v, exactly.
func zeroBytes(v uint64) uint64 {
	const rest = ^uint64(highs)
	return ^(((v & rest) + rest) | v | rest)
}

// nextVoid returns how many bytes from the start of p are in relaxed form
// already: up to a tab, two spaces, or a space before CR. p begins and ends with
// a byte that is no white space. A space before a CR that ends no line is
// reported too, which costs time and nothing else. At least 1.
func nextVoid(p []byte) int {
	i := 0
	// Eight bytes are looked at, seven are used up: the eighth says what follows the seventh.
	for ; i+8 <= len(p); i += 7 {
		v := binary.LittleEndian.Uint64(p[i:])
		tab := zeroBytes(v ^ '\t'*ones)
		space := zeroBytes(v ^ ' '*ones)
		if tab|space == 0 {
			continue
		}
		cr := zeroBytes(v ^ '\r'*ones)
		if tab|(space&((space|cr)>>8)) != 0 {
			break
		}
	}
	for ; i < len(p); i++ {
		if p[i] == '\t' || (p[i] == ' ' && i+1 < len(p) && (isWSP(p[i+1]) || p[i+1] == '\r')) {
			return max(i, 1)
		}
	}
	return len(p)
}
