// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"strings"
	"testing"
)

const (
	wholePair = "List-Unsubscribe: <mailto:out@example.com>,\r\n <https://app.example.com/out?u=1>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
	onlyPost  = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
)

// The application's own pair stays where it is whole; else nothing of it does, and
// without a public listener to answer ours the message is refused.
func TestUnsubscribePairIsKeptOrReplaced(t *testing.T) {
	for _, x := range []struct {
		name, header string
		kept         bool
	}{
		{"none", "", false},
		{"a whole pair", wholePair, true},
		{"other case and spaces", "LIST-UNSUBSCRIBE: < https://app.example.com/out >\r\nlist-unsubscribe-post:  list-unsubscribe = one-click \r\n", true},
		{"without Post", "List-Unsubscribe: <https://app.example.com/out>\r\n", false},
		{"Post alone", onlyPost, false},
		{"another Post", "List-Unsubscribe: <https://app.example.com/out>\r\nList-Unsubscribe-Post: yes\r\n", false},
		{"mail alone", "List-Unsubscribe: <mailto:out@example.com>\r\n" + onlyPost, false},
		{"http", "List-Unsubscribe: <http://app.example.com/out>\r\n" + onlyPost, false},
		{"two links", "List-Unsubscribe: <https://app.example.com/1>, <https://app.example.com/2>\r\n" + onlyPost, false},
		{"two fields", wholePair + "List-Unsubscribe: <https://app.example.com/2>\r\n", false},
		{"two Post fields", wholePair + onlyPost, false},
		{"no brackets", "List-Unsubscribe: https://app.example.com/out\r\n" + onlyPost, false},
		{"an open bracket", "List-Unsubscribe: <https://app.example.com/out\r\n" + onlyPost, false},
		{"no host", "List-Unsubscribe: <https://>\r\n" + onlyPost, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			d := newDesk(t)
			if err := d.admit(x.header+plain, "ann"); err != nil {
				t.Fatal(err)
			}
			has := strings.Contains(strings.ToLower(string(d.got.Body)), "list-unsubscribe")
			if has != x.kept || x.kept && !strings.Contains(string(d.got.Body), x.header) {
				t.Errorf("kept %v:\n%s", has, d.got.Body)
			}
			d.o.Unsubscribe = false
			d.got = nil
			err := d.admit(x.header+plain, "ann")
			if x.kept && err != nil || !x.kept && (err == nil || d.got != nil || !strings.Contains(err.Error(), "List-Unsubscribe-Post")) {
				t.Errorf("without [public]: %v", err)
			}
			if err := d.admit("X-Segue-Stream: transactional\r\n"+x.header+plain, "ann"); err != nil || !strings.Contains(string(d.got.Body), x.header) {
				t.Errorf("transactional mail is changed: %v\n%s", err, d.got.Body)
			}
		})
	}
}

func TestListHeadersNameTheListOfAMessage(t *testing.T) {
	d := newDesk(t)
	if err := d.admit("X-Segue-List: weekly\r\n"+plain, "ann"); err != nil {
		t.Fatal(err)
	}
	if d.got.Message.List != "weekly" || d.asked.List != "weekly" || d.asked.Domain != "example.com" || strings.Contains(string(d.got.Body), "weekly") {
		t.Errorf("list %q, asked %+v\n%s", d.got.Message.List, d.asked, d.got.Body)
	}
	if err := d.admit("X-Segue-List: a|b\r\n"+plain, "ann"); err == nil {
		t.Error("a list that no list can be called was taken")
	}
}

func TestFeedbackIDOfTheApplicationStandsOnce(t *testing.T) {
	for header, want := range map[string]int{"": 0, "Feedback-ID: a:b:c:shop1\r\n": 1, "Feedback-ID: a:b:c:shop1\r\nFeedback-ID: d:e:f:shop2\r\n": 0} {
		d := newDesk(t)
		if err := d.admit(header+plain, "ann"); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(d.got.Body), "Feedback-ID"); n != want {
			t.Errorf("%q: %d fields", header, n)
		}
	}
}
