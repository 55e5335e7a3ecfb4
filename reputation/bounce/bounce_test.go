// SPDX-License-Identifier: Apache-2.0

package bounce

import (
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/rfc5321"
)

func builtinTable(t testing.TB) *Table {
	t.Helper()
	table, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestRules runs the examples of every rule. That each rule gets its own "yes" through
// the whole table shows that no rule is dead behind those before it.
func TestRules(t *testing.T) {
	table := builtinTable(t)
	for _, r := range table.rules {
		provider := ""
		if len(r.providers) > 0 {
			provider = r.providers[0]
		}
		for _, example := range r.yes {
			reply, _ := parseReply(example)
			if got := table.Classify(provider, reply); got != r.result {
				t.Errorf("%s: %q goes to %+v", r.result.Rule, example, got)
			}
		}
		for _, example := range r.no {
			reply, _ := parseReply(example)
			if r.matches(reply, normalized(reply.Text)) {
				t.Errorf("%s: matches %q", r.result.Rule, example)
			}
		}
	}
	t.Logf("%d rules", len(table.rules))
}

func normalized(s string) *text {
	t := &text{}
	t.normalize(s)
	return t
}

// providerOf is the provider of a host, as a configuration would name it.
func providerOf(host string) string {
	for suffix, provider := range map[string]string{
		"google.com": "google", "googlemail.com": "google", "yahoodns.net": "yahoo", "yahoo.com": "yahoo", "yahoo.co.jp": "yahoo",
		"aol.com": "yahoo", "outlook.com": "microsoft", "hotmail.com": "microsoft", "icloud.com": "apple", "apple.com": "apple",
		"me.com.akadns.net": "apple", "wanadoo.fr": "orange", "orange.fr": "orange", "qq.com": "qq", "comcast.net": "comcast",
		"gmx.net": "gmx", "web.de": "gmx",
	} {
		if strings.HasSuffix(host, suffix) {
			return provider
		}
	}
	return ""
}

// TestCorpus scores the table against what others say of real replies: hard
// means that the contact should get no more mail. SEGUE_CORPUS names the
// directory of a larger corpus to measure.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("SEGUE_CORPUS")
	sample := dir == ""
	if sample {
		dir = filepath.Join("testdata", "corpus")
	}
	f, err := os.Open(filepath.Join(dir, "replies.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reader := csv.NewReader(f)
	reader.Comma = '\t'
	rows, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	table := builtinTable(t)
	right, hard, caught, wrong := 0, 0, 0, 0
	for _, row := range rows[1:] {
		reply, ok := parseReply(row[0])
		if !ok {
			t.Fatalf("not a reply: %q", row[0])
		}
		got := table.Classify(providerOf(row[3]), reply)
		want, suppress := row[1] == "true", got.Verdict == Suppress
		if want {
			hard++
		}
		if want == suppress {
			right++
			if want {
				caught++
			}
			continue
		}
		if suppress {
			wrong++
		}
		t.Logf("%s, labelled %s, rule %s: %.150q", got.Verdict, row[2], got.Rule, row[0])
	}
	total := len(rows) - 1
	t.Logf("%d of %d agree (%.1f %%); %d of %d hard bounces found; %d suppressed against the label",
		right, total, 100*float64(right)/float64(total), caught, hard, wrong)
	if sample && right*100 < total*88 {
		t.Error("less than 88 % agree")
	}
}

// TestDefaults: what no rule knows.
func TestDefaults(t *testing.T) {
	table := builtinTable(t)
	for _, tt := range []struct {
		reply rfc5321.Reply
		want  Result
	}{
		{rfc5321.Reply{Code: 450, Text: "x"}, Result{TransientFailure, Ignore, "4xx"}},
		{rfc5321.Reply{Code: 421}, Result{TransientFailure, Ignore, "4xx"}},
		{rfc5321.Reply{Code: 550, Text: "x"}, Result{Uncategorized, Count, "5xx"}},
		{rfc5321.Reply{Code: 554, Enhanced: rfc5321.EnhancedCode{5, 0, 0}}, Result{Uncategorized, Count, "5xx"}},
		{rfc5321.Reply{Code: 250, Text: "user unknown"}, Result{Uncategorized, Ignore, "none"}},
		{rfc5321.Reply{}, Result{Uncategorized, Ignore, "none"}},
	} {
		if got := table.Classify("", tt.reply); got != tt.want {
			t.Errorf("%v: %+v, want %+v", tt.reply, got, tt.want)
		}
	}
}

// TestProviderScope: the same words mean different things at different providers,
// and a provider's rule comes before one for everyone that stands above it.
func TestProviderScope(t *testing.T) {
	table, err := Parse("x", `
rule everyone
class SpamBlock
verdict reputation
text no
yes 550 no
no 550 yes

rule here
class QuotaIssues
verdict count
provider a b
text no
yes 550 no
no 550 yes
`)
	if err != nil {
		t.Fatal(err)
	}
	reply := rfc5321.Reply{Code: 550, Text: "no"}
	for provider, want := range map[string]string{"": "everyone", "c": "everyone", "a": "here", "b": "here"} {
		if got := table.Classify(provider, reply).Rule; got != want {
			t.Errorf("at %q: rule %s, want %s", provider, got, want)
		}
	}
}

func TestNormalize(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    " ",
		"  User\t UNKNOWN\n ":                 " user unknown ",
		"<Ann.B+c@Example.COM>... not found.": " <@>... not found. ",
		"user ann@example.com.":               " user @. ",
		"to:ann@example.com, bob@x.example;":  " to:@, @; ",
		"@ @@ a@":                             " @ @@ @ ",
		"Größe über":                          " größe über ",
	} {
		if got := string(normalized(text).bytes); got != want {
			t.Errorf("normalize(%q) = %q, want %q", text, got, want)
		}
	}
	if got := normalized(strings.Repeat("x ", 5000)).bytes; len(got) > maxText+2 {
		t.Errorf("%d octets are left", len(got))
	}
}

func TestPhrase(t *testing.T) {
	for _, tt := range []struct {
		phrase, text string
		want         bool
	}{
		{"user unknown", "the user unknown here", true},
		{"user unknown", "user is unknown", false},
		{"user * unknown", "user is unknown", true},
		{"user * unknown", "unknown user", false},
		{"user * unknown", "user " + strings.Repeat("x", maxGap+1) + " unknown", false},
		{"user * unknown", "user " + strings.Repeat("x", maxGap+1) + " user unknown", true},
		{"aa * bb * cc", "aa x bb y cc", true},
		{"aa * bb * cc", "aa x cc y bb", false},
		{"_rbl", "an rbl", true},
		{"_rbl", "marble", false},
		{"_rbl_", "rbl", true},
	} {
		p, ok := parsePhrase(tt.phrase)
		if !ok {
			t.Fatalf("%q is no phrase", tt.phrase)
		}
		if got := p.in(normalized(tt.text)); got != tt.want {
			t.Errorf("%q in %q: %v", tt.phrase, tt.text, got)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const good = "rule a\nclass QuotaIssues\nverdict count\ntext xx\nyes 550 xx\nno 550 y\n"
	for _, tt := range []struct{ text, want string }{
		{"class x\n", `f:1: bad bounce rules: "class" before the first rule`},
		{good + "colour red\n", `f:7: bad bounce rules: unknown word "colour" (rule class verdict provider code status text unless yes no)`},
		{good + "text\n", "f:7: bad bounce rules: text has no value"},
		{good + "text *\n", "f:7: bad bounce rules: a phrase needs parts of at least two octets"},
		{good + "text ab * c\n", "f:7: bad bounce rules: a phrase needs parts of at least two octets"},
		{good + "code 25x\n", `f:7: bad bounce rules: code "25x" is not like 550, 55x or 5xx`},
		{good + "status 5.1\n", `f:7: bad bounce rules: status "5.1" is not like 5.1.1, x.1.1 or 5.7.*`},
		{good + "status *.1.1\n", `f:7: bad bounce rules: status "*.1.1" is not like 5.1.1, x.1.1 or 5.7.*`},
		{good + good, `f:7: bad bounce rules: rule "a" occurs twice`},
		{strings.Replace(good, "QuotaIssues", "Quota", 1), `f:1: bad bounce rules: rule "a": class "Quota" is not one of the classes`},
		{strings.Replace(good, "count", "kill", 1), `f:1: bad bounce rules: rule "a": verdict "kill" is not one of suppress count reputation infrastructure ignore`},
		{strings.Replace(good, "text xx\n", "", 1), `f:1: bad bounce rules: rule "a": it matches everything: add code, status or text`},
		{strings.Replace(good, "no 550 y\n", "", 1), `f:1: bad bounce rules: rule "a": it needs a reply that it matches (yes) and one that it does not (no)`},
		{strings.Replace(good, "550 y", "y", 1), `f:1: bad bounce rules: rule "a": example "y" is not a reply`},
		{strings.Replace(good, "count", "suppress", 1), `f:1: bad bounce rules: rule "a": class QuotaIssues never suppresses: only InvalidRecipient and BadDomain do`},
		{strings.NewReplacer("count", "suppress", "QuotaIssues", "BadDomain").Replace(good), `f:1: bad bounce rules: rule "a": a rule that suppresses names its 5xx codes`},
		{strings.NewReplacer("count", "suppress", "QuotaIssues", "BadDomain").Replace(good) + "code 45x\n", `f:1: bad bounce rules: rule "a": a rule that suppresses names only 5xx codes`},
	} {
		_, err := Parse("f", tt.text)
		if !errors.Is(err, ErrRules) || err.Error() != tt.want {
			t.Errorf("%q: %v\nwant %s", tt.text, err, tt.want)
		}
	}
}

// FuzzClassify: any reply has a known class and verdict, and only 5xx suppresses.
func FuzzClassify(f *testing.F) {
	table := builtinTable(f)
	for _, r := range table.rules {
		reply, _ := parseReply(r.yes[0])
		f.Add("google", reply.Code, reply.Enhanced[1], reply.Enhanced[2], reply.Text)
	}
	f.Fuzz(func(t *testing.T, provider string, code, subject, detail int, text string) {
		reply := rfc5321.Reply{Code: code, Enhanced: rfc5321.EnhancedCode{code / 100, subject, detail}, Text: text}
		got := table.Classify(provider, reply)
		if !got.Class.Known() || !got.Verdict.Known() || got.Rule == "" {
			t.Fatalf("%+v", got)
		}
		if got.Verdict == Suppress && (code < 500 || code > 599 || got.Class != InvalidRecipient && got.Class != BadDomain) {
			t.Fatalf("%v suppresses by rule %s", reply, got.Rule)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("rule a\nclass QuotaIssues\nverdict count\ncode 5xx\nstatus x.2.*\ntext aa * bb\nunless cc\nyes 550 x\nno 450 y\n")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := Parse("f", text)
		if err == nil {
			table.Classify("a", rfc5321.Reply{Code: 550, Text: text})
		}
	})
}

// BenchmarkClassify is the average over the replies of the corpus.
func BenchmarkClassify(b *testing.B) {
	table := builtinTable(b)
	text, err := os.ReadFile(filepath.Join("testdata", "corpus", "replies.tsv"))
	if err != nil {
		b.Fatal(err)
	}
	var replies []rfc5321.Reply
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "\t")
		if reply, ok := parseReply(strings.Trim(cells[0], `"`)); ok {
			replies = append(replies, reply)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Classify("", replies[i%len(replies)])
	}
}
