// SPDX-License-Identifier: Apache-2.0

package bounce

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
		if err := table.prove(r); err != nil {
			t.Errorf("rule %q: %v", r.result.Rule, err)
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

// readTable reads a table with tabs between its cells, lines of # and the head left out.
func readTable(t testing.TB, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
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
	return rows[1:]
}

// labels is the map from the reasons of the corpus to our classes.
func labels(t testing.TB) map[string][]string {
	t.Helper()
	m := map[string][]string{}
	for _, row := range readTable(t, filepath.Join("testdata", "labels.tsv")) {
		m[row[0]] = strings.Fields(row[1])
	}
	return m
}

// TestLabels: the map names classes that exist, and says why.
func TestLabels(t *testing.T) {
	for _, row := range readTable(t, filepath.Join("testdata", "labels.tsv")) {
		for class := range strings.FieldsSeq(row[1]) {
			if !Class(class).Known() {
				t.Errorf("%s: no class %q", row[0], class)
			}
		}
		if row[1] == "" || row[2] == "" {
			t.Errorf("%s: without a class or a reason", row[0])
		}
	}
}

func TestParseReply(t *testing.T) {
	for text, want := range map[string]string{
		"550 5.1.1 no such user": "550 5.1.1 no such user",
		"421":                    "421 0.0.0 ",
		"550-5.1.1 The account\n550-5.1.1 does not\r\n550 5.1.1 exist.": "550 5.1.1 The account does not exist.",
		"554-mx.example poor reputation\nof your server":                "554 0.0.0 mx.example poor reputation of your server",
		"550-5.1.1 one\n550 5.7.1 two":                                  "550 5.1.1 one 5.7.1 two",
		"550 one\n250 two":                                              "",
		"5500 one":                                                      "",
		"199 one":                                                       "",
		"-50 one":                                                       "",
		"no such user":                                                  "",
		"":                                                              "",
		"no\n550 such user":                                             "",
	} {
		got := ""
		if r, ok := ParseReply(text); ok {
			got = fmt.Sprintf("%d %d.%d.%d %s", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], r.Text)
		}
		if got != want {
			t.Errorf("%q reads as %q, want %q", text, got, want)
		}
	}
}

// TestScore scores the table against what others say of real replies: hard
// means that the contact should get no more mail. SEGUE_CORPUS names the
// directory of a larger corpus, for instance ../shared/corpora.
func TestScore(t *testing.T) {
	dir := os.Getenv("SEGUE_CORPUS")
	if dir == "" {
		dir = filepath.Join("testdata", "corpus")
	}
	table, classes := builtinTable(t), labels(t)
	rows := readTable(t, filepath.Join(dir, "replies.tsv"))
	right, hard, caught, wrong, class := 0, 0, 0, 0, 0
	for _, row := range rows {
		reply, ok := ParseReply(row[0])
		if !ok {
			t.Fatalf("not a reply: %q", row[0])
		}
		got := table.Classify(providerOf(row[3]), reply)
		if slices.Contains(classes[row[2]], string(got.Class)) {
			class++
		} else {
			t.Logf("%s, labelled %s, rule %s: %.150q", got.Class, row[2], got.Rule, row[0])
		}
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
	percent := func(n int) float64 { return 100 * float64(n) / float64(len(rows)) }
	t.Logf("hard or soft: %d of %d agree (%.1f %%); %d of %d hard bounces found; %d suppressed against the label",
		right, len(rows), percent(right), caught, hard, wrong)
	t.Logf("class: %d of %d agree (%.1f %%)", class, len(rows), percent(class))
	if percent(right) < 88 || percent(class) < 80 {
		t.Error("less than 88 % agree about hard or soft, or less than 80 % about the class")
	}
}

// TestDefaults: what no rule knows.
func TestDefaults(t *testing.T) {
	table := builtinTable(t)
	for _, tt := range []struct {
		reply rfc5321.Reply
		want  Result
	}{
		{rfc5321.Reply{Code: 450, Text: "x"}, Result{Class: TransientFailure, Verdict: Ignore, Rule: "4xx"}},
		{rfc5321.Reply{Code: 421}, Result{Class: TransientFailure, Verdict: Ignore, Rule: "4xx"}},
		{rfc5321.Reply{Code: 550, Text: "x"}, Result{Class: Uncategorized, Verdict: Count, Rule: "5xx"}},
		{rfc5321.Reply{Code: 554, Enhanced: rfc5321.EnhancedCode{5, 0, 0}}, Result{Class: Uncategorized, Verdict: Count, Rule: "5xx"}},
		{rfc5321.Reply{Code: 250, Text: "user unknown"}, Result{Class: Uncategorized, Verdict: Ignore, Rule: "none"}},
		{rfc5321.Reply{}, Result{Class: Uncategorized, Verdict: Ignore, Rule: "none"}},
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
subject ip
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
		{"ofr_506", "Mail rejected. OFR_506 [506]", true},
		{"ofr_506", "OFR 506", false},
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
		{good + "colour red\n", `f:7: bad bounce rules: unknown word "colour" (rule class verdict subject provider code status text unless yes no)`},
		{good + "text\n", "f:7: bad bounce rules: text has no value"},
		{good + "text *\n", "f:7: bad bounce rules: a phrase needs parts of at least two octets"},
		{good + "text ab * c\n", "f:7: bad bounce rules: a phrase needs parts of at least two octets"},
		{good + "code 25x\n", `f:7: bad bounce rules: code "25x" is not like 550, 55x or 5xx`},
		{good + "status 5.1\n", `f:7: bad bounce rules: status "5.1" is not like 5.1.1, x.1.1 or 5.7.*`},
		{good + "status *.1.1\n", `f:7: bad bounce rules: status "*.1.1" is not like 5.1.1, x.1.1 or 5.7.*`},
		{good + good, `f:7: bad bounce rules: rule "a" occurs twice`},
		{strings.Replace(good, "QuotaIssues", "Quota", 1), `f:1: bad bounce rules: rule "a": class "Quota" is not one of the classes`},
		{strings.Replace(good, "count", "kill", 1), `f:1: bad bounce rules: rule "a": verdict "kill" is not one of suppress count reputation infrastructure ignore`},
		{strings.Replace(good, "count", "reputation", 1), `f:1: bad bounce rules: rule "a": verdict reputation needs a subject, ip, domain or content, not ""`},
		{good + "subject ip\n", `f:1: bad bounce rules: rule "a": only verdict reputation has a subject`},
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
		reply, _ := ParseReply(r.yes[0])
		f.Add("google", reply.Code, reply.Enhanced[1], reply.Enhanced[2], reply.Text)
	}
	f.Fuzz(func(t *testing.T, provider string, code, subject, detail int, text string) {
		reply := rfc5321.Reply{Code: code, Enhanced: rfc5321.EnhancedCode{code / 100, subject, detail}, Text: text}
		got := table.Classify(provider, reply)
		if (got.Verdict == Reputation) != got.Subject.Known() {
			t.Fatalf("%+v", got)
		}
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
