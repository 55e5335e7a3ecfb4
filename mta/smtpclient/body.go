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

// CheckLines returns [ErrLineEnding] (wrapped, with the place) when the parts
// put behind one another hold a CR without LF or an LF without CR.
func CheckLines(parts [][]byte) error {
	cr, offset := false, 0
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		if cr && p[0] != '\n' {
			return fmt.Errorf("%w at octet %d", ErrLineEnding, offset)
		}
		if err := checkPart(p, cr, offset); err != nil {
			return err
		}
		cr = p[len(p)-1] == '\r'
		offset += len(p)
	}
	if cr {
		return fmt.Errorf("%w at octet %d", ErrLineEnding, offset)
	}
	return nil
}

// checkPart checks one part; cr says that the part before it ended in CR. A CR
// at its very end is the next part's business.
func checkPart(p []byte, cr bool, offset int) error {
	for i := 0; ; {
		n := bytes.IndexByte(p[i:], '\n')
		line := p[i:]
		if n >= 0 {
			line = p[i : i+n]
			if n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			} else if i > 0 || n > 0 || !cr {
				return fmt.Errorf("%w at octet %d", ErrLineEnding, offset+i+n)
			}
		} else {
			line = bytes.TrimSuffix(line, []byte{'\r'})
		}
		if at := bytes.IndexByte(line, '\r'); at >= 0 {
			return fmt.Errorf("%w at octet %d", ErrLineEnding, offset+i+at)
		}
		if n < 0 {
			return nil
		}
		i += n + 1
	}
}

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
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	w := stuffer{c: c, bol: true}
	if size > watched {
		return c.watchedBody(&w, parts)
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

// lastWords looks for the reply of a server that closed on us while we wrote.
func (c *Conn) lastWords(werr error) (rfc5321.Reply, Phase, *Error) {
	r, err := c.await(PhaseBody, grace, nil)
	if err == nil {
		err = c.failReply(PhaseBody, r)
	} else if r.Code == 0 {
		err.Err = werr
	}
	return r, PhaseBody, err
}

// watchedBody reads the reply while it writes, so that an early refusal is seen
// at once even where the server stopped reading.
func (c *Conn) watchedBody(w *stuffer, parts [][]byte) (rfc5321.Reply, Phase, *Error) {
	type answer struct {
		reply rfc5321.Reply
		err   error
		early bool // came before the write that ends with the dot began
	}
	done := make(chan answer, 1)
	_ = c.rw.SetReadDeadline(time.Time{})
	go func() {
		r, err := c.readReply(nil)
		early := !w.last.Load()
		// Wakes a write that is blocked; one that is complete does not notice.
		w.stop.Store(true)
		_ = c.rw.SetWriteDeadline(time.Unix(1, 0))
		done <- answer{r, err, early}
	}()
	werr := w.message(parts)
	phase, wait := PhaseDot, c.opts.Timeouts.Dot
	if werr != nil {
		phase, wait = PhaseBody, grace
	}
	if errors.Is(werr, os.ErrDeadlineExceeded) {
		wait = 0 // what it had to say, it has had minutes for
	}
	_ = c.rw.SetReadDeadline(time.Now().Add(wait))
	got := <-done
	switch {
	case got.err != nil:
		e := c.fail(phase, fmt.Errorf("reading the reply: %w", got.err))
		if werr != nil && !errors.Is(werr, errEarly) {
			e.Err = werr
		}
		e.Sent = werr == nil
		return rfc5321.Reply{}, phase, e
	case got.reply.Code == 421 || (positive(got.reply) && werr != nil):
		return got.reply, phase, c.failReply(phase, got.reply)
	case werr != nil || got.early || !positive(got.reply):
		// A refusal may have been said before the dot, with another answer to
		// come. The outcome is clear, but the connection is not used again.
		_ = c.failReply(phase, got.reply)
		return got.reply, phase, nil
	default:
		return got.reply, phase, nil
	}
}

// stuffer writes a message in its DATA form (RFC 5321 section 4.5.2).
type stuffer struct {
	c    *Conn
	bol  bool        // at the beginning of a line
	stop atomic.Bool // the server has answered: stop writing
	last atomic.Bool // the write that ends with the dot has begun
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
	if err := w.put(end); err != nil {
		return err
	}
	w.last.Store(true)
	return w.flush()
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

// put collects small pieces in the connection's buffer and writes large ones
// from where they are.
func (w *stuffer) put(p []byte) error {
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

func (w *stuffer) flush() error {
	err := w.write(w.c.buf)
	w.c.buf = w.c.buf[:0]
	return err
}

// write sets the deadline before it looks for an early answer, as the watcher
// does both the other way round: one of them sees the other.
func (w *stuffer) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_ = w.c.rw.SetWriteDeadline(time.Now().Add(w.c.opts.Timeouts.Write))
	if w.stop.Load() {
		return errEarly
	}
	if _, err := w.c.rw.Write(p); err != nil {
		return fmt.Errorf("writing the message: %w", err)
	}
	return nil
}
