// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/mtatest"
)

// falseEnds are the ends of a message that some server has taken for the true one,
// and each of them with a NUL before and after its dot.
func falseEnds() []string {
	list := []string{"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n.\r\x00\n", "\r\x00\n.\r\n", "\r\n.\rx\r\n"}
	for _, end := range []string{"\n.\n", "\r.\r", "\r\n.\r", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\r\n.\r\r\n", "\n.\r", "\r.\n", "\r\n.\r\r\n", "\r\r\n.\r\n"} {
		list = append(list, end, strings.ReplaceAll(end, ".", "\x00."), strings.ReplaceAll(end, ".", ".\x00"))
	}
	return list
}

const smugglePort, secretPort = "2526", "2527"

// secured adds TLS to the doors: submission from the first octet, feedback by STARTTLS.
const secured = `
[[listener]]
purpose = "submission"
address = "%[1]s:2527"
trust = ["127.0.0.0/8"]
trust_as = "local"
tls = "implicit"
cert_file = "%[2]s/cert.pem"
key_file = "%[2]s/key.pem"
[[listener]]
purpose = "feedback"
address = "%[1]s:2526"
tls = "starttls"
cert_file = "%[2]s/cert.pem"
key_file = "%[2]s/key.pem"
`

// door is a listener and a recipient that it takes.
type door struct {
	name, port, to string
	open           func(*wire)
}

func doors() []door {
	return []door{
		{"submission", submissionPort, "victim@dest.example", func(*wire) {}},
		{"submission over TLS", secretPort, "victim@dest.example", (*wire).handshake},
		{"feedback", feedbackPort, "fbl@bounce.example.com", func(*wire) {}},
		{"feedback over TLS", smugglePort, "fbl@bounce.example.com", func(c *wire) {
			c.expect("220")
			c.ask("250", "EHLO mx.test")
			c.ask("220", "STARTTLS")
			c.handshake()
		}},
	}
}

// No sequence but CR LF . CR LF ends a message at our doors, and whatever we took,
// no bare CR or LF and no NUL leaves us.
func TestNothingIsSmuggled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := &mtatest.Exchanger{Name: "mx50.test"}
	w.listen(mx, 51)
	tape := w.record(50, 51)
	w.mx(50, "dest.example")
	w.login()
	w.more += fmt.Sprintf(secured, w.ip(1), w.dir)
	w.start()
	for _, d := range doors() {
		t.Run("in by "+d.name, func(t *testing.T) {
			for _, end := range falseEnds() {
				for _, how := range ways() {
					w.trySmuggling(t, d, end, how)
				}
			}
		})
	}
	if _, text := w.get("/metrics"); strings.Contains(text, `segue_feedback_total{result="report"}`) {
		t.Error("a report was taken")
	}
	if kinds := w.balance(); len(kinds) > 0 {
		t.Errorf("events: %v", kinds)
	}
	t.Run("out", func(t *testing.T) { w.nothingSmuggledLeaves(t, mx, tape) })
	w.balance()
	w.stop()
	w.verify()
}

// way is how a message is sent: waiting for 354 or not, in one write or octet by octet.
type way struct{ waits, pieces bool }

func ways() []way { return []way{{false, false}, {true, false}, {false, true}, {true, true}} }

// trySmuggling sends a message that holds a false end and another message behind it.
func (w *world) trySmuggling(t *testing.T, d door, end string, how way) {
	t.Helper()
	c := w.wire(stranger, d.port)
	defer c.Close()
	d.open(c)
	envelope := fmt.Sprintf("EHLO mx.test\r\nMAIL FROM:<news@example.com>\r\nRCPT TO:<%s>\r\nDATA\r\n", d.to)
	text := "From: news@example.com\r\n\r\nfirst" + end + "MAIL FROM:<news@example.com>\r\nRCPT TO:<" + d.to + ">\r\nDATA\r\nFrom: news@example.com\r\n\r\nsecond\r\n.\r\nQUIT\r\n"
	say := c.say
	if how.pieces {
		say = c.dribble
	}
	var got []string
	say(envelope)
	if how.waits {
		for range 5 {
			if r := c.reply(); r != "closed" {
				got = append(got, r)
			}
			if n := len(got); n > 0 && strings.HasPrefix(got[n-1], "354") {
				break
			}
		}
	}
	say(text)
	got = append(got, c.rest()...)
	n := len(got)
	if n < 5 || !strings.HasPrefix(got[n-2], "354") || !strings.HasPrefix(got[n-1], "550 5.") {
		t.Errorf("%q (%+v) was answered %q", end, how, got)
	}
}

// tape is what a peer received, over all connections.
type tape struct {
	mu    sync.Mutex
	parts []*bytes.Buffer
}

// octets are the octets of each connection.
func (r *tape) octets() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([][]byte, 0, len(r.parts))
	for _, p := range r.parts {
		list = append(list, bytes.Clone(p.Bytes()))
	}
	return list
}

// recorded writes through to a connection and keeps what it wrote.
type recorded struct {
	net.Conn
	tape *tape
	part *bytes.Buffer
}

func (c recorded) Write(p []byte) (int, error) {
	c.tape.mu.Lock()
	c.part.Write(p)
	c.tape.mu.Unlock()
	return c.Conn.Write(p)
}

// record puts itself at the nth address before the exchanger at another, and
// keeps every octet that is sent to it.
func (w *world) record(at, before int) *tape {
	w.t.Helper()
	ln, err := net.Listen("tcp", w.ip(at)+":"+mailPort)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &tape{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			peer, err := net.Dial("tcp", w.ip(before)+":"+mailPort)
			if err != nil {
				_ = c.Close()
				continue
			}
			part := &bytes.Buffer{}
			r.mu.Lock()
			r.parts = append(r.parts, part)
			r.mu.Unlock()
			wg.Go(func() {
				_, _ = io.Copy(recorded{peer, r, part}, c)
				_ = peer.(*net.TCPConn).CloseWrite()
			})
			wg.Go(func() {
				_, _ = io.Copy(c, peer)
				_, _ = c.Close(), peer.Close()
			})
		}
	})
	w.t.Cleanup(func() {
		_ = ln.Close()
		w.kill()
		wg.Wait()
	})
	return r
}

// offering is a message that a client tries to hand over: by SMTP as DATA, or
// by HTTP as raw. Code is what it is answered.
type offering struct {
	name string
	text string // SMTP: after the envelope, dots stuffed and end included; HTTP: JSON
	code string
	body string // that must arrive, where it was taken; "" = any
}

// dots is a text with dots at the beginning of lines of every length around the sizes
// of buffers, so that one of them lies at every edge.
func dots() string {
	var b strings.Builder
	for n := range 600 {
		b.WriteString(strings.Repeat(".", 1+n%3) + strings.Repeat("d", n) + "\r\n.\r\n..\r\n")
	}
	return b.String()
}

func stuffed(body string) string {
	return strings.TrimPrefix(strings.ReplaceAll("\n"+body, "\n.", "\n.."), "\n")
}

const head = "From: news@example.com\r\nSubject: x\r\n\r\n"

func bySMTP() []offering {
	line := strings.Repeat("l", 998) + "\r\n"
	list := []offering{
		{name: "8-bit", text: "DATA\r\nFrom: news@example.com\r\nSubject: Gr\u00fc\u00dfe\r\n\r\nGr\u00fc\u00dfe \xff\xfe\r\n.\r\n", code: "250", body: "Gr\u00fc\u00dfe \xff\xfe\r\n"},
		{name: "long lines", text: "DATA\r\n" + head + strings.Repeat(line, 300) + ".\r\n", code: "250", body: strings.Repeat(line, 300)},
		{name: "too long a line", text: "DATA\r\n" + head + "l" + line + ".\r\n", code: "550"},
		{name: "dots", text: "DATA\r\n" + head + stuffed(dots()) + ".\r\n", code: "250", body: dots()},
		{name: "no text", text: "DATA\r\n" + head + ".\r\n", code: "250"},
		{name: "no empty line", text: "DATA\r\nFrom: news@example.com\r\n.\r\n", code: "250"},
		{name: "folds", text: "DATA\r\nFrom: news@example.com\r\nSubject: a\r\n b\r\n\tc\r\n \r\nX: y\r\n\r\n.. .\r\n.\r\n", code: "250", body: ". .\r\n"},
	}
	chunks := func(name, code, body string, parts ...string) {
		var b strings.Builder
		for i, p := range parts {
			last := ""
			if i == len(parts)-1 {
				last = " LAST"
			}
			fmt.Fprintf(&b, "BDAT %d%s\r\n%s", len(p), last, p)
		}
		list = append(list, offering{name, b.String(), code, body})
	}
	chunks("a chunk", "250", ".\r\n..\r\n.\r\n", head+".\r\n..\r\n.\r\n")
	chunks("chunks cut within a line end", "250", "a\r\n.\r\nb\r\n", head+"a\r", "\n.\r", "\nb\r", "\n")
	chunks("chunks without an end", "250", ".\r\nb\r\n", head+".\r\nb")
	chunks("chunks that end in CR", "250", ".\r\n", head, ".\r")
	chunks("chunks with many dots", "250", dots(), head+dots()[:5000], dots()[5000:70000], dots()[70000:])
	for _, end := range falseEnds() {
		if strings.Trim(end, "\r\n.") == "" && !strings.ContainsAny(strings.ReplaceAll(end, "\r\n", ""), "\r\n") {
			continue // a true end, which is text in a chunk
		}
		chunks(fmt.Sprintf("%q in a chunk", end), "550", "", head+"a"+end+"b\r\n")
		at := len(head) + 1 + len(end)/2
		whole := head + "a" + end + "b\r\n"
		chunks(fmt.Sprintf("%q over two chunks", end), "550", "", whole[:at], whole[at:])
		chunks(fmt.Sprintf("%q in the header", end), "550", "", "From: news@example.com\r\nX: y"+end+"Z: z\r\n\r\nb\r\n")
	}
	return list
}

func byHTTP(t *testing.T) []offering {
	t.Helper()
	type form map[string]any
	list := []offering{}
	add := func(name, code, body string, fields form) {
		whole := form{"from": "news@example.com", "to": []string{"placeholder"}}
		maps.Copy(whole, fields)
		text, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, offering{name, string(text), code, body})
	}
	lines := strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n")
	for _, end := range falseEnds() {
		code, body := "202", "a"+lines.Replace(end)+"b\r\n"
		if strings.Contains(end, "\x00") {
			code = "400"
		}
		add(fmt.Sprintf("%q in raw", end), code, body, form{"raw": "From: news@example.com\n\na" + end + "b\n"})
		add(fmt.Sprintf("a fold with %q", end[:1]), "202", "x\r\n", form{"raw": "From: news@example.com\r\nX-A: b" + end[:1] + " c\r\n\r\nx"})
		add(fmt.Sprintf("%q in text and HTML", end), "202", "", form{"subject": "x", "text": "a" + end + "b", "html": "<p>" + end + "</p>"})
	}
	add("a subject with a line end", "400", "", form{"subject": "x\r\nBcc: eve@dest.example", "text": "x"})
	add("a campaign with a line end", "400", "", form{"campaign": "c\nBcc: eve@dest.example", "text": "x"})
	add("a sender with a line end", "400", "", form{"from": "x\r\nBcc: <eve@dest.example>", "text": "x"})
	add("a recipient with a line end", "400", "", form{"to": []string{"a@dest.example>\r\nRCPT TO:<eve@dest.example"}, "text": "x"})
	add("a long line", "400", "", form{"raw": "From: news@example.com\n\n" + strings.Repeat("l", 999)})
	add("dots", "202", dots(), form{"raw": "From: news@example.com\n\n" + strings.ReplaceAll(dots(), "\r\n", "\n")})
	add("long text", "202", "", form{"subject": strings.Repeat("\u00fc", 2000), "text": strings.Repeat(".\n\x00\r", 50000)})
	return list
}

// nothingSmuggledLeaves hands over whatever clients may, and looks at each octet
// that comes out.
func (w *world) nothingSmuggledLeaves(t *testing.T, mx *mtatest.Exchanger, r *tape) {
	t.Helper()
	want := map[string]string{}
	for i, o := range bySMTP() {
		to := fmt.Sprintf("s%d@dest.example", i)
		if i%3 == 0 { // an address that needs its quotes
			to = fmt.Sprintf(`"s%d> <.\"\\ x"@dest.example`, i)
		}
		c := w.wire(stranger, submissionPort)
		c.expect("220")
		c.ask("250", "EHLO app.example.com", "MAIL FROM:<news@example.com> BODY=8BITMIME SMTPUTF8", "RCPT TO:<"+to+">")
		c.say(o.text + "QUIT\r\n")
		got := c.rest()
		answer := ""
		if len(got) > 1 {
			answer = got[len(got)-2]
		}
		if !strings.HasPrefix(answer, o.code) {
			t.Errorf("%s was answered %q", o.name, got)
		}
		if o.code == "250" {
			want[to] = o.body
		}
	}
	for i, o := range byHTTP(t) {
		to := fmt.Sprintf("h%d@dest.example", i)
		if code := w.post(strings.Replace(o.text, "placeholder", to, 1)); fmt.Sprint(code) != o.code {
			t.Errorf("%s by HTTP was answered %d, not %s", o.name, code, o.code)
		}
		if o.code == "202" {
			want[to] = o.body
		}
	}
	w.empty()
	once(t, "the exchanger", received(mx.Messages()), len(want))
	for _, m := range mx.Messages() {
		text := string(m.Data)
		body, known := want[m.To[0]]
		if _, rest, _ := strings.Cut(text, "\r\n\r\n"); !known || body != "" && rest != body {
			t.Errorf("to %v arrived %.300q, not %.300q", m.To, rest, body)
		}
		verified(t, m.Data)
	}
	if v := mx.Violations(); len(v) > 0 {
		t.Errorf("violations of the protocol: %q", v)
	}
	sum := 0
	for _, octets := range r.octets() {
		sum += len(octets)
		if stray := strayOctet(octets); stray >= 0 {
			t.Errorf("on the wire: %q", octets[max(0, stray-100):min(len(octets), stray+100)])
		}
	}
	if kinds := w.balance(); kinds[event.Delivered] != len(want) || kinds[event.Accepted] != len(want) {
		t.Errorf("events: %v, %d were taken", kinds, len(want))
	}
	t.Logf("%d messages, %d octets on the wire", len(want), sum)
}

// strayOctet is where a CR without LF, a LF without CR or a NUL is; -1 for none.
func strayOctet(b []byte) int {
	for i, c := range b {
		switch {
		case c == 0, c == '\n' && (i == 0 || b[i-1] != '\r'), c == '\r' && (i+1 == len(b) || b[i+1] != '\n'):
			return i
		}
	}
	return -1
}

// verified checks that a message arrived as it was signed.
func verified(t *testing.T, data []byte) {
	t.Helper()
	list, err := dkim.VerifyWithOptions(bytes.NewReader(data), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if name != "s1._domainkey.example.com" {
			return nil, fmt.Errorf("no record %s", name)
		}
		return []string{public(t)}, nil
	}})
	if err != nil || len(list) != 1 || list[0].Err != nil || list[0].Domain != "example.com" {
		t.Errorf("signatures %+v, %v\n%.2000q", list, err, data)
	}
}

// post submits by HTTP and returns the status.
func (w *world) post(body string) int {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+w.ip(1)+":"+httpPort+"/api/v1/messages", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}
