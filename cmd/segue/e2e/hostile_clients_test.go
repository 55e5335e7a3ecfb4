// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"sync"

	"github.com/seguemta/segue/mta/event"
)

const (
	hello    = "EHLO evil.test\r\n"
	victim   = "MAIL FROM:<news@example.com>\r\nRCPT TO:<victim@dest.example>\r\n"
	smuggle  = "Subject: x\r\n\r\n" + victim + "DATA\r\nsmuggled\r\n"
	notMoved = "RSET\r\nNOOP\r\n"
)

func (s *siege) stall() {
	for _, text := range []string{"DATA\r\n" + smuggle, "BDAT 5000 LAST\r\n" + smuggle, "BDAT 20\r\n01234567890123456789BDAT 5000\r\n" + smuggle} {
		c := s.wire(stranger, impatientPort)
		c.say(hello + victim + text)
		got := c.rest()
		if len(got) < 5 || !strings.HasPrefix(got[len(got)-1], "421 4.4.2") {
			s.t.Errorf("a message that stalls was answered %q", got)
		}
		for _, r := range got[4 : len(got)-1] {
			if !strings.HasPrefix(r, "354") && !strings.HasPrefix(r, "250 2.0.0 20 octets") {
				s.t.Errorf("text became a command: %q", got)
			}
		}
		c.say(victim + "DATA\r\nsmuggled\r\n.\r\n") // nobody listens
	}
	c := s.wire(stranger, impatientPort)
	c.say("EHLO evil.te")
	c.ends("220", "421 4.4.2")
}

func (s *siege) strayOctets() {
	for _, line := range []string{
		"EHLO evil.test\n", "EHLO evil\r.test\r\n", "EHLO evil.test\r\nMAIL FROM:<news@example.com>\n" + victim,
		"EHLO evil.test\r\nNOOP\r\r\n" + victim, "\r" + hello, "\n" + hello,
	} {
		c := s.wire(stranger, submissionPort)
		c.say(line)
		if got := c.rest(); !strings.HasPrefix(got[len(got)-1], "550 5.5.2") {
			s.t.Errorf("%q was answered %q", line, got)
		}
	}
	c := s.wire(stranger, submissionPort)
	c.expect("220")
	c.ask("250", "EHLO evil.test")
	c.ask("500 5.5.2", "NO\x00OP", "MAIL FROM:<news\x00@example.com>", "MAIL FROM:<\"a\tb\"@example.com>", "MAIL FROM:<n\xffws@example.com> SMTPUTF8", "N\xc3\xb6OP")
	c.ask("553", "MAIL FROM:<n\u00f6ws@example.com>", "MAIL FROM:<@relay.test:news@example.com>", "MAIL FROM:<news@[127.0.0.1]>")
	c.ask("250", "MAIL FROM:<news@example.com>")
	c.ask("503", "MAIL FROM:<evil@example.com>")
	c.ask("250", `RCPT TO:<"x> NOTIFY=NEVER <victim"@dest.example>`)
	c.ask("354", "DATA")
	c.say("Subject: \x00\r\n\r\nx\r\n.\r\n")
	c.ends("550 5.6.0")
	c = s.wire(stranger, submissionPort)
	c.say("GET /victim HTTP/1.1\r\nHost: evil.test\r\n\r\n" + hello + victim)
	c.ends("220", "421 4.7.0")
}

func (s *siege) endlessLines() {
	line := strings.Repeat("x", 10<<20)
	c := s.wire(stranger, submissionPort)
	c.say(hello + victim + "DATA\r\nSubject: x\r\n\r\n" + line + "\r\n.\r\n")
	for _, want := range []string{"220", "250", "250", "250", "354", "550 5.6.0 line 3"} {
		c.expect(want)
	}
	c.ask("221", "QUIT")
	c = s.wire(stranger, submissionPort)
	c.say(fmt.Sprintf("%s%sBDAT %d LAST\r\n%sQUIT\r\n", hello, victim, len(line), line))
	c.ends("220", "250", "250", "250", "550 5.6.0 line 1", "221")
	for _, verb := range []string{"", "NOOP ", "MAIL FROM:<", "AUTH PLAIN "} {
		c = s.wire(stranger, submissionPort)
		go c.say(hello + verb + line)
		c.ends("220", "250", "500 5.5.6")
	}
}

func (s *siege) garbage() {
	for _, text := range []string{"XYZZY\r\n", "NOOP\r\n", "RSET\r\n", "RCPT TO:<victim@dest.example>\r\n", "DATA \r\n", "AUTH PLAIN ????\r\n", "EHLO x\r\n", "BDAT 0\r\n"} {
		c := s.wire(stranger, submissionPort)
		c.say("EHLO evil.test\r\n")
		go func() {
			for range 2000 {
				if _, err := c.Write([]byte(strings.Repeat(text, 100))); err != nil {
					return
				}
			}
		}()
		got := c.rest()
		if last := got[len(got)-1]; !strings.HasPrefix(last, "421 ") || len(got) > 2500 {
			s.t.Errorf("%q without end: %d replies, the last %q", text, len(got), last)
		}
	}
	// One that never reads what it is told.
	c := s.wire(stranger, submissionPort)
	_ = c.tcp.SetReadBuffer(4 << 10)
	c.say(strings.Repeat("EHLO x\r\n", 400) + strings.Repeat("VRFY x\r\n", 1000))
	c.reset()
}

// Strangers hold every connection that they get, and drip. A client from another
// address gets in, with a password.
func (s *siege) slowloris() {
	var held []*wire
	for from := stranger; from < stranger+3; from++ {
		for n := range 6 {
			c := s.wire(from, publicPort)
			want := "220"
			if n >= 2 {
				want = "421 4.3.2"
			}
			c.expect(want)
			c.say("E")
			held = append(held, c)
		}
	}
	c := s.wire(owner, publicPort)
	c.expect("220")
	c.ask("250", "EHLO app.example.com")
	c.ask("220", "STARTTLS")
	c.handshake()
	c.ask("250", "EHLO app.example.com")
	c.ask("235", "AUTH PLAIN "+plain("shop", "tulip"))
	s.sent++
	c.ask("250", "MAIL FROM:<news@example.com>", fmt.Sprintf("RCPT TO:<good%d@dest.example>", s.sent))
	c.ask("354", "DATA")
	c.say("From: news@example.com\r\n\r\nsecret-of-the-body\r\n.\r\n")
	c.expect("250")
	// The eighth connection of all; the ninth is turned away, from wherever it comes.
	s.wire(owner, publicPort).expect("220")
	s.wire(owner+1, publicPort).expect("421 4.3.2")
	for _, c := range held {
		c.reset()
	}
	wait(s.t, "the connections to be free again", func() bool { return strings.HasPrefix(s.wire(owner+1, publicPort).reply(), "220") })
}

// A botnet guesses the password of an account. It gets fifty guesses, the owner gets in,
// and the passwords that are checked at one time fit into the memory.
func (s *siege) guess() {
	login := func(from int, password string) *wire {
		c := s.wireTLS(from, tlsPort)
		c.expect("220")
		c.ask("250", "EHLO app.example.com")
		c.say("AUTH PLAIN " + plain("shop", password) + "\r\n")
		return c
	}
	login(owner, "tulip").expect("235")
	var wg sync.WaitGroup
	for n := range 80 {
		if n%20 == 0 { // more at once might wait too long for the hash of a busy machine
			wg.Wait()
		}
		c := login(stranger+n%40, fmt.Sprintf("guess%d", n))
		wg.Go(func() {
			if got := c.reply(); got[:3] != "535" && got[:3] != "454" {
				s.t.Errorf("a guess was answered %q", got)
			}
		})
	}
	wg.Wait()
	login(stranger+99, "guess").expect("454 4.7.0")
	login(stranger+99, "tulip").expect("454 4.7.0")
	c := login(owner, "tulip")
	c.expect("235")
	c.ask("250", "MAIL FROM:<news@example.com>", "RSET")
	if _, text := s.get("/metrics"); !strings.Contains(text, `segue_logins_total{result="failed"} 50`+"\n"+`segue_logins_total{result="limited"} 32`) {
		s.t.Errorf("not fifty of 82 guesses were checked")
	}
	// An address that goes on is not spoken to any more, and many connections do not
	// get it more guesses.
	told := make(chan string, 20)
	for range cap(told) {
		c := s.wireTLS(stranger+98, tlsPort)
		c.say(hello + "AUTH PLAIN " + plain("nobody", "x") + "\r\n")
		go func() {
			_, _ = c.reply(), c.reply()
			told <- c.reply()
		}()
	}
	codes := map[string]int{}
	for range cap(told) {
		codes[(<-told)[:3]]++
	}
	if codes["535"] != 10 || codes["421"] != 10 {
		s.t.Errorf("twenty guesses at once were answered %v", codes)
	}
}

func (s *siege) lyingChunks() {
	for _, x := range []struct {
		text string
		want []string
	}{
		{"BDAT -5\r\n", []string{"501"}},
		{"BDAT 99999999999 LAST\r\nx", []string{"552"}},
		{"BDAT 18446744073709551616 LAST\r\nx", []string{"501"}},
		{"BDAT 0x10 LAST\r\nx", []string{"501"}},
		{"BDAT\r\n" + notMoved, []string{"501"}},
		{"BDAT 3 LAST LAST\r\nabc", []string{"501"}},
		{"BDAT 0 LAST\r\nQUIT\r\n", []string{"55", "221"}},
		{"BDAT 5\r\n\r\n.\r\nBDAT 3 LAST\r\nx\nyQUIT\r\n", []string{"250", "550", "221"}},
		{"BDAT 30000000 LAST\r\n" + strings.Repeat("x", 30000000) + "QUIT\r\n", []string{"552", "221"}},
		{"BDAT 8 LAST\r\nx: y\r\n\nzBDAT 6 LAST\r\n\r\n.\r\n\n" + notMoved + "QUIT\r\n", []string{"550", "503", "250", "250", "221"}},
		{"BDAT 3\r\nabcDATA\r\n" + victim + "\r\n.\r\n", []string{"250", "503", "421"}},
	} {
		c := s.wire(stranger, submissionPort)
		c.say(hello + victim + x.text)
		c.ends(append([]string{"220", "250", "250", "250"}, x.want...)...)
	}
	var promised []*wire
	for range 30 { // 750 MB
		c := s.wire(stranger, submissionPort)
		c.say(hello + victim + "BDAT 25000000 LAST\r\nx")
		promised = append(promised, c)
	}
	s.served()
	for _, c := range promised {
		c.reset()
	}
}

func (s *siege) disconnect() {
	phases := []string{
		"", "EH", "EHLO evil.test\r\n", hello + "MAIL FROM:<news@exa", hello + "MAIL FROM:<news@example.com>\r\n", hello + victim, hello + victim + "DATA",
		hello + victim + "DATA\r\n", hello + victim + "DATA\r\nSubject: x\r\n\r\nsmugg", hello + victim + "DATA\r\nSubject: x\r\n\r\nsmuggled\r\n.\r",
		hello + victim + "BDAT 1000\r\nx", hello + victim + "BDAT 3\r\nabc", hello + victim + "BDAT 3\r\nabcBDAT 10 LAST\r\nx", hello + "AUTH LOGIN\r\n", hello + "AUTH LOGIN\r\nc2hvcA==\r\n",
	}
	for _, port := range []string{submissionPort, feedbackPort} {
		for _, text := range phases {
			for _, reset := range []bool{true, false} {
				c := s.wire(stranger, port)
				c.say(text)
				if reset {
					c.reset()
				} else {
					_ = c.tcp.CloseWrite()
					c.rest()
				}
			}
		}
	}
}

func (s *siege) halfHandshake() {
	const record = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" // the beginning of a ClientHello
	for _, text := range []string{record, "", "\x16", hello + victim, "\x80\x00", strings.Repeat("\x00", 70000)} {
		c := s.wire(stranger, tlsPort)
		c.say(text)
		if got := c.rest(); len(got) > 0 && strings.HasPrefix(got[0], "2") {
			s.t.Errorf("%.20q in place of a handshake was answered %q", text, got)
		}
		c = s.wire(stranger, tlsPort)
		c.say(text)
		c.reset()
	}
	for _, text := range []string{record, hello + victim} {
		c := s.wire(owner, publicPort)
		c.expect("220")
		c.ask("250", "EHLO evil.test")
		c.ask("220", "STARTTLS")
		c.say(text)
		_ = c.tcp.CloseWrite()
		for _, r := range c.rest() {
			if r[0] >= '2' && r[0] <= '5' {
				s.t.Errorf("after a handshake that failed came %q", r)
			}
		}
	}
	c := s.wire(owner, publicPort)
	c.say(hello + "STARTTLS\r\n" + hello + victim)
	c.ends("220", "250", "421 4.7.0")
}

func (s *siege) manyRecipients() {
	c := s.wire(stranger, submissionPort)
	c.expect("220")
	c.ask("250", "EHLO evil.test", "MAIL FROM:<news@example.com>")
	var b strings.Builder
	const all, most = 1500, 1000
	for i := range all {
		fmt.Fprintf(&b, "RCPT TO:<victim%d@dest.example>\r\n", i)
	}
	go c.say(b.String())
	for i := range all {
		want := "250"
		if i >= most {
			want = "452 4.5.3"
		}
		if got := c.reply(); !strings.HasPrefix(got, want) {
			s.t.Fatalf("recipient %d was answered %q", i, got)
		}
	}
	c.ask("354", "DATA")
	c.reset()
}

// Whoever sends a message without having been asked for it has its lines read as nothing.
func (s *siege) unsynchronised() {
	for _, envelope := range []string{
		"MAIL FROM:<news@other.example>\r\nRCPT TO:<victim@dest.example>\r\n", "MAIL FROM:<news@example.com>\r\nRCPT TO:<victim@[127.0.0.1]>\r\n", "",
	} {
		c := s.wire(stranger, submissionPort)
		c.say(hello + envelope + "DATA\r\n" + smuggle + ".\r\n" + victim + "DATA\r\nsmuggled\r\n.\r\n")
		got := c.rest()
		if n := len(got); n < 3 || !strings.HasPrefix(got[n-2], "503") || !strings.HasPrefix(got[n-1], "421 4.7.0") {
			s.t.Errorf("a message behind a DATA that is refused was answered %q", got)
		}
	}
}

// Everything at once, from many addresses.
func (s *siege) crowd() {
	var wg sync.WaitGroup
	for n := range 200 {
		c := s.wire(stranger+n%80, []string{submissionPort, feedbackPort, impatientPort}[n%3])
		wg.Go(func() {
			switch n % 4 {
			case 0:
				c.say(hello + victim + "DATA\r\n" + strings.Repeat("Subject: x\r\n", 5000))
			case 1:
				c.say(hello + victim + "DATA\r\n" + smuggle + "\n.\n" + victim)
				c.rest()
			case 2:
				c.say(strings.Repeat("\x00\xff\r\n", 3000))
			default:
				c.say(hello + victim + "BDAT 5000000\r\n" + strings.Repeat("y", 100000))
			}
			c.reset()
		})
	}
	wg.Wait()
}

// What fails inside is told as a failure for now, in words that give nothing away.
func (s *siege) fullDisk() {
	s.minFree = "1000000GB"
	s.start()
	wait(s.t, "the engine to see that the disk is full", func() bool {
		code, _ := s.get("/readyz")
		return code == 503
	})
	for _, text := range []string{"DATA\r\n" + "From: news@example.com\r\n\r\nsmuggled\r\n.\r\n", "BDAT 36 LAST\r\nFrom: news@example.com\r\n\r\nsmuggled\r\n"} {
		c := s.wire(stranger, submissionPort)
		c.say(hello + victim + text + "QUIT\r\n")
		got := c.rest()
		if said := got[len(got)-2]; said != "452 4.3.1 insufficient system storage" {
			s.t.Errorf("a message without room was answered %q", got)
		}
	}
	for _, e := range s.events() {
		if e.Kind == event.Accepted && strings.HasPrefix(e.Address, "victim") {
			s.t.Errorf("taken: %+v", e)
		}
	}
	s.stop()
}
