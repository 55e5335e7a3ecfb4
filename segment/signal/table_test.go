// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// midnight is when the mail of the tests is delivered.
func midnight() time.Time { return time.Date(2026, 6, 15, 9, 0, 0, 0, time.UTC) }

// browsers are agents that say nothing against a person, by their short names
// in the conversations, and those of machines.
func browsers() map[string]string {
	const windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
	return map[string]string{
		"chrome":     windows,
		"edge":       windows + " Edg/126.0.0.0",
		"iphone":     "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
		"outlook":    "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
		"cubot":      "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36",
		"apple":      "Mozilla/5.0",
		"gmail":      "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
		"yahoo":      "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
		"safelinks":  windows + " SafeLinks",
		"bing":       windows + " BingPreview/1.0b",
		"proofpoint": "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
		"mimecast":   "Mimecast-URL-Protection/2",
		"barracuda":  "BarracudaLinkProtect",
		"python":     "python-requests/2.32.3",
		"curl":       "curl/8.5.0",
		"headless":   strings.Replace(windows, "Chrome/", "HeadlessChrome/", 1),
		"robot":      "Mozilla/5.0 (compatible; Examplebot; +https://bot.example/about)",
		"none":       "",
	}
}

// TestConversations judges what testdata/conversations.txt holds, each hit with
// the verdict that a person gave it.
func TestConversations(t *testing.T) {
	f, err := os.Open("testdata/conversations.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	count, name := 0, ""
	var lines []string
	flush := func() {
		if name != "" {
			count++
			t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) { converse(t, lines) })
		}
		name, lines = "", nil
	}
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		switch {
		case line == "", line[0] == '#':
		case strings.HasPrefix(line, "== "):
			flush()
			name = line[3:]
		default:
			lines = append(lines, line)
		}
	}
	flush()
	if count < 30 {
		t.Errorf("%d conversations, at least 30 are wanted", count)
	}
}

// converse plays one conversation:
//
//	links 5                             the message has so many
//	undelivered                         when it was delivered is not known
//	domain 40 of 50 after 90s           what is known of the gateway
//	network 198.51.100.0/24 0.45        a network without readers
//	+2.5s click 3 chrome 192.0.2.1 = human        a hit; also open, HEAD, HONEYPOT
//	    why: 3 different links          the reason of the hit before holds this
func converse(t *testing.T, lines []string) {
	t.Helper()
	rules, m, d := Default(), Held{Delivered: midnight()}, Domain{}
	type wanted struct {
		hit   Hit
		human bool
		why   []string
	}
	var want []wanted
	for _, line := range lines {
		words := strings.Fields(line)
		switch words[0] {
		case "links":
			m.Links = atoi(t, words[1])
		case "undelivered":
			m.Delivered = time.Time{}
		case "domain":
			d.Deliver(&rules, midnight(), atoi(t, words[3]))
			for range atoi(t, words[1]) {
				d.sweep(&rules, midnight(), span(t, words[5]))
			}
		case "network":
			weight, err := strconv.ParseFloat(words[2], 64)
			if err != nil {
				t.Fatal(err)
			}
			rules.Networks = append(rules.Networks, Network{"a data centre", netip.MustParsePrefix(words[1]), weight})
		case "why:":
			last := &want[len(want)-1]
			last.why = append(last.why, strings.TrimSpace(strings.TrimPrefix(line, "why:")))
		default:
			h, human := parseHit(t, words)
			want = append(want, wanted{hit: h, human: human})
		}
	}
	if err := rules.Validate(); err != nil {
		t.Fatal(err)
	}
	var got []Verdict
	for _, w := range want {
		got = append(got, m.Due(&rules, &d, w.hit.At)...)
		m.Hit(&rules, w.hit)
	}
	for at, ok := m.Until(&rules); ok; at, ok = m.Until(&rules) {
		got = append(got, m.Due(&rules, &d, at)...)
	}
	if len(got) != len(want) {
		t.Fatalf("%d verdicts about %d hits", len(got), len(want))
	}
	for i, w := range want {
		reason := got[i].Reason()
		if got[i].Hit != w.hit || got[i].Human != w.human {
			t.Errorf("hit %d: %.2f %s", i+1, got[i].Score, reason)
		}
		for _, why := range w.why {
			if !strings.Contains(reason, why) {
				t.Errorf("hit %d: %q does not say %q", i+1, reason, why)
			}
		}
	}
}

func parseHit(t *testing.T, words []string) (h Hit, human bool) {
	t.Helper()
	h.At = midnight().Add(span(t, words[0]))
	verdict := words[len(words)-1]
	if words[len(words)-2] != "=" || verdict != "human" && verdict != "machine" {
		t.Fatalf("a hit ends with = human or = machine: %q", words)
	}
	for _, word := range words[1 : len(words)-2] {
		agent, known := browsers()[word]
		switch number, err := strconv.ParseUint(word, 10, 32); {
		case known:
			h.Agent = agent
		case err == nil:
			h.Link = uint32(number)
		case word == "open":
		case word == "click":
			h.Kind = Click
		case word == "HEAD":
			h.Head = true
		case word == "HONEYPOT":
			h.Honeypot = true
		default:
			h.Addr = netip.MustParseAddr(word)
		}
	}
	return h, verdict == "human"
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func span(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestReasons(t *testing.T) {
	for want, e := range map[string]Evidence{
		"4 different links within 1.5s":    {Sign: SignBurst, Count: 4, Span: 1500 * time.Millisecond},
		"300ms before the mail":            {Sign: SignBefore, Span: 312 * time.Millisecond},
		"user agent is that of curl":       {Sign: SignAgent, Name: "curl"},
		"82% of the mails":                 {Sign: SignDomain, Share: 0.82, Span: 90 * time.Second},
		"after 1m30s":                      {Sign: SignDomain, Share: 0.82, Span: 90 * time.Second},
		"one of more than 64 hits":         {Sign: SignFlood, Count: MaxHits},
		"has no user agent":                {Sign: SignNoAgent},
		"came from a data centre":          {Sign: SignNetwork, Name: "a data centre"},
		"gave itself away in this message": {Sign: SignRequester},
		"a link that no reader can see":    {Sign: SignHoneypot},
		"asked by HEAD":                    {Sign: SignHead},
		"12s after the mail was delivered": {Sign: SignEarly, Span: 12*time.Second + 3},
		fmt.Sprintf("sign %d", Signs):      {Sign: Sign(Signs)},
	} {
		if got := e.String(); !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
}
