// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"io"
	"net"
	"time"
)

// face is what go-smtp takes for the socket: one conversation of a Conn. A read
// gives the next command line, a write collects the reply.
type face struct {
	c    *Conn
	feed []byte
	gone bool
}

var _ net.Conn = (*face)(nil)

// Read implements io.Reader.
func (f *face) Read(p []byte) (int, error) {
	if f.gone {
		return 0, net.ErrClosed
	}
	if len(f.feed) == 0 {
		if f.feed = f.c.next(); f.feed == nil {
			return 0, io.EOF
		}
	}
	n := copy(p, f.feed)
	f.feed = f.feed[n:]
	return n, nil
}

// Write implements io.Writer.
func (f *face) Write(p []byte) (int, error) {
	if f.gone {
		return 0, net.ErrClosed
	}
	f.c.reply = append(f.c.reply, p...)
	return len(p), nil
}

// Close ends the conversation: go-smtp calls it after QUIT, after too many errors,
// and last of all. The connection goes with it, unless STARTTLS began another.
func (f *face) Close() error {
	if f.gone {
		return nil
	}
	f.gone = true
	c := f.c
	c.settle()
	if c.upgraded {
		c.upgraded = false
		c.handoff.give(&face{c: c}) // from here on c belongs to another goroutine
		return nil
	}
	c.shut()
	return nil
}

// LocalAddr implements net.Conn.
func (f *face) LocalAddr() net.Addr { return f.c.raw.LocalAddr() }

// RemoteAddr implements net.Conn.
func (f *face) RemoteAddr() net.Addr { return f.c.raw.RemoteAddr() }

// SetDeadline implements net.Conn; deadlines are the Conn's.
func (f *face) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn; deadlines are the Conn's.
func (f *face) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn; deadlines are the Conn's.
func (f *face) SetWriteDeadline(time.Time) error { return nil }
