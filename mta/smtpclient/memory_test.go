// SPDX-License-Identifier: Apache-2.0

package smtpclient_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/netx"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/mta/smtpclient"
)

// endless is a network whose only peer says the replies of its prologue, then the
// same text again and again for as long as somebody reads, and takes everything.
type endless struct {
	netx.Network
	prologue []string
	text     string
	taken    atomic.Int64
}

func (e *endless) Dial(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) {
	return &endlessConn{e: e, replies: e.prologue}, nil
}

type endlessConn struct {
	net.Conn
	e       *endless
	replies []string
	next    string
}

// Read gives one reply of the prologue, then as much as there is room for.
func (c *endlessConn) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if c.next == "" {
			c.next = c.e.text
			if len(c.replies) > 0 {
				c.next, c.replies = c.replies[0], c.replies[1:]
			}
		}
		k := copy(p[n:], c.next)
		c.next, n = c.next[k:], n+k
		if len(c.replies) > 0 {
			break
		}
	}
	c.e.taken.Add(int64(n))
	return n, nil
}

func (c *endlessConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *endlessConn) Close() error                     { return nil }
func (c *endlessConn) SetDeadline(time.Time) error      { return nil }
func (c *endlessConn) SetReadDeadline(time.Time) error  { return nil }
func (c *endlessConn) SetWriteDeadline(time.Time) error { return nil }

// heap is what is held now.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A peer that never stops talking is left after a few kilobytes, whatever it says
// and whenever it begins.
func TestAPeerThatNeverStopsTalking(t *testing.T) {
	all := []string{"220 hi\r\n", "250-hi\r\n250 PIPELINING\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"}
	for name, prologue := range map[string][]string{
		"banner": nil, "ehlo": all[:1], "mail": all[:2], "rcpt": all[:3], "data": all[:4], "dot": all,
		"bdat": {all[0], "250-hi\r\n250 CHUNKING\r\n", all[2], all[3]},
	} {
		for _, text := range []string{
			"250-and another line\r\n", "250-" + strings.Repeat("x", 500) + "\r\n", "x", "250", "\r\n", "\n", "\x00",
			"250 ok\r\n", "354 ok\r\n", "250-a\r\n250 b\r\n", "421 bye\r\n", "550 5.1.1 no\r\n",
		} {
			e := &endless{prologue: prologue, text: text}
			c, err := smtpclient.Dial(t.Context(), options(e))
			if err == nil {
				for _, size := range []int{10, 10_000} {
					c.Send(t.Context(), &smtpclient.Transaction{
						To:    []rfc5321.Address{{Local: "a", Domain: "example.org"}},
						Parts: [][]byte{[]byte(strings.Repeat("0123456789\r\n", size))},
					})
				}
				c.Close()
			}
			if n := e.taken.Load(); n > 64<<10 {
				t.Errorf("%s, then %.20q for ever: took %d octets", name, text, n)
			}
		}
	}
}

// The longest replies that are taken, to a thousand recipients: of 30 MB, what is
// kept is bounded by the recipients.
func TestLongRepliesAreNotKept(t *testing.T) {
	reply := strings.Repeat("550-5.1.1 "+strings.Repeat("x", 110)+"\r\n", 250) + "550 5.1.1 no such user\r\n"
	e := &endless{prologue: []string{"220 hi\r\n", "250-hi\r\n250 PIPELINING\r\n", "250 ok\r\n", reply}, text: reply}
	tx := &smtpclient.Transaction{Parts: [][]byte{[]byte("x\r\n")}}
	for range 1000 {
		tx.To = append(tx.To, rfc5321.Address{Local: "a", Domain: "example.org"})
	}
	before := heap()
	c, err := smtpclient.Dial(t.Context(), options(e))
	if err != nil {
		t.Fatal(err)
	}
	res := c.Send(t.Context(), tx)
	held := heap() - before
	if res.Err != nil || !res.Recipients[999].Permanent() || e.taken.Load() < 25<<20 {
		t.Fatalf("%v after %d octets", res.Err, e.taken.Load())
	}
	if held > 6<<20 {
		t.Errorf("%d octets are held", held)
	}
	runtime.KeepAlive(res)
	c.Close()
}

// A line without end, through a real socket: nothing is waited for.
func TestALineWithoutEnd(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		_, err = io.Copy(c, zeros{})
		done <- err
	}()
	_, err = smtpclient.Dial(t.Context(), smtpclient.Options{Remote: ln.Addr().(*net.TCPAddr).AddrPort(), Hello: "localhost"})
	if !errors.Is(err, smtpclient.ErrReply) {
		t.Errorf("got %v", err)
	}
	if err := <-done; err == nil {
		t.Error("the peer could say all that it had")
	}
	ln.Close()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
