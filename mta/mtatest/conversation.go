// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Conversation plays the client's half of an SMTP dialogue from text and writes
// down the server's half. It is made for golden files: the transcript of a
// correct server is always the same.
//
// One line of the script is one act:
//
//	EHLO client.test     send the line with CRLF, then read one reply
//	> Subject: x         send the line with CRLF, read nothing
//	> 1200*x             the same, x 1200 times
//	raw "a\r.\x00"       send exactly these octets (a Go string), read nothing
//	< 2                  read two replies (one, where no number is given)
//	handshake            put TLS over the connection
//	wait 5m              let time pass (within a testing/synctest bubble)
//	hangup               close
//
// The transcript has the replies, one line each, and "(closed)" where the
// server ended the connection.
func Conversation(c net.Conn, script string, client *tls.Config) (string, error) {
	t := &talk{c: c, r: bufio.NewReader(c), tls: client}
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if err := t.act(line); err != nil {
			return t.out.String(), fmt.Errorf("playing %q: %w", line, err)
		}
	}
	return t.out.String(), nil
}

type talk struct {
	c   net.Conn
	r   *bufio.Reader
	tls *tls.Config
	out strings.Builder
}

func (t *talk) act(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case ">":
		if n, what, ok := strings.Cut(rest, "*"); ok {
			if n, err := strconv.Atoi(n); err == nil {
				rest = strings.Repeat(what, n)
			}
		}
		t.send(rest + "\r\n")
	case "raw":
		octets, err := strconv.Unquote(rest)
		if err != nil {
			return err
		}
		t.send(octets)
	case "<":
		return t.read(rest)
	case "handshake":
		c := tls.Client(t.c, t.tls)
		if err := c.HandshakeContext(context.Background()); err != nil {
			fmt.Fprintf(&t.out, "(no TLS)\n")
			return nil
		}
		t.c, t.r = c, bufio.NewReader(c)
		return nil
	case "wait":
		d, err := time.ParseDuration(rest)
		if err != nil {
			return err
		}
		timer := time.NewTimer(d)
		<-timer.C
		return nil
	case "hangup":
		return t.c.Close()
	default:
		t.send(line + "\r\n")
		return t.read("")
	}
	return nil
}

// send writes. That the server has closed is for the next read to find out.
func (t *talk) send(s string) {
	_, _ = io.WriteString(t.c, s)
}

func (t *talk) read(count string) error {
	n := 1
	if count != "" {
		var err error
		if n, err = strconv.Atoi(count); err != nil {
			return err
		}
	}
	for range n {
		if !t.reply() {
			break
		}
	}
	return nil
}

func (t *talk) reply() bool {
	for {
		line, err := t.r.ReadString('\n')
		if err != nil {
			t.out.WriteString(line + "(closed)\n")
			return false
		}
		t.out.WriteString(strings.TrimRight(line, "\r\n") + "\n")
		if len(line) < 4 || line[3] != '-' {
			return true
		}
	}
}
