// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/queue"
	"github.com/seguemta/segue/queue/store"
)

// desk is an Admitter with the contacts and the queue that it is told to see.
type desk struct {
	*Admitter
	people map[string]Contact // by local part
	broken error
	asked  Mail // what the last recipient was looked up for
	got    *queue.Submission
}

func (d *desk) Look(a rfc5321.Address, m Mail, _ time.Time) (Contact, error) {
	d.asked = m
	if c, ok := d.people[a.Local]; ok {
		return c, d.broken
	}
	return Contact{Tier: "new"}, d.broken
}

func (d *desk) Enqueue(_ context.Context, s *queue.Submission) (uint64, error) {
	d.got = s
	return 42, nil
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{people: map[string]Contact{}}
	var err error
	d.Admitter, err = New(Options{
		Hostname: "mta1.example.net", Contacts: d, Queue: d, Pool: "standard",
		Streams: map[string]Stream{
			"marketing":     {MaxAge: 168 * time.Hour},
			"transactional": {Pool: "fast", MaxAge: 24 * time.Hour, Transactional: true},
			"news":          {Pool: "news", MaxAge: time.Hour},
		},
		Segments: Segments{
			"trial": {Pool: "trials", Tiers: map[string]Target{"active": {Pool: "prime"}, "dormant": {Pool: "reengage", Plan: "gentle"}}},
			"all":   {},
		},
		Tiers: map[string]string{"active": "good", "dead": "last"}, Domains: map[string]bool{"example.com": true, "example.org": true}, Unsubscribe: true,
		Now: func() time.Time { return time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const plain = "From: Shop <news@example.com>\r\nTo: ann@dest.example\r\nSubject: hi\r\n\r\nbody\r\n"

func (d *desk) admit(text string, to ...string) error {
	env := &Envelope{
		From: rfc5321.Address{Local: "bounce", Domain: "example.com"}, Data: []byte(text), Credential: "shop",
		Streams: []string{"marketing", "transactional", "news"}, Domains: []string{"example.com"}, Protocol: "ESMTPSA",
	}
	for _, local := range to {
		env.To = append(env.To, rfc5321.Address{Local: local, Domain: "dest.example"})
	}
	_, err := d.Admit(context.Background(), env)
	return err
}

func TestHeaderIsCompletedAndNothingElseChanges(t *testing.T) {
	d := newDesk(t)
	text := "Subject: a\r\n folded\r\n\tline\r\nBcc: secret@dest.example\r\nX-Segue-Campaign: spring\r\n  2026\r\nFrom: news@example.com\r\nX-Odd:no space\r\n\r\n body \r\n.\r\n"
	if err := d.admit(text, "ann"); err != nil {
		t.Fatal(err)
	}
	header, body := d.got.Body[:d.got.Message.HeaderSize], d.got.Body[d.got.Message.HeaderSize:]
	if string(body) != " body \r\n.\r\n" {
		t.Errorf("body %q", body)
	}
	got := string(header)
	for _, want := range []string{"Subject: a\r\n folded\r\n\tline\r\nFrom: news@example.com\r\nX-Odd:no space\r\n", "Date: Mon, 23 Nov 2026 09:00:00 +0000\r\n", "@example.com>\r\n\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the header lacks %q:\n%s", want, got)
		}
	}
	if !strings.HasPrefix(got, "Received: by mta1.example.net (Segue) with ESMTPSA;\r\n\tMon, 23 Nov 2026 09:00:00 +0000\r\n") {
		t.Errorf("header begins %q", got)
	}
	for _, bad := range []string{"Bcc", "X-Segue", "spring"} {
		if strings.Contains(got, bad) {
			t.Errorf("the header holds %q:\n%s", bad, got)
		}
	}
	if m := d.got.Message; m.Campaign != "spring   2026" && m.Campaign != "spring 2026" && m.Campaign != "spring  2026" {
		t.Errorf("campaign %q", m.Campaign)
	}
	if err := d.admit("Date: x\r\nMessage-ID: <y>\r\n"+plain, "ann"); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(d.got.Body), "Date:") + strings.Count(string(d.got.Body), "Message-ID:"); n != 2 {
		t.Errorf("%d Date and Message-ID fields", n)
	}
}

func TestLanes(t *testing.T) {
	d := newDesk(t)
	in := func(tier string, segments ...string) Contact {
		c := Contact{ID: 7, Tier: tier}
		for i, s := range segments {
			c.Segments = append(c.Segments, Segment{Name: s, Version: uint64(i + 1)})
		}
		return c
	}
	for _, c := range []struct {
		name    string
		header  string
		contact Contact
		want    store.Class
		version uint64
	}{
		{"the segment's tier", "", in("active", "trial", "all"), store.Class{Segment: "trial", Tier: "active", Pool: "prime"}, 1},
		{"with a plan", "", in("dormant", "trial"), store.Class{Segment: "trial", Tier: "dormant", Pool: "reengage", Plan: "gentle"}, 1},
		{"the segment's pool", "", in("warm", "trial"), store.Class{Segment: "trial", Tier: "warm", Pool: "trials"}, 1},
		{"the tier's pool", "", in("active", "all"), store.Class{Segment: "all", Tier: "active", Pool: "good"}, 1},
		{"the default", "", in("warm"), store.Class{Tier: "warm", Pool: "standard"}, 0},
		{"the stream's pool", "X-Segue-Stream: news\r\n", in("active", "trial"), store.Class{Segment: "trial", Tier: "active", Pool: "news"}, 1},
		{"transactional", "X-Segue-Stream: transactional\r\n", in("dead", "trial"), store.Class{Segment: "trial", Tier: "dead", Pool: "fast"}, 1},
		{"asked for and a member", "X-Segue-Segment: all\r\n", in("active", "trial", "all"), store.Class{Segment: "all", Tier: "active", Pool: "good"}, 2},
		{"nobody knows it", "", Contact{Tier: "new"}, store.Class{Tier: "new", Pool: "standard"}, 0},
	} {
		d.people["ann"] = c.contact
		if err := d.admit(c.header+plain, "ann"); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		r := d.got.Recipients[0]
		if c.want.Stream = d.got.Message.Stream; r.Class != c.want || r.Version != c.version || len(r.Segments) != len(c.contact.Segments) {
			t.Errorf("%s: %+v version %d, want %+v version %d", c.name, r.Class, r.Version, c.want, c.version)
		}
	}
	if err := d.admit("X-Segue-Segment: trial\r\n"+plain, "bob"); err != nil || d.got.Recipients[0].Ignored != "trial" {
		t.Errorf("asked for and no member: %v, %+v", err, d.got.Recipients[0])
	}
}

func TestEachRecipientIsAContactOfItsOwn(t *testing.T) {
	d := newDesk(t)
	d.people["ann"] = Contact{ID: 1, Tier: "active"}
	d.people["bob"] = Contact{ID: 2, Tier: "dead", Suppressed: "hard_bounce (all)"}
	if err := d.admit(plain, "ann", "bob", "eve"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range d.got.Recipients {
		got = append(got, r.Address.Local+" "+r.Class.Tier+" "+r.Suppressed)
	}
	if s := strings.Join(got, ", "); s != "ann active , bob dead hard_bounce (all), eve new " {
		t.Error(s)
	}
}

func TestTimes(t *testing.T) {
	d := newDesk(t)
	if err := d.admit("X-Segue-Not-Before: 2026-11-23T12:00:00Z\r\nX-Segue-Expires: Mon, 23 Nov 2026 20:00:00 +0100\r\n"+plain, "ann"); err != nil {
		t.Fatal(err)
	}
	if r := d.got.Recipients[0]; r.Due.Hour() != 12 || r.Expires.Hour() != 19 {
		t.Errorf("due %v, expires %v", r.Due, r.Expires)
	}
	// A time beyond the stream's max_age does not prolong it.
	if err := d.admit("X-Segue-Expires: 2027-01-01T00:00:00Z\r\n"+plain, "ann"); err != nil {
		t.Fatal(err)
	}
	if r := d.got.Recipients[0]; r.Expires.Sub(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)) != 168*time.Hour {
		t.Errorf("expires %v", r.Expires)
	}
}

func TestRefusals(t *testing.T) {
	d := newDesk(t)
	for text, want := range map[string]string{
		"no colon here\r\n" + plain:                                      `554 5.6.0 the header has a line that is no field: "no colon here"`,
		"X-Segue-Colour: red\r\n" + plain:                                "550 5.6.0 header field X-Segue-Colour is not a field that Segue knows",
		"X-Segue-Metadata: {\r\n" + plain:                                "550 5.6.0 header field X-Segue-Metadata is not JSON",
		"X-Segue-Stream: billing\r\n" + plain:                            `550 5.7.1 X-Segue-Stream names the unknown stream "billing"`,
		"X-Segue-Segment: nobody\r\n" + plain:                            `550 5.7.1 X-Segue-Segment names the unknown segment "nobody"`,
		"X-Segue-Expires: 2026-11-23T08:00:00Z\r\n" + plain:              "550 5.7.1 the message expires before it may be sent",
		"Subject: x\r\n\r\n":                                             "554 5.6.0 the message has 0 From fields; RFC 5322 section 3.6 asks for one",
		"From: a@example.com\r\n" + plain:                                "554 5.6.0 the message has 2 From fields; RFC 5322 section 3.6 asks for one",
		"cc: a@dest.example\r\nCC: b@dest.example\r\n" + plain:           "554 5.6.0 the message has 2 Cc fields; RFC 5322 section 3.6 allows one",
		"Subject: x\r\n" + plain:                                         "554 5.6.0 the message has 2 Subject fields; RFC 5322 section 3.6 allows one",
		"From: not an address\r\n\r\n":                                   "554 5.6.0 the From field holds no address that can be read",
		"From: a@evil.example\r\n\r\n":                                   "550 5.7.1 this server does not send for domain evil.example",
		"From: a@example.org\r\n\r\n":                                    "550 5.7.1 this credential may not send as domain example.org",
		"From: a@example.com, b@evil.example\r\n\r\n":                    "550 5.7.1 this server does not send for domain evil.example",
		"X-Segue-Campaign: " + strings.Repeat("x", 200) + "\r\n" + plain: "550 5.6.0 header field X-Segue-Campaign is longer than 128 bytes",
	} {
		d.got = nil
		err := d.admit(text, "ann")
		var r *rfc5321.Refusal
		if !errors.As(err, &r) || r.Reply.String() != want {
			t.Errorf("%.40q: %v\nwant %s", text, err, want)
		}
		if d.got != nil {
			t.Errorf("%.40q was queued", text)
		}
	}
	d.broken = errors.New("the store is gone")
	err := d.admit(plain, "ann")
	var r *rfc5321.Refusal
	if err == nil || errors.As(err, &r) {
		t.Errorf("a broken store is answered %v: it must not be a refusal, the client shall try again", err)
	}
}

func FuzzAdmit(f *testing.F) {
	f.Add([]byte(plain))
	f.Add([]byte("From: a@example.com\r\nX-Segue-Stream: news\r\n\t\r\n\r\n"))
	f.Add([]byte("From:a@example.com"))
	f.Add([]byte(":\r\n\r\n"))
	d := newDesk(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		// The listener lets only whole lines through.
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r"), nil), []byte("\n"), []byte("\r\n"))
		d.got = nil
		if err := d.admit(string(text), "ann"); err != nil {
			return
		}
		header, body := d.got.Body[:d.got.Message.HeaderSize], d.got.Body[d.got.Message.HeaderSize:]
		if !bytes.HasSuffix(header, []byte("\r\n\r\n")) || bytes.Contains(header[:len(header)-2], []byte("\r\n\r\n")) {
			t.Errorf("the header does not end at its end: %q", header)
		}
		if !bytes.HasSuffix(text, body) {
			t.Errorf("the body changed: %q", body)
		}
		for line := range bytes.SplitSeq(header, []byte("\r\n")) {
			if bytes.HasPrefix(bytes.ToLower(line), []byte("x-segue-")) {
				t.Errorf("%q left the house", line)
			}
		}
	})
}

// Go reads three charsets, mail has dozens. The name is not ours to read.
func TestASenderMayHaveANameInAnyCharset(t *testing.T) {
	d := newDesk(t)
	for _, name := range []string{
		"=?iso-2022-jp?B?GyRCJSIlKyEmJS8bKEI=?=", "=?windows-1251?Q?=CC=E0=E3=E0=E7=E8=ED?=", "=?GB2312?B?yczz0g==?= Shop", "=?iso-8859-15?Q?Caf=E9?=",
		"\"=?koi8-r?B?7cHHwdrJzg==?=\"", "J\xf6rg", "\"J\xf6rg\"",
	} {
		if err := d.admit("From: "+name+" <news@example.com>\r\n\r\nx\r\n", "ann"); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if err := d.admit("From: "+name+" <news@example.net>\r\n\r\nx\r\n", "ann"); err == nil {
			t.Errorf("%q hides a domain that is not ours", name)
		}
	}
}
