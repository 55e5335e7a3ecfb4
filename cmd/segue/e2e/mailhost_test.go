// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// mailhost is a mail exchanger for loads: unlike mtatest.Exchanger it remembers no
// message, so that an hour of mail fits, and it fails by chance instead of by script.
type mailhost struct {
	name   string
	temper temper
	tls    *tls.Config // offers STARTTLS

	// rcpt gives the reply to a recipient; nil accepts all. took is told of a
	// message before its reply leaves, and whether the reply will leave at all.
	rcpt func(h *mailhost, to string) string
	took func(h *mailhost, m *parcel, answered bool)

	mu   sync.Mutex
	rand *rand.Rand
	ln   net.Listener
	open map[net.Conn]bool
	wait sync.WaitGroup
}

// temper is how often a mailhost misbehaves, as shares of one.
type temper struct {
	breaks float64 // in each phase: the connection is closed, reset, or ended by 421
	slow   float64 // in each phase: the reply takes up to 300 ms
	defers float64 // of messages, after the final dot
	noTLS  float64 // of handshakes that end in the middle
}

// parcel is one message as a mailhost sees it.
type parcel struct {
	from string
	to   []string
	head []byte // the first bytes, the header among them
}

// headSize is how much of a message a mailhost looks at.
const headSize = 8 << 10

func (h *mailhost) listen(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.ln, h.open = ln, make(map[net.Conn]bool)
	h.mu.Unlock()
	h.wait.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			open := h.open != nil
			if open {
				h.open[c] = true
				h.wait.Go(func() { h.serve(c) })
			}
			h.mu.Unlock()
			if !open {
				_ = c.Close()
			}
		}
	})
	return nil
}

// close closes the port and cuts every connection.
func (h *mailhost) close() {
	h.mu.Lock()
	if h.ln != nil {
		_ = h.ln.Close()
	}
	for c := range h.open {
		_ = c.Close()
	}
	h.open = nil
	h.mu.Unlock()
	h.wait.Wait()
}

// chance is true for a share of its calls.
func (h *mailhost) chance(share float64) bool {
	if share == 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rand.Float64() < share
}

func (h *mailhost) intn(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rand.IntN(n)
}

func (h *mailhost) serve(c net.Conn) {
	s := &visit{h: h, raw: c, c: c, r: bufio.NewReaderSize(c, 16<<10), w: bufio.NewWriter(c)}
	_ = s.run() // the end of a connection is no news
	_ = c.Close()
	h.mu.Lock()
	delete(h.open, c)
	h.mu.Unlock()
}

// visit is one connection of a mailhost.
type visit struct {
	h      *mailhost
	raw, c net.Conn
	r      *bufio.Reader
	w      *bufio.Writer
	secure bool
	parcel parcel
}

var errLeft = errors.New("the host ended the connection")

func (s *visit) run() error {
	if err := s.say("banner", "220 "+s.h.name+" ESMTP"); err != nil {
		return err
	}
	for {
		if s.r.Buffered() == 0 {
			if err := s.w.Flush(); err != nil {
				return err
			}
		}
		line, err := s.r.ReadString('\n')
		if err != nil {
			return err
		}
		if err := s.command(strings.TrimRight(line, "\r\n")); err != nil {
			return errors.Join(err, s.w.Flush())
		}
	}
}

// mishap lets chance break the connection or take its time.
func (s *visit) mishap() error {
	t := &s.h.temper
	if s.h.chance(t.slow) {
		<-time.After(time.Duration(s.h.intn(300)) * time.Millisecond)
	}
	if !s.h.chance(t.breaks) {
		return nil
	}
	switch s.h.intn(3) {
	case 0:
		_, _ = s.w.WriteString("421 4.3.2 shutting down\r\n") // Flush reports it
	case 1:
		if c, ok := s.raw.(*net.TCPConn); ok {
			_ = c.SetLinger(0) // a reset
		}
	}
	return errLeft
}

func (s *visit) say(phase, reply string) error {
	if err := s.mishap(); err != nil {
		return err
	}
	_, err := s.w.WriteString(reply + "\r\n")
	if phase == "banner" && err == nil {
		err = s.w.Flush()
	}
	return err
}

func (s *visit) command(line string) error {
	verb, _, _ := strings.Cut(line, " ")
	switch verb = strings.ToUpper(verb); verb {
	case "EHLO":
		greeting := "250-" + s.h.name + "\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n"
		if s.h.tls != nil && !s.secure {
			greeting += "250-STARTTLS\r\n"
		}
		return s.say(verb, greeting+"250 SIZE 52428800")
	case "STARTTLS":
		return s.startTLS()
	case "MAIL":
		s.parcel = parcel{from: inAngles(line), head: s.parcel.head[:0]}
		return s.say(verb, "250 2.1.0 ok")
	case "RCPT":
		to, reply := inAngles(line), "250 2.1.5 ok"
		if s.h.rcpt != nil {
			reply = s.h.rcpt(s.h, to)
		}
		if reply[0] == '2' {
			s.parcel.to = append(s.parcel.to, to)
		}
		return s.say(verb, reply)
	case "DATA":
		return s.data()
	case "RSET", "NOOP":
		return s.say(verb, "250 2.0.0 ok")
	case "QUIT":
		_, _ = s.w.WriteString("221 2.0.0 bye\r\n") // Flush reports it
		return errLeft
	}
	return s.say(verb, "500 5.5.2 unknown command")
}

func (s *visit) startTLS() error {
	if s.h.tls == nil || s.secure {
		return s.say("STARTTLS", "502 5.5.1 not here")
	}
	if err := s.say("STARTTLS", "220 2.0.0 go ahead"); err != nil {
		return err
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	if s.h.chance(s.h.temper.noTLS) {
		return errLeft
	}
	c := tls.Server(s.raw, s.h.tls)
	if err := c.Handshake(); err != nil {
		return err
	}
	s.c, s.secure = c, true
	s.r.Reset(c)
	s.w.Reset(c)
	return nil
}

// data takes a message. One that was taken without the client being told is one
// that the client must send again.
func (s *visit) data() error {
	if len(s.parcel.to) == 0 {
		return s.say("DATA", "554 5.5.1 no valid recipients")
	}
	if err := s.say("DATA", "354 go ahead"); err != nil {
		return err
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	if err := s.mishap(); err != nil {
		return err
	}
	if err := s.read(); err != nil {
		return err
	}
	if s.h.chance(s.h.temper.defers) {
		return s.say("dot", "451 4.3.0 try again later")
	}
	if err := s.mishap(); err != nil {
		s.h.took(s.h, &s.parcel, false)
		return err
	}
	_, err := s.w.WriteString("250 2.0.0 taken\r\n")
	err = errors.Join(err, s.w.Flush())
	s.h.took(s.h, &s.parcel, err == nil) // the host may have been closed meanwhile
	return err
}

// read reads up to the final dot.
func (s *visit) read() error {
	for begins := true; ; {
		b, err := s.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if begins && bytes.Equal(b, []byte(".\r\n")) {
			return nil
		}
		if room := headSize - len(s.parcel.head); room > 0 {
			s.parcel.head = append(s.parcel.head, b[:min(room, len(b))]...)
		}
		begins = err == nil
	}
}

// inAngles is the address of a MAIL or RCPT command.
func inAngles(line string) string {
	_, rest, _ := strings.Cut(line, "<")
	address, _, _ := strings.Cut(rest, ">")
	return address
}

// field is a header field of a parcel; "" where it has none.
func (p *parcel) field(name string) string {
	_, rest, ok := bytes.Cut(p.head, []byte("\r\n"+name+": "))
	if !ok {
		return ""
	}
	v, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return string(v)
}
