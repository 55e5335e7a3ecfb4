// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"slices"
	"strings"
	"testing"

	"github.com/seguemta/segue/config"
)

// scoreFixture has scores that only a compiler can find fault with.
const scoreFixture = `hostname = "mta1.mail.example.net"
[[attribute]]
name = "account.employees"
type = "number"
[[score]]
dimension = "behaviour"
event = "Order"
filter = 'account.employees > 100'
points = 10
[[score]]
dimension = "fit"
where = 'account.employes > 50'
points = 10
[[score]]
dimension = "fit"
where = 'tier == "active"'
points = 10
[[score]]
dimension = "behaviour"
event = "Email Marked as Spam"
points = -10
[[score]]
dimension = "behaviour"
event = "Order"
filter = 'property.total > 100'
points = 10
`

func TestCheckCompilesScores(t *testing.T) {
	c, problems := config.Parse("segue.toml", []byte(scoreFixture))
	var got []string
	for _, p := range c.Sort(append(problems, Check(c)...)) {
		if strings.HasPrefix(p.Key, "sc") {
			got = append(got, p.String())
		}
	}
	want := []string{
		"segue.toml:8: score[0].filter: column 1: ",
		"segue.toml:12: score[1].where: column 1: ",
		`segue.toml:16: score[2].where: column 1: a fit rule may not read tier (`,
		`segue.toml:20: score[3].event: "Email Marked as Spam" gives no points`,
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("problems are\n%s\nwanted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	t.Log(strings.Join(got, "\n"))
}

func TestScoringOfTheExample(t *testing.T) {
	c, problems := config.Load("../deploy/segue.example.toml")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	schema, _, _ := rules(c)
	m, problems := scoring(c, schema)
	if len(problems) > 0 || m == nil {
		t.Fatal(problems)
	}
	c.Scores = nil
	if m, problems := scoring(c, schema); m != nil || len(problems) > 0 {
		t.Errorf("without tables there is a model: %v", problems)
	}
}
