// SPDX-License-Identifier: Apache-2.0

package bounce

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seguemta/segue/mta/rfc5321"
)

const ownRule = `
rule house-list
class SpamBlock
verdict reputation
subject domain
text user unknown to our list
yes 550 5.1.1 user unknown to our list
no 550 5.1.1 user unknown
`

// TestOverride: an operator's rule comes before the built-in ones, replaces that of
// its name, and proves its examples.
func TestOverride(t *testing.T) {
	table := builtinTable(t)
	reply := rfc5321.Reply{Code: 550, Enhanced: rfc5321.EnhancedCode{5, 1, 1}, Text: "user unknown to our list"}
	if got := table.Classify("", reply); got.Verdict != Suppress {
		t.Fatalf("before: %+v", got)
	}
	own, err := table.Override("own.txt", ownRule)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := own.Classify("", reply), (Result{SpamBlock, Reputation, Domain, "house-list"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if len(own.rules) != len(table.rules)+1 {
		t.Errorf("%d rules, of %d and one", len(own.rules), len(table.rules))
	}
	own, err = table.Override("own.txt", strings.Replace(ownRule, "house-list", "dmarc", 1))
	if err != nil {
		t.Fatal(err)
	}
	if len(own.rules) != len(table.rules) {
		t.Errorf("%d rules: that of the same name stayed", len(own.rules))
	}
	for _, tt := range []struct{ old, next, want string }{
		{"yes 550 5.1.1 user unknown to our list", "yes 550 5.1.1 no such user", `own.txt:2: bad bounce rules: rule "house-list": its own example "550 5.1.1 no such user" goes to rule "certainly-no-such-user"`},
		{"no 550 5.1.1 user unknown", "no 550 user unknown to our list", `own.txt:2: bad bounce rules: rule "house-list": it matches "550 user unknown to our list", which it must not`},
		{"no 550 5.1.1 user unknown", "", `own.txt:2: bad bounce rules: rule "house-list": it needs a reply that it matches (yes) and one that it does not (no)`},
	} {
		_, err := table.Override("own.txt", strings.Replace(ownRule, tt.old, tt.next, 1))
		if !errors.Is(err, ErrRules) || err.Error() != tt.want {
			t.Errorf("%v\nwant %s", err, tt.want)
		}
	}
}

// TestClassifier: the cache answers as the table does, forgets what is old, and drops
// everything with its table.
func TestClassifier(t *testing.T) {
	table := builtinTable(t)
	c := NewClassifier(table)
	for range 2 {
		for i := range 3 * maxCached {
			reply := rfc5321.Reply{Code: 550, Text: fmt.Sprintf("user %d unknown", i)}
			if got := c.Classify("", reply); got.Verdict != Suppress {
				t.Fatalf("%d: %+v", i, got)
			}
		}
	}
	cur := c.current.Load()
	if n := len(cur.young) + len(cur.old); n > 2*maxCached || n < maxCached {
		t.Errorf("%d replies are held", n)
	}
	c.Classify("", rfc5321.Reply{Code: 550, Text: strings.Repeat("x", maxText+1)})
	for k := range cur.young {
		if len(k.text) > maxText {
			t.Error("a text of any length is held")
		}
	}
	reply := rfc5321.Reply{Code: 550, Enhanced: rfc5321.EnhancedCode{5, 1, 1}, Text: "user unknown to our list"}
	own, err := table.Override("own.txt", ownRule)
	if err != nil {
		t.Fatal(err)
	}
	before := c.Classify("", reply)
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 1000 {
				c.Classify("", reply)
			}
		})
	}
	c.Replace(own)
	if after := c.Classify("", reply); before.Rule == after.Rule || after.Rule != "house-list" {
		t.Errorf("%+v, then %+v", before, after)
	}
	asking.Wait()
}

// BenchmarkClassify is the average over the replies of the corpus, none of which the
// cache knows.
func BenchmarkClassify(b *testing.B) {
	table, replies := builtinTable(b), corpusReplies(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Classify("", replies[i%len(replies)])
	}
}

// BenchmarkClassifyCached is the same with the cache in front.
func BenchmarkClassifyCached(b *testing.B) {
	c, replies := NewClassifier(builtinTable(b)), corpusReplies(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Classify("", replies[i%len(replies)])
	}
}

func corpusReplies(b *testing.B) []rfc5321.Reply {
	b.Helper()
	var replies []rfc5321.Reply
	for _, row := range readTable(b, filepath.Join("testdata", "corpus", "replies.tsv")) {
		if reply, ok := ParseReply(row[0]); ok {
			replies = append(replies, reply)
		}
	}
	return replies
}
