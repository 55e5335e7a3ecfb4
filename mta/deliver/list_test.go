// SPDX-License-Identifier: Apache-2.0

package deliver

import (
	"bytes"
	"strings"
	"testing"

	"github.com/seguemta/segue/queue"
)

// newsroom is what the engine says of marketing mail.
func newsroom(o *Options) {
	o.Marketing = Marketing{
		Is: func(stream string) bool { return stream != "transactional" }, URL: "https://u.example.com/",
		Token: func(*queue.Job) string { return "utoken" },
	}
	d := o.Domains["sender.example"]
	d.FeedbackID = "senderexample"
	o.Domains["sender.example"] = d
}

// news is a marketing message whose application brought some fields.
func news(own string, to ...string) *queue.Job {
	j := letter(to...)
	j.Body = append([]byte(own), j.Body...)
	j.Message.Size, j.Message.HeaderSize = int64(len(j.Body)), j.Message.HeaderSize+int64(len(own))
	j.Message.Stream, j.Message.Campaign = "marketing", "Spring: 50 % off"
	j.Class.Stream, j.Class.Segment = "marketing", "trial"
	return j
}

const ours = "List-Unsubscribe: <https://u.example.com/u/utoken>,\r\n\t<mailto:utoken@bounces.sender.example?subject=unsubscribe>\r\n" +
	"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"

// signedFields are the names in the h= tag of the first signature, in lower case.
func signedFields(data []byte) map[string]int {
	unfolded := strings.NewReplacer("\r\n\t", "", "\r\n ", "", " ", "").Replace(string(data))
	_, after, _ := strings.Cut(unfolded, ";h=")
	h, _, _ := strings.Cut(after, ";")
	out := map[string]int{}
	for name := range strings.SplitSeq(strings.ToLower(h), ":") {
		out[name]++
	}
	return out
}

func TestListHeadersAreAddedAndSigned(t *testing.T) {
	inBubble(t, newsroom, func(b *bed) {
		e := b.exchanger("203.0.112.1")
		b.delivered(b.deliver(news("", "bob@one.example")))
		data := b.only(e).Data
		if !bytes.Contains(data, []byte(ours+"Feedback-ID: Spring-50-off:trial:marketing:senderexample\r\n")) {
			b.t.Errorf("%s", data)
		}
		signed := signedFields(data)
		for _, name := range []string{"list-unsubscribe", "list-unsubscribe-post", "feedback-id"} {
			if signed[name] != 2 { // once more than it occurs
				b.t.Errorf("%s is signed %d times: %v", name, signed[name], signed)
			}
		}
	})
}

func TestListHeadersOfTheApplicationStay(t *testing.T) {
	const own = "List-Unsubscribe: <https://app.example.com/out>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nfeedback-id: a:b:c:shop12\r\n"
	inBubble(t, newsroom, func(b *bed) {
		e := b.exchanger("203.0.112.1")
		b.delivered(b.deliver(news(own, "bob@one.example")))
		data := strings.ToLower(string(b.only(e).Data))
		for _, name := range []string{"\r\nlist-unsubscribe:", "\r\nlist-unsubscribe-post:", "\r\nfeedback-id:"} {
			if n := strings.Count("\r\n"+data, name); n != 1 {
				b.t.Errorf("%q stands %d times:\n%s", name, n, data)
			}
		}
		if !strings.Contains(data, "app.example.com") || strings.Contains(data, "utoken") {
			b.t.Errorf("%s", data)
		}
	})
}

func TestListHeadersAreForMarketingToOne(t *testing.T) {
	inBubble(t, newsroom, func(b *bed) {
		e := b.exchanger("203.0.112.1")
		receipt := news("", "bob@one.example")
		receipt.Message.Stream, receipt.Class.Stream = "transactional", "transactional"
		b.delivered(b.deliver(receipt))
		b.delivered(b.deliver(news("", "bob@one.example", "eve@one.example"))) // a link for both would be that of one
		for _, m := range e.Messages() {
			if bytes.Contains(m.Data, []byte("List-Unsubscribe:")) || bytes.Contains(m.Data, []byte("Feedback-ID:")) {
				b.t.Errorf("to %v: %s", m.To, m.Data)
			}
			if signed := signedFields(m.Data); signed["list-unsubscribe"] != 0 {
				b.t.Errorf("a mailing list could not add its own: %v", signed)
			}
		}
	})
}

// A retry carries what was made for the first attempt, byte for byte.
func TestListHeadersAreKeptForARetry(t *testing.T) {
	inBubble(t, newsroom, func(b *bed) {
		e := b.exchanger("203.0.112.1", "rcpt @1 : 451 4.7.1 greylisted")
		j := news("", "bob@one.example")
		res := b.deliver(j)
		kept := res.Outcomes[0].Signature
		if res.Outcomes[0].Kind != queue.Deferred || !bytes.Contains(kept, []byte(ours)) {
			b.t.Fatalf("%+v\n%s", res.Outcomes[0], kept)
		}
		j.Recipients[0].Signature = kept
		b.d.o.Marketing.Token = func(*queue.Job) string { return "another" }
		b.delivered(b.deliver(j))
		if data := b.only(e).Data; !bytes.HasPrefix(data, kept) || bytes.Contains(data, []byte("another")) {
			b.t.Errorf("the retry sent\n%s\nnot\n%s", data, kept)
		}
	})
}

func TestFeedbackIDParts(t *testing.T) {
	for in, want := range map[string]string{
		"": "-", "spring": "spring", "Spring 2026: 50 % off!": "Spring-2026-50-off", "a:b:c": "a-b-c", "ünï": "n", "::": "-", "v1.2_x": "v1.2_x",
		strings.Repeat("x", 100): strings.Repeat("x", maxFeedbackPart), "a\r\nBcc: eve@x.example": "a-Bcc-eve-x.example",
	} {
		if got := feedbackPart(in); got != want {
			t.Errorf("%q became %q, not %q", in, got, want)
		}
	}
}
