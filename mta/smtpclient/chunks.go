// SPDX-License-Identifier: Apache-2.0

package smtpclient

import (
	"strconv"

	"github.com/seguemta/segue/mta/rfc5321"
)

// together is how many replies may be under way when the message follows its
// envelope in the same flight. They and a message of up to [watched] octets fit
// into the buffers between us and the server, so that nobody waits for the other.
const together = 8

// chunked hands the message over by BDAT (RFC 3030): nothing is stuffed, and no
// 354 is waited for.
//
// The first time on a connection the replies to the envelope are read before,
// as with DATA: nobody knows yet if the server means what it offers, and one that
// does not would take the lines of the message for commands. Once it has taken a
// message, and said so with an enhanced code, both leave in one flight. If all recipients are
// refused then, the server reads the chunk, drops it and refuses it.
//
// The answer to the last chunk is one to the final dot in all that follows.
func (x *exchange) chunked() *Error {
	c := x.c
	w := newChunker(c, x.tx.Parts)
	if !c.proven || len(x.pending) == 0 || len(x.pending) > together || w.size > watched {
		if err := x.settle(); err != nil || x.nobody() {
			return err
		}
		if c.br.Buffered() > 0 {
			return x.tooSoon()
		}
	}
	x.bdat = true
	var err *Error
	if w.size > watched {
		err = x.answered(c.watch(&w.spout, w.count(), w.message))
	} else {
		x.pending = append(x.pending, step{phase: PhaseDot})
		err = x.collect(w.message())
	}
	if err != nil && err.Reply.Code == 0 && !c.proven {
		// Some firewalls cut a connection at the first BDAT.
		err.Chunking = true
	}
	return err
}

// tooSoon takes a reply that came before BDAT was said. Unlike one behind a 354 it
// cannot speak of the message: it is a farewell, or the replies before it have moved.
func (x *exchange) tooSoon() *Error {
	r, phase, err := x.c.unasked()
	if err == nil {
		err = x.c.failReply(phase, r)
		err.Err = ErrReply
	}
	if r.Code == 421 {
		return x.answered(r, phase, err)
	}
	return x.astray(err)
}

// takeLast takes the answer to a message. One that speaks of an address may be to
// the envelope, late, also where that was answered before: DATA will tell.
func (x *exchange) takeLast(r rfc5321.Reply) *Error {
	switch {
	case positive(r) && x.cut != nil:
		e := x.c.failReply(PhaseBody, r)
		e.Err = ErrReply
		return e
	case !x.notChunking(r.Code) && (aboutAddress(r) || len(x.pending) > 1 && x.outOfStep(r)):
		e := x.c.failReply(PhaseDot, r)
		e.Err, e.Sent, e.Chunking = ErrReply, true, true
		return e
	default:
		return x.answered(r, PhaseDot, nil)
	}
}

// outOfStep reports that more replies came than commands were sent, so that
// nobody knows if r was for the envelope or for the message. DATA would tell.
// The others may be still to come: an answer to an address is none to a message. A 421
// behind the last reply is only a farewell.
func (x *exchange) outOfStep(r rfc5321.Reply) bool {
	if positive(r) && !aboutMessage(r) {
		return true
	}
	n := x.c.br.Buffered()
	if n == 0 {
		return false
	}
	more, _ := x.c.br.Peek(min(n, 3))
	return string(more) != "421"
}

// aboutAddress reports the enhanced codes of MAIL and RCPT (RFC 3463 section 3.2).
func aboutAddress(r rfc5321.Reply) bool { return r.Enhanced[1] == 1 }

// aboutMessage reports an enhanced code that is none of an address.
func aboutMessage(r rfc5321.Reply) bool {
	return r.Enhanced != rfc5321.EnhancedCode{} && !aboutAddress(r)
}

// notChunking reports a server that offers BDAT and does not know it. These codes
// are about the command; what DATA would be answered is still to be asked.
func (x *exchange) notChunking(code int) bool {
	return x.bdat && len(x.open) > 0 && code >= 500 && code <= 504
}

// chunks reports whether messages go by BDAT.
func (c *Conn) chunks() bool { return c.ext.Chunking && !c.opts.NoChunking }

// chunker writes a message as BDAT commands with their octets.
type chunker struct {
	spout
	parts [][]byte
	size  int    // octets of the message, with the line end that it may lack
	tail  []byte // of size, its end, which is not in parts
	most  int    // octets of a chunk
}

func newChunker(c *Conn, parts [][]byte) *chunker {
	w := &chunker{spout: spout{c: c}, size: sizeOf(parts), most: chunk}
	for len(parts) > 0 && len(parts[len(parts)-1]) == 0 {
		parts = parts[:len(parts)-1]
	}
	if n := len(parts); n > 0 {
		if p := parts[n-1]; p[len(p)-1] == '\n' {
			w.tail = p[len(p)-1:]
		} else {
			w.tail = []byte("\r\n")
			w.size += 2
		}
	}
	w.parts = parts
	if !c.ext.Pipelining {
		w.most = w.size // the next chunk would have to wait for the answer to this one
	}
	return w
}

// next is the size of the next chunk when left octets are to come. The last one
// is never small: a chunk for a few octets would be a reply for nothing.
func (w *chunker) next(left int) int {
	if left <= w.most+w.most/2 {
		return left
	}
	return w.most
}

// count is how many chunks there are, and so replies.
func (w *chunker) count() int {
	n := 1
	for left := w.size; w.next(left) < left; left -= w.next(left) {
		n++
	}
	return n
}

// message writes everything.
func (w *chunker) message() error {
	left := w.size
	room, err := w.begin(left)
	if err != nil {
		return err
	}
	for i, p := range w.parts {
		if i == len(w.parts)-1 && w.tail[0] == '\n' {
			p = p[:len(p)-1]
		}
		for len(p) > 0 {
			if room == 0 {
				if room, err = w.begin(left); err != nil {
					return err
				}
			}
			n := min(len(p), room)
			if err := w.put(p[:n]); err != nil {
				return err
			}
			p, room, left = p[n:], room-n, left-n
		}
	}
	return w.end(w.tail)
}

// begin writes the command of the next chunk and returns how much goes into it.
func (w *chunker) begin(left int) (int, error) {
	n := w.next(left)
	line := "BDAT " + strconv.Itoa(n)
	if n == left {
		line += " LAST"
	}
	return n, w.put([]byte(line + "\r\n"))
}

func sizeOf(parts [][]byte) int {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	return n
}
