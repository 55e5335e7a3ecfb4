// SPDX-License-Identifier: Apache-2.0

package throttle

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/seguemta/segue/reputation/bounce"
)

// hosts are the ends of exchangers' names in the corpus, and whose they are.
const hosts = `google.com google
yahoodns.net yahoo
aol.com yahoo
98.136.96.74 yahoo
outlook.com microsoft
203.0.113.225 microsoft
icloud.com apple
apple.com apple
comcast.net comcast
wanadoo.fr orange
orange.fr orange
mimecast.com mimecast
qq.com qq`

func providerOf(host string) string {
	for line := range strings.Lines(hosts) {
		if end, provider, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasSuffix(host, end) {
			return provider
		}
	}
	return ""
}

// TestCorpus: which rule takes which reply of real servers. Most replies are about
// a recipient, and no rule may take those.
func TestCorpus(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "bounce", "testdata", "corpus", "replies.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reader := csv.NewReader(f)
	reader.Comma, reader.Comment = '\t', '#'
	rows, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rules := builtinRules(t)
	datadriven.RunTest(t, "testdata/corpus.txt", func(t *testing.T, _ *datadriven.TestData) string {
		t.Helper()
		var b strings.Builder
		var w bounce.Words
		others := 0
		for _, row := range rows[1:] {
			reply, ok := bounce.ParseReply(row[0])
			if !ok {
				t.Fatalf("not a reply: %q", row[0])
			}
			w.Read(reply)
			if r := rules.For(providerOf(row[3]), Normal{}, Damping{}).match(&w); r != nil {
				fmt.Fprintf(&b, "%s: %.110s\n", r.name, row[0])
			} else {
				others++
			}
		}
		fmt.Fprintf(&b, "no rule: %d replies\n", others)
		return b.String()
	})
}
