// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/tier"
)

// dice draws rules; scored ones also read scores.
type dice struct {
	*rand.Rand
	scored bool
}

// officeModel is the points that the slow twin counts by hand, below.
func officeModel(tb testing.TB, way score.Account) *score.Model {
	tb.Helper()
	m, err := score.New(testOptions(tb, nil).Schema, score.Options{
		Fit: []score.FitRule{
			{Where: `contact.status == "a"`, Points: 20}, {Where: `account.plan == "a"`, Points: 15}, {Where: `account.plan == "b"`, Points: 30},
		},
		Activities: []score.Activity{{Event: "Visit", Points: 13}, {Event: "Order", Points: 31}, {Event: "Cancel", Points: -40}},
		FitMax:     40, BehaviourMax: 50, HalfLife: 10 * tier.Day, Account: way,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// score is what somebody scores, by everything that it ever did.
func (o *office) score(p *worker) float64 {
	fit := 0.0
	for account := range p.roles {
		fit = max(fit, o.fit(p, account))
	}
	sum := 0.0
	for _, a := range p.acts {
		points := map[string]float64{"Visit": 13, "Order": 31, "Cancel": -40}[a.name]
		sum += points * math.Exp2(-float64(o.now.Sub(a.at))/float64(10*tier.Day))
	}
	return max(fit, o.fit(p, "")) + min(max(sum, 0), 50)
}

func (o *office) fit(p *worker, account string) float64 {
	points := 0.0
	if p.status == "a" {
		points += 20
	}
	if account != "" {
		points += map[string]float64{"a": 15, "b": 30}[o.plans[account]]
	}
	return min(points, 40)
}

// accountScore asks all contacts of an account.
func (o *office) accountScore(account string) float64 {
	var all []float64
	for _, p := range o.people {
		if _, ok := p.roles[account]; ok {
			all = append(all, o.score(p))
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	sum := 0.0
	for _, x := range all[:min(o.most, len(all))] {
		sum += x
	}
	return sum
}

// scoreClause asks for a score. Levels are never exactly what points add up to.
func scoreClause(rng dice) clause {
	level := float64(rng.IntN(100)) + 0.37
	switch rng.IntN(6) {
	case 0:
		return clause{fmt.Sprintf("score >= %v", level), func(o *office, p *worker, _ string) bool { return o.score(p) >= level }}
	case 1:
		return clause{"account_score >= contact.score", func(o *office, p *worker, a string) bool {
			return a != "" && p.limit > 0 && o.accountScore(a) >= p.limit
		}}
	case 2:
		return clause{fmt.Sprintf("account_score < %v", level), func(o *office, _ *worker, a string) bool { return a != "" && o.accountScore(a) < level }}
	case 3:
		return clause{"has(account_score)", func(_ *office, _ *worker, a string) bool { return a != "" }}
	default:
		return clause{fmt.Sprintf("account_score >= %v", level), func(o *office, _ *worker, a string) bool { return a != "" && o.accountScore(a) >= level }}
	}
}

// visits has some do what gives and takes points, late or not.
func (x *officeLife) visits() {
	var list []Call
	for range 1 + x.rng.IntN(3) {
		address, p := x.worker()
		x.n++
		a := act{name: []string{"Visit", "Order", "Order", "Cancel"}[x.rng.IntN(4)], at: x.o.now}
		if x.rng.IntN(3) == 0 {
			a.at = a.at.Add(-time.Duration(x.rng.IntN(20*24*3600)) * time.Second)
		}
		p.acts = append(p.acts, a)
		list = append(list, Call{Kind: CallTrack, Email: address, Event: a.name, Time: a.at, MessageID: fmt.Sprint("m", x.n)})
	}
	x.ingest(list)
}

// TestOracleOfAccountScores is TestOracleOfColleagues for rules that read the scores of
// contacts and of accounts, which fade; the twin adds up everybody's events each time.
func TestOracleOfAccountScores(t *testing.T) {
	for seed := range lives(t, 2) {
		way := []score.Account{score.AccountMax, score.AccountTop3}[seed%2]
		x := &officeLife{t: t, rng: rand.New(rand.NewPCG(seed, 6)), o: &office{most: []int{1, 3}[seed%2]}, scores: officeModel(t, way)}
		x.live(seed)
	}
}
