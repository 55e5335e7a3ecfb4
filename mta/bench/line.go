// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Timing of a connection.
const (
	replyTimeout = time.Minute
	firstPause   = 20 * time.Millisecond // before a second attempt
	longestPause = 500 * time.Millisecond
)

// Reply codes that count here.
const (
	codeReady  = 220
	codeOK     = 250
	codeGoOn   = 354
	codeFinal  = 500 // and above
	codeClosed = 421
)

// A line is one connection and what was counted on it. When it breaks it is made
// anew.
type line struct {
	s       *sender
	conn    net.Conn // nil = none
	r       *bufio.Reader
	out     []byte
	to      []byte
	pending bool // a transaction was left open: RSET goes first

	sent, accepted int
	errors         map[string]int
	first, last    time.Time
	accept, whole  histogram
}

// run sends messages until there are none. The error says that the server is away.
func (l *line) run(ctx context.Context) error {
	defer l.hangUp()
	for {
		n, ok := l.s.turn(ctx)
		if !ok {
			return nil
		}
		for attempt, wait := 0, firstPause; ; attempt, wait = attempt+1, min(2*wait, longestPause) {
			if err := l.connect(ctx); err != nil {
				return err
			}
			if attempt == 0 {
				l.sent++
			}
			code, err := l.message(n)
			if err == nil && code == codeOK {
				break
			}
			l.count(code, err)
			if !l.s.o.Retry || code >= codeFinal || !pause(ctx, wait) {
				break
			}
		}
	}
}

// count notes an attempt that failed, and closes a connection that is of no use.
func (l *line) count(code int, err error) {
	if err != nil {
		l.errors["connection"]++
	} else {
		l.errors[strconv.Itoa(code)]++
	}
	if err != nil || code == codeClosed {
		l.drop()
	}
}

func (l *line) drop() {
	if l.conn != nil {
		_ = l.conn.Close() // nothing is under way on it
		l.conn = nil
	}
}

// hangUp says QUIT, and does not wait for what the server says to that.
func (l *line) hangUp() {
	if l.conn != nil {
		_, _ = l.conn.Write([]byte("QUIT\r\n"))
		l.drop()
	}
}

// connect makes a connection if there is none.
func (l *line) connect(ctx context.Context) error {
	if l.conn != nil {
		return nil
	}
	began, wait := time.Now(), firstPause
	for {
		err := l.dial(ctx)
		switch {
		case err == nil:
			return nil
		case time.Since(began) > l.s.o.Patience:
			return fmt.Errorf("connecting to %s for %s: %w", l.s.o.To, l.s.o.Patience, err)
		case !pause(ctx, wait):
			return context.Cause(ctx)
		}
		wait = min(2*wait, longestPause)
	}
}

// dial connects and says EHLO.
func (l *line) dial(ctx context.Context) error {
	conn, err := l.s.o.Network.Dial(ctx, netip.Addr{}, l.s.o.To)
	if err != nil {
		return err
	}
	l.conn, l.r, l.pending = conn, bufio.NewReader(conn), false
	_ = conn.SetDeadline(time.Now().Add(replyTimeout)) // a closed connection fails below
	code, err := l.reply()
	if err == nil && code == codeReady {
		if _, err = conn.Write([]byte("EHLO bench.example\r\n")); err == nil {
			code, err = l.reply()
		}
	}
	if err == nil && code != codeOK {
		err = fmt.Errorf("the server greets with %d", code)
	}
	if err != nil {
		l.drop()
	}
	return err
}

// errReply says that what came is no SMTP.
var errReply = errors.New("malformed reply")

// reply reads one reply and returns its code.
func (l *line) reply() (int, error) {
	const hundred, ten, least = 100, 10, 4 // three digits and a separator
	for {
		b, err := l.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(b) < least || b[0] < '2' || b[0] > '5' || b[1] < '0' || b[1] > '9' || b[2] < '0' || b[2] > '9' {
			return 0, errReply
		}
		if b[3] != '-' {
			return int(b[0]-'0')*hundred + int(b[1]-'0')*ten + int(b[2]-'0'), nil
		}
	}
}

// message sends the nth message in two flights: MAIL, RCPT and DATA, then the
// text. It returns the first reply that refuses it, or the last one.
func (l *line) message(n int) (int, error) {
	s := l.s
	began := time.Now()
	if l.first.IsZero() {
		l.first = began
	}
	_ = l.conn.SetDeadline(began.Add(replyTimeout)) // a closed connection fails below
	l.out, l.to = l.out[:0], s.address(l.to[:0], n)
	replies := 3
	if l.pending {
		l.out = append(l.out, "RSET\r\n"...)
		replies++
	}
	l.out = append(append(append(l.out, "MAIL FROM:<"...), s.o.From...), ">\r\nRCPT TO:<"...)
	l.out = append(append(l.out, l.to...), ">\r\nDATA\r\n"...)
	if _, err := l.conn.Write(l.out); err != nil {
		return l.parting(err)
	}
	l.pending = true
	refused, code := 0, 0
	for range replies {
		var err error
		if code, err = l.reply(); err != nil {
			return l.parting(err)
		}
		if code >= 400 && refused == 0 { //nolint:mnd // 4xx and 5xx are the replies that refuse
			refused = code
		}
		if code == codeClosed {
			return code, nil
		}
	}
	switch {
	case code != codeGoOn && refused == 0:
		return 0, errReply
	case code != codeGoOn:
		return refused, nil
	}
	l.out = l.out[:0]
	if refused == 0 {
		l.out = append(s.header(l.out, n), s.tail...)
	}
	dot := time.Now()
	if _, err := l.conn.Write(append(l.out, ".\r\n"...)); err != nil {
		return l.parting(err)
	}
	code, err := l.reply()
	if err != nil || refused != 0 {
		return refused, err
	}
	l.pending = false
	if code == codeOK {
		l.note(began, dot, time.Now())
	}
	return code, nil
}

// parting looks for the reply with which a server says why it hangs up.
func (l *line) parting(err error) (int, error) {
	if code, failed := l.reply(); failed == nil && code == codeClosed {
		return code, nil
	}
	return 0, err
}

// note counts an accepted message.
func (l *line) note(began, dot, now time.Time) {
	l.accepted++
	l.last = now
	l.accept.add(now.Sub(dot))
	l.whole.add(now.Sub(began))
	l.s.enter(l.to)
}
