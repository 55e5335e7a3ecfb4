// SPDX-License-Identifier: Apache-2.0

package smtpclient

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
)

// Sizes for the message.
const (
	chunk = 256 << 10 // most octets in one write, and so under one deadline
	// From this size on the reply is read while the message is written: a server
	// may say 552 and stop reading. Below it the socket buffers take the
	// message whole and the reply is read afterwards.
	watched = 64 << 10
)

// body writes the message with its final dot and reads the answer. The phase
// is [PhaseDot] for an answer to the dot and [PhaseBody] for one that came early.
func (c *Conn) body(parts [][]byte) (rfc5321.Reply, Phase, *Error) {
	w := stuffer{spout: spout{c: c}, bol: true}
	if sizeOf(parts) > watched {
		return c.watch(&w.spout, 1, func() error { return w.message(parts) })
	}
	if err := w.message(parts); err != nil {
		return c.lastWords(err)
	}
	r, err := c.await(PhaseDot, c.opts.Timeouts.Dot, nil)
	if err != nil {
		err.Sent = r.Code == 0
	}
	return r, PhaseDot, err
}

// unasked takes what the server said before it had the message: a refusal
// counts, and a yes to what it has not seen is none. The connection is not used
// again.
func (c *Conn) unasked() (rfc5321.Reply, Phase, *Error) {
	r, err := c.await(PhaseBody, grace, nil)
	if err == nil {
		if e := c.failReply(PhaseBody, r); r.Code < 400 {
			err, e.Err = e, ErrReply
		}
	}
	return r, PhaseBody, err
}

// lastWords looks for the reply of a server that closed on us while we wrote.
func (c *Conn) lastWords(werr error) (rfc5321.Reply, Phase, *Error) {
	r, phase, err := c.unasked()
	if r.Code == 0 {
		err.Err = werr
	}
	return r, phase, err
}

// watch writes the message and reads its replies at the same time, so that an
// early refusal is seen at once even where the server stopped reading. The last
// of the replies, or the first that is no yes, is the answer.
func (c *Conn) watch(w *spout, replies int, write func() error) (rfc5321.Reply, Phase, *Error) {
	done := make(chan answer, 1)
	_ = c.rw.SetReadDeadline(time.Time{})
	go func() {
		var a answer
		for n := 1; ; n++ {
			a.reply, a.err = c.readReply(nil)
			if a.whole = n == replies; a.whole || a.err != nil || !positive(a.reply) {
				break
			}
		}
		a.early = !w.last.Load()
		// Wakes a write that is blocked; one that is complete does not notice.
		w.stop.Store(true)
		_ = c.rw.SetWriteDeadline(time.Unix(1, 0))
		done <- a
	}()
	werr := write()
	wait := c.opts.Timeouts.Dot
	switch {
	case errors.Is(werr, os.ErrDeadlineExceeded):
		wait = 0 // what it had to say, it has had minutes for
	case werr != nil:
		wait = grace
	}
	_ = c.rw.SetReadDeadline(time.Now().Add(wait))
	a := <-done
	return c.judge(&a, werr)
}

// answer is what came back while a message was written.
type answer struct {
	reply rfc5321.Reply
	err   error
	early bool // came before the write that ends the message began
	whole bool // answers the whole message, not a chunk of it
}

// judge says what an answer means, given how the writing ended.
func (c *Conn) judge(a *answer, werr error) (rfc5321.Reply, Phase, *Error) {
	phase := PhaseDot
	if werr != nil || !a.whole {
		phase = PhaseBody
	}
	switch {
	case a.err != nil:
		e := c.fail(phase, fmt.Errorf("reading the reply: %w", a.err))
		if werr != nil && !errors.Is(werr, errEarly) {
			e.Err = werr
		}
		e.Sent = werr == nil
		return rfc5321.Reply{}, phase, e
	case a.reply.Code == 421:
		return a.reply, phase, c.failReply(phase, a.reply)
	case positive(a.reply) && (werr != nil || a.early):
		// A yes to a message that it had not seen the end of.
		e := c.failReply(PhaseBody, a.reply)
		e.Err, e.Sent = ErrReply, werr == nil
		return rfc5321.Reply{}, PhaseBody, e
	case !positive(a.reply):
		// A refusal may have been said before the end, with another answer to
		// come. The outcome is clear, but the connection is not used again.
		_ = c.failReply(phase, a.reply)
	}
	return a.reply, phase, nil
}

// spout writes a message by way of the connection's buffer until the server has
// answered.
type spout struct {
	c    *Conn
	stop atomic.Bool // the server has answered: stop writing
	last atomic.Bool // the write that ends the message has begun
}

// put collects small pieces in the connection's buffer and writes large ones
// from where they are.
func (w *spout) put(p []byte) error {
	for len(p) > 0 {
		room := cap(w.c.buf) - len(w.c.buf)
		if len(w.c.buf) == 0 && len(p) >= room {
			n := min(len(p), chunk)
			if err := w.write(p[:n]); err != nil {
				return err
			}
			p = p[n:]
			continue
		}
		n := min(len(p), room)
		w.c.buf = append(w.c.buf, p[:n]...)
		p = p[n:]
		if len(w.c.buf) == cap(w.c.buf) {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// end writes the last octets of the message.
func (w *spout) end(p []byte) error {
	if cap(w.c.buf)-len(w.c.buf) < len(p) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.last.Store(true)
	w.c.buf = append(w.c.buf, p...)
	return w.flush()
}

func (w *spout) flush() error {
	err := w.write(w.c.buf)
	w.c.buf = w.c.buf[:0]
	return err
}

// write sets the deadline before it looks for an early answer, as the watcher
// does both the other way round: one of them sees the other.
func (w *spout) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_ = w.c.rw.SetWriteDeadline(w.c.by(w.c.opts.Timeouts.Write))
	if w.stop.Load() {
		return errEarly
	}
	if _, err := w.c.rw.Write(p); err != nil {
		return fmt.Errorf("writing the message: %w", err)
	}
	return nil
}

// stuffer writes a message in its DATA form (RFC 5321 section 4.5.2).
type stuffer struct {
	spout
	bol bool // at the beginning of a line
}

// message writes all parts and the final dot.
func (w *stuffer) message(parts [][]byte) error {
	for _, p := range parts {
		if err := w.part(p); err != nil {
			return err
		}
	}
	end := []byte("\r\n.\r\n")
	if w.bol {
		end = end[2:]
	}
	return w.end(end)
}

// part writes p and doubles the dots that begin a line.
func (w *stuffer) part(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	dot := []byte{'.'}
	if w.bol && p[0] == '.' {
		if err := w.put(dot); err != nil {
			return err
		}
	}
	w.bol = p[len(p)-1] == '\n'
	for {
		i := bytes.Index(p, []byte("\n."))
		if i < 0 {
			return w.put(p)
		}
		if err := w.put(p[:i+2]); err != nil {
			return err
		}
		if err := w.put(dot); err != nil {
			return err
		}
		p = p[i+2:]
	}
}
