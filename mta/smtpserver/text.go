// SPDX-License-Identifier: Apache-2.0

package smtpserver

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
)

// text is the message of the open transaction.
type text struct {
	data      []byte
	size      int64     // on the wire
	held      int64     // of the Budget
	chunks    int       // BDAT commands seen; 0 = DATA
	stop      time.Time // of BDAT: when patience with the whole message ends
	truncated bool
	refusal   *rfc5321.Refusal // why it cannot be taken
	received  time.Time
}

// endOfText is all of the message that go-smtp sees.
func endOfText() []byte { return []byte(".\r\n") }

// forget drops the message and gives its memory back.
func (c *Conn) forget() {
	if c.text.held > 0 {
		c.srv.opts.Bytes.give(c.text.held)
	}
	c.text = text{}
}

func (c *Conn) room(n int) bool {
	if !c.srv.opts.Bytes.take(int64(n)) {
		return false
	}
	c.text.held += int64(n)
	return true
}

// message reads the text that follows an accepted DATA; after BDAT it is here
// already.
func (c *Conn) message() []byte {
	if c.text.chunks == 0 {
		if err := c.readText(); err != nil {
			c.fail(err)
			return nil
		}
	}
	c.text.received = c.srv.opts.Now()
	return endOfText()
}

func (c *Conn) readText() error {
	o := &c.srv.opts
	s := scanner{keep: o.Keep, maxLine: o.MaxLine, room: c.room, first: int(min(c.declared, o.Keep, maxFirstBody))}
	c.widen()
	stop := time.Now().Add(o.Timeouts.Message)
	for {
		n, done, err := s.scan(c.buf[c.r:c.w])
		c.r += n
		switch {
		case err != nil:
			return err
		case done:
			c.text.data, c.text.size = s.body, s.size
			c.text.truncated = s.size > o.Keep
			c.judge(s.long, s.full)
			return nil
		case s.size > 2*o.MaxSize:
			return errTooMuch
		}
		if err := c.fillText(stop); err != nil {
			return err
		}
	}
}

// fillText reads more of a message: every read has its own deadline, all
// together have one.
func (c *Conn) fillText(stop time.Time) error {
	if err := c.flush(); err != nil {
		return err
	}
	deadline := time.Now().Add(c.srv.opts.Timeouts.Data)
	if stop.Before(deadline) {
		deadline = stop
	}
	if err := c.raw.SetReadDeadline(deadline); err != nil {
		return err
	}
	return c.fill()
}

func (c *Conn) judge(long int, full bool) {
	o := &c.srv.opts
	switch {
	case c.text.size > o.MaxSize:
		c.text.refusal = &rfc5321.Refusal{Reply: tooLarge(o.MaxSize)}
	case full:
		c.text.refusal = noRoom()
	case long > 0:
		c.text.refusal = longLine(long, o.MaxLine)
	}
}

func noRoom() *rfc5321.Refusal {
	return rfc5321.Refuse(452, rfc5321.EnhancedCode{4, 3, 1}, "receiving too much at once, try again later")
}

func longLine(n, limit int) *rfc5321.Refusal {
	return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 6, 0},
		fmt.Sprintf("line %d is longer than %d octets: encode the part as quoted-printable or base64", n, limit))
}

// smallChunk is what counts as getting nowhere.
const smallChunk = 1 << 10

// chunk handles BDAT (RFC 3030). The last chunk becomes a DATA for go-smtp, a
// failed one a RSET, since it ends the transaction.
func (c *Conn) chunk(arg string) []byte {
	size, last, ok := parseChunk(arg)
	o := &c.srv.opts
	if !ok { // how much text follows is not known: no telling it from commands
		c.end("unsynchronised", rfc5321.Reply{Code: 501, Enhanced: rfc5321.EnhancedCode{5, 5, 4}, Text: "BDAT needs a size, and LAST or nothing"})
		return nil
	}
	if size > 2*o.MaxSize {
		c.fail(errTooMuch)
		return nil
	}
	var refusal *rfc5321.Refusal
	keep := max(0, min(size, o.Keep-int64(len(c.text.data))))
	switch {
	case !c.inTx() || c.rcpts == 0:
		refusal = rfc5321.Refuse(503, rfc5321.EnhancedCode{5, 5, 1}, "BDAT needs a recipient that was accepted")
	case c.text.size+size > o.MaxSize:
		refusal = &rfc5321.Refusal{Reply: tooLarge(o.MaxSize)}
	}
	if refusal != nil {
		keep = 0
	}
	if size < smallChunk && !last {
		if c.loiter(); c.dead {
			return nil
		}
	}
	full, err := c.readChunk(size, keep)
	if err != nil {
		c.fail(err)
		return nil
	}
	if full {
		refusal = noRoom()
	}
	if refusal != nil {
		return c.failChunk(refusal)
	}
	c.text.chunks++
	c.text.size += size
	if !last {
		c.say(250, rfc5321.EnhancedCode{2, 0, 0}, strconv.FormatInt(size, 10)+" octets received")
		return nil
	}
	if refusal := c.finishChunks(); refusal != nil {
		return c.failChunk(refusal)
	}
	c.command = command{verb: "DATA"}
	return []byte("DATA\r\n")
}

func (c *Conn) failChunk(refusal *rfc5321.Refusal) []byte {
	if !c.inTx() {
		c.answer(refusal.Reply)
		return nil
	}
	c.override = &refusal.Reply
	return []byte("RSET\r\n")
}

func parseChunk(arg string) (int64, bool, bool) {
	f := strings.Fields(arg)
	if len(f) == 0 || len(f) > 2 || (len(f) == 2 && !strings.EqualFold(f[1], "LAST")) {
		return 0, false, false
	}
	size, err := strconv.ParseUint(f[0], 10, 62)
	if err != nil {
		return 0, false, false
	}
	return int64(size), len(f) == 2, true
}

// readChunk reads size octets and keeps the first of them, or none where there is
// no room. Memory is taken for what has come, not for the size that was promised.
func (c *Conn) readChunk(size, keep int64) (full bool, err error) {
	c.widen()
	t := &c.text
	if t.chunks == 0 {
		t.stop = time.Now().Add(c.srv.opts.Timeouts.Message)
	}
	first := int(min(int64(len(t.data))+keep+2, maxFirstBody)) // and a last CRLF
	for size > 0 {
		if c.r == c.w {
			if err := c.fillText(t.stop); err != nil {
				return full, err
			}
		}
		n := min(size, int64(c.w-c.r))
		if k := min(n, keep); k > 0 {
			body, ok := extend(t.data, int(k)+2, first, c.room)
			if ok {
				t.data, keep = append(body, c.buf[c.r:c.r+int(k)]...), keep-k
			} else {
				full, keep = true, 0
			}
		}
		c.r += int(n)
		size -= n
	}
	return full, nil
}

// finishChunks checks the whole text as DATA checks its own.
func (c *Conn) finishChunks() *rfc5321.Refusal {
	t := &c.text
	if t.truncated = t.size > int64(len(t.data)); t.truncated {
		t.data = t.data[:bytes.LastIndexByte(t.data, '\n')+1]
	}
	if n := len(t.data); n > 0 && t.data[n-1] != '\n' {
		if t.data[n-1] == '\r' {
			t.data = append(t.data, '\n')
		} else {
			t.data = append(t.data, '\r', '\n')
		}
	}
	long, err := checkText(t.data, c.srv.opts.MaxLine)
	switch {
	case err != nil:
		return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 6, 0}, "the message has a "+err.Error())
	case long > 0:
		return longLine(long, c.srv.opts.MaxLine)
	}
	return nil
}
