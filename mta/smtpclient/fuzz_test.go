// SPDX-License-Identifier: Apache-2.0

package smtpclient

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/netx"
	"github.com/seguemta/segue/mta/rfc5321"
)

// FuzzExtensions reads lines of an EHLO reply.
func FuzzExtensions(f *testing.F) {
	for _, s := range []string{
		"PIPELINING", "size 52428800", "SIZE 99999999999999999999", "SIZE -1", "SIZE", "LIMITS RCPTMAX=100 MAILMAX=5", "LIMITS RCPTMAX=-1 =", "CHUNKING \x00", "\xff\xfe", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		given := bytes.Clone(line)
		var once, twice Extensions
		once.add(line)
		twice.add(line)
		twice.add(line)
		if once != twice {
			t.Fatalf("said twice, %q is something else: %+v, %+v", line, once, twice)
		}
		if !bytes.Equal(line, given) {
			t.Fatalf("%q was changed into %q", given, line)
		}
		if once.Size < 0 || (once.Size > 0 && once.Size < minSize) || (once.Size > 0 && !once.HasSize) || once.MaxRecipients < 0 || once.MaxMails < 0 || once.EHLO {
			t.Fatalf("%q: %+v", line, once)
		}
	})
}

// tape is a network with one peer that says what is on the tape, whatever it is
// told, some octets at a time, and closes.
type tape struct {
	netx.Network
	mu            sync.Mutex
	left          []byte
	step          int
	said, written []byte
}

func (p *tape) Dial(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) {
	return &tapeConn{tape: p}, nil
}

type tapeConn struct {
	net.Conn
	*tape
}

func (c *tapeConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.left[:min(c.step, len(c.left))])
	c.said, c.left = append(c.said, c.left[:n]...), c.left[n:]
	return n, nil
}

func (c *tapeConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = append(c.written, p...)
	return len(p), nil
}

func (c *tapeConn) Close() error                     { return nil }
func (c *tapeConn) SetDeadline(time.Time) error      { return nil }
func (c *tapeConn) SetReadDeadline(time.Time) error  { return nil }
func (c *tapeConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzConversation lets the client talk to arbitrary octets. The low bits of how
// choose the message and the client.
func FuzzConversation(f *testing.F) {
	greeting := "220 hi\r\n250-hi\r\n250-8BITMIME\r\n250 PIPELINING\r\n"
	for _, s := range []string{
		greeting + "250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 queued\r\n221 bye\r\n",
		greeting + "250 ok\r\n550-5.1.1 no\r\n550 5.1.1 such user\r\n452 4.5.3 too many\r\n554 no recipients\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n",
		"220 hi\r\n250-hi\r\n250-CHUNKING\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 queued\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 queued\r\n",
		"220 hi\r\n250-hi\r\n250 CHUNKING\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 chunk\r\n552 5.3.4 too big\r\n",
		"220 hi\r\n250-hi\r\n250 CHUNKING\r\n250 ok\r\n250 ok\r\n250 ok\r\n502 what\r\n",
		"220 hi\r\n502 what\r\n250 hi\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n451 4.7.1 later\r\n",
		greeting + "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
		greeting + "250 ok\r\n250 ok\r\n421 4.3.2 bye\r\n", "554 no\r\n", "220-a\r\n", "SSH-2.0\r\n", "220 hi\r\n421 bye\r\n",
	} {
		for how := range byte(8) {
			f.Add([]byte(s), how)
		}
	}
	f.Fuzz(func(t *testing.T, said []byte, how byte) {
		p := &tape{left: said, step: 1 + int(how>>3)*8}
		tx := &Transaction{
			From: rfc5321.Address{Local: "s", Domain: "example.net"}, Parts: [][]byte{[]byte("Subject: x\r\n\r\n"), []byte(".y\r\n")},
			To: []rfc5321.Address{{Local: "a", Domain: "example.org"}, {Local: "b", Domain: "example.org"}},
		}
		if how&1 != 0 {
			tx.Parts = append(tx.Parts, bytes.Repeat([]byte("0123456789\r\n"), 40_000)) // two chunks
		}
		c, err := Dial(t.Context(), Options{Network: p, Hello: "localhost", TLS: TLSNone, NoChunking: how&2 != 0})
		if err != nil {
			return
		}
		for range 1 + int(how>>2&1) {
			checkTransaction(t, p, tx, c.Send(t.Context(), tx))
		}
		c.Close()
	})
}

// checkTransaction holds a result against what was said and written up to now.
func checkTransaction(t *testing.T, p *tape, tx *Transaction, res Result) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	written := p.written
	p.written = nil
	if res.Reusable && res.Err != nil {
		t.Fatalf("usable in spite of %v", res.Err)
	}
	for _, o := range res.Recipients {
		switch {
		case !o.Answered() && res.Err == nil:
			t.Fatalf("no answer and no reason: %+v", res)
		case o.Delivered() && !complete(written, tx):
			t.Fatalf("delivered, and the message had not left: %q", written[:min(len(written), 2000)])
		case o.Answered() && o.Phase != PhaseCheck && !spoken(p.said, o.Code):
			t.Fatalf("%d was never said: %q", o.Code, p.said)
		case len(o.Text) > maxReplyText+3:
			t.Fatalf("%d octets of text are kept", len(o.Text))
		}
		if o.Delivered() && bytes.Count(p.said, []byte("\n")) < 5 {
			t.Fatalf("delivered after %q", p.said)
		}
	}
}

// complete reports that the message went out to its last octet, by DATA or BDAT.
func complete(written []byte, tx *Transaction) bool {
	if _, message, ok := bytes.Cut(written, []byte("\r\nDATA\r\n")); ok {
		return bytes.HasPrefix(message, slowData(tx.Parts))
	}
	var got []byte
	for rest := written; ; {
		at := bytes.Index(rest, []byte("BDAT "))
		if at < 0 {
			return false
		}
		line, octets, _ := bytes.Cut(rest[at:], []byte("\r\n"))
		words := strings.Fields(string(line))
		n, err := strconv.Atoi(words[1])
		if err != nil || n > len(octets) {
			return false
		}
		if got, rest = append(got, octets[:n]...), octets[n:]; len(words) == 3 {
			return bytes.Equal(got, bytes.Join(tx.Parts, nil))
		}
	}
}

// spoken reports that a line with the code was said.
func spoken(said []byte, code int) bool {
	return regexp.MustCompile(`(^|\n)` + strconv.Itoa(code)).Match(said)
}
