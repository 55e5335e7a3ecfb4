// SPDX-License-Identifier: Apache-2.0

package throttle

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/mta/rfc5321"
	"github.com/seguemta/segue/reputation/bounce"
)

func start() time.Time { return time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC) }

func builtinRules(t testing.TB) *Rules {
	t.Helper()
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// readReply reads "421 4.7.0 text".
func readReply(t testing.TB, s string) rfc5321.Reply {
	t.Helper()
	code, text, _ := strings.Cut(strings.TrimSpace(s), " ")
	n, err := strconv.Atoi(code)
	if err != nil {
		t.Fatalf("%q is not a reply", s)
	}
	r := rfc5321.Reply{Code: n}
	r.Enhanced, r.Text = rfc5321.CutEnhanced(text)
	return r
}

func refused(r rfc5321.Reply) Observation {
	o := Observation{Outcome: Deferred, Reply: r, Lane: Lane{"marketing", "trial", "active", "prime"}}
	if r.Permanent() {
		o.Outcome = Bounced
	}
	return o
}

// talk is a conversation about one source at one provider.
type talk struct {
	policy *Policy
	state  *State
	now    time.Time
	sites  int // that have spoken
	b      strings.Builder
}

// TestTalks plays conversations: one file each, the name is the sentence it shows.
func TestTalks(t *testing.T) {
	rules := builtinRules(t)
	datadriven.Walk(t, "testdata/talks", func(t *testing.T, path string) {
		t.Helper()
		c := &talk{now: start()}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			c.b.Reset()
			args := map[string]string{}
			for _, a := range d.CmdArgs {
				args[a.Key] = strings.Join(a.Vals, " ")
			}
			if d.Cmd == "begin" {
				c.begin(t, rules, d, args)
			} else {
				c.run(t, d, args)
			}
			if c.b.Len() == 0 {
				return "nothing changes\n"
			}
			return c.b.String()
		})
	})
}

func (c *talk) begin(t *testing.T, rules *Rules, d *datadriven.TestData, args map[string]string) {
	t.Helper()
	if d.Input != "" {
		own, err := Parse("own", d.Input)
		if err != nil {
			t.Fatal(err)
		}
		rules = own
	}
	rate, _ := strconv.ParseFloat(args["rate"], 64)
	connections, _ := strconv.Atoi(args["connections"])
	_, reports := args["reports"]
	c.policy = rules.For(args["provider"], Normal{Rate: rate, Connections: connections, Reports: reports}, Damping{})
	c.state, c.now = New(args["source"], args["provider"]), start()
	fmt.Fprintf(&c.b, "it is %s\n", c.now.Format(time.DateTime))
}

func (c *talk) say(acts []Act) {
	for _, a := range acts {
		fmt.Fprintf(&c.b, "%s  %s\n", a.Time.Format(time.TimeOnly), a)
	}
}

func (c *talk) run(t *testing.T, d *datadriven.TestData, args map[string]string) {
	t.Helper()
	switch d.Cmd {
	case "replies": // one line each; every=TIME lies between them; site=NAME, or sites: of one each
		c.replies(t, d, args)
	case "recipients": // delivered=N deferred=N bounced=N complained=N
		c.recipients(t, args)
	case "wait":
		length, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		c.now = c.now.Add(length)
		c.say(c.policy.Tick(c.state, c.now))
	case "limits":
		c.limits()
	case "store":
		b, err := c.state.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if c.state, err = Decode(b); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&c.b, "stored and loaded\n")
	case "pin":
		rate, _ := strconv.ParseFloat(args["rate"], 64)
		connections, _ := strconv.Atoi(args["connections"])
		_, suspended := args["suspended"]
		c.say(c.policy.Pin(c.state, c.now, Pin{Suspended: suspended, Rate: rate, Connections: connections, By: args["by"], Reason: args["reason"]}))
	case "unpin":
		c.say(c.policy.Unpin(c.state, c.now, args["by"]))
	case "cancel":
		target := TargetSource
		if args["target"] != "" {
			target = Target(args["target"])
		}
		c.say(c.policy.Cancel(c.state, c.now, target, args["name"], args["by"]))
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
}

func (c *talk) replies(t *testing.T, d *datadriven.TestData, args map[string]string) {
	t.Helper()
	every, _ := time.ParseDuration(args["every"])
	_, sites := args["sites"]
	for line := range strings.Lines(d.Input) {
		o := refused(readReply(t, line))
		if o.Site = args["site"]; sites {
			c.sites++
			o.Site = fmt.Sprint("mx", c.sites)
		}
		if segment, ok := args["segment"]; ok {
			o.Lane.Segment = segment
		}
		_, o.Transactional = args["transactional"]
		_, o.Repeated = args["repeated"]
		c.say(c.policy.Observe(c.state, c.now, o))
		c.now = c.now.Add(every)
	}
}

func (c *talk) recipients(t *testing.T, args map[string]string) {
	t.Helper()
	for _, kind := range []string{"delivered", "deferred", "bounced", "complained"} {
		n, _ := strconv.Atoi(args[kind])
		o := map[string]Observation{
			"delivered":  {Outcome: Delivered},
			"deferred":   {Outcome: Deferred, Verdict: bounce.Reputation},
			"bounced":    {Outcome: Bounced, Verdict: bounce.Suppress},
			"complained": {Outcome: Complained},
		}[kind]
		for range n {
			c.say(c.policy.Observe(c.state, c.now, o))
		}
	}
}

func (c *talk) limits() {
	l := c.policy.Limits(c.state, c.now)
	switch {
	case l.Suspended && l.Until.IsZero():
		fmt.Fprintf(&c.b, "suspended until unpinned\n")
	case l.Suspended:
		fmt.Fprintf(&c.b, "suspended until %s by %s\n", l.Until.Format(time.TimeOnly), l.Rule)
	default:
		a := Act{Rate: l.Rate, Connections: l.Connections, PerConnection: l.PerConnection}
		fmt.Fprintf(&c.b, "%s %s\n", a.limit(), l.Rule)
	}
	for _, x := range l.Lanes {
		fmt.Fprintf(&c.b, "%s %s suspended until %s by %s\n", x.Target, x.Name, x.Until.Format(time.TimeOnly), x.Rule)
	}
	if next := c.policy.Next(c.state); !next.IsZero() {
		fmt.Fprintf(&c.b, "next step %s\n", next.Format(time.TimeOnly))
	}
}

// TestRules: every rule does every one of its acts at each of its providers, when the
// provider says what its examples say. Tables in which rules never fired have been shipped.
func TestRules(t *testing.T) {
	rules := builtinRules(t)
	for _, r := range rules.replies {
		providers := r.Providers()
		if len(providers) == 0 {
			providers = []string{"", "hooli"}
		}
		yes, _ := r.Examples()
		for _, provider := range providers {
			for _, reply := range yes {
				for i := range r.whens {
					acts := provoke(rules.For(provider, Normal{}, Damping{}), New("a1", provider), r.whens[i].count, reply)
					if !slices.ContainsFunc(acts, func(a Act) bool {
						return a.Rule == r.name && (a.Kind == r.whens[i].action.kind && a.Target == r.whens[i].action.target || a.Kind == Alert)
					}) {
						t.Errorf("%s at %q: its act number %d did not come of %d replies %q: %v", r.name, provider, i+1, r.whens[i].count, reply, acts)
					}
				}
			}
		}
	}
	if len(rules.replies) < 30 || len(rules.rates) != 3 {
		t.Errorf("%d rules and %d rates", len(rules.replies), len(rules.rates))
	}
}

// provoke lets a reply come so often, or once more: the act before may have come
// within the minute. Each is of another site.
func provoke(p *Policy, s *State, count int, reply rfc5321.Reply) (acts []Act) {
	now := start()
	if s.Provider == "" {
		count = max(count, leastSites)
	}
	for n := range count + 1 {
		if n == count {
			now = now.Add(time.Minute)
		}
		o := refused(reply)
		o.Site = fmt.Sprint("mx", n)
		acts = append(acts, p.Observe(s, now, o)...)
	}
	return acts
}

// TestUnused: rules for a provider that is not configured never fire, so they are named.
func TestUnused(t *testing.T) {
	rules := builtinRules(t)
	all := rules.Unused(nil)
	if !slices.Contains(all, "google") || !slices.Contains(all, "yahoo") {
		t.Errorf("of no provider: %v", all)
	}
	if some := rules.Unused([]string{"google", "aol"}); slices.Contains(some, "google") || slices.Contains(some, "yahoo") || len(some) != len(all)-2 {
		t.Errorf("with google and aol: %v", some)
	}
}

func TestParseErrors(t *testing.T) {
	const good = "rule a\ntext xx\nwhen 2 in 10m suspend source for 1h\nnext wait\nyes 450 xx\nno 450 y\n"
	const rate = "rate b\ncounts bounced\nsample 100\nin 1h\nlow 1% alert\nnext look\n"
	for _, tt := range []struct{ text, want string }{
		{"text x\n", `f:1: bad throttle rules: "text" before the first rule`},
		{good + "colour red\n", `f:7: bad throttle rules: unknown word "colour" (rule provider code status text unless when next yes no)`},
		{rate + "text xx\n", `f:7: bad throttle rules: unknown word "text" (rate provider counts sample in low high next)`},
		{good + "next\n", "f:7: bad throttle rules: next has no value"},
		{good + "rate a\n", `f:7: bad throttle rules: rule "a" occurs twice`},
		{good + "when now\n", `f:7: bad throttle rules: when "now" is not like: 3 in 10m suspend source for 2h`},
		{good + "when 33 in 1h alert\n", "f:7: bad throttle rules: 33 matches are more than 32"},
		{good + "when 3 in 1y alert\n", `f:7: bad throttle rules: "1y" is not a time from 1s to 168h, like 30m`},
		{good + "when 0 in 1h alert\n", `f:7: bad throttle rules: "0" is not a number from 1 to a billion`},
		{good + "when 3 in 1h slow rate 1 for 1h\n", `f:7: bad throttle rules: rate "1" is not like 10/s, 10/m or 10/h`},
		{good + "when 3 in 1h slow to 0% for 1h\n", `f:7: bad throttle rules: "0%" is not a part like 0.2% or 50%`},
		{good + "when 3 in 1h slow speed 1 for 1h\n", `f:7: bad throttle rules: slow knows no "speed" (rate to connections per_connection for)`},
		{good + "when 3 in 1h suspend source rate 1\n", `f:7: bad throttle rules: suspend knows no "rate"`},
		{good + "when 2 in 1h alert\n", `f:1: bad throttle rules: rule "a": a later when waits for more matches than the one before it`},
		{good + "when 3 in 1h suspend lane for 1h\n", `f:1: bad throttle rules: rule "a": matches are counted for the source, a lane or a segment: one rule has one of them`},
		{strings.Replace(good, "when 2 in 10m suspend source for 1h\n", "", 1), `f:1: bad throttle rules: rule "a": it does nothing: add when`},
		{strings.Replace(good, "next wait\n", "", 1), `f:1: bad throttle rules: rule "a": it does not say what an operator should do: add next`},
		{strings.Replace(good, "yes 450 xx", "yes 450 z", 1), `f:1: bad throttle rules: rule "a": it does not match its example "450 z"`},
		{strings.Replace(good, "no 450 y", "no 450 xx", 1), `f:1: bad throttle rules: rule "a": it matches "450 xx", which it must not`},
		{strings.Replace(good, "no 450 y\n", "", 1), `f:1: bad throttle rules: rule "a": it needs a reply that it matches (yes) and one that it does not (no)`},
		{good + strings.Replace(good, "rule a", "rule c", 1), `f:7: bad throttle rules: rule "c" never fires for its own example: rule "a" takes it first`},
		{strings.Replace(rate, "bounced", "opened", 1), `f:2: bad throttle rules: counts "opened" is not one of deferred bounced complained`},
		{strings.Replace(rate, "counts bounced\n", "", 1), `f:1: bad throttle rules: rate "b": it counts nothing: add counts`},
		{strings.Replace(rate, "sample 100\n", "", 1), `f:1: bad throttle rules: rate "b": it has no minimum sample: a small number would act on chance; add sample`},
		{strings.Replace(rate, "in 1h", "in 1s", 1), `f:1: bad throttle rules: rate "b": it has no window of at least a minute: add in`},
		{strings.Replace(rate, "low 1% alert\n", "", 1), `f:1: bad throttle rules: rate "b": it does nothing: add low or high`},
		{rate + "high 1% alert\n", `f:1: bad throttle rules: rate "b": high is not above low`},
		{strings.Replace(rate, "next look\n", "", 1), `f:1: bad throttle rules: rate "b": it does not say what an operator should do: add next`},
		{rate + "high 2% suspend lane for 1h\n", `f:1: bad throttle rules: rate "b": a rate is that of a source at a provider: it cannot suspend a lane or a segment`},
	} {
		_, err := Parse("f", tt.text)
		if !errors.Is(err, ErrRules) || err.Error() != tt.want {
			t.Errorf("%q: %v\nwant %s", tt.text, err, tt.want)
		}
	}
	var many strings.Builder
	for i := range maxRates + 1 {
		many.WriteString(strings.Replace(rate, "rate b", fmt.Sprint("rate b", i), 1))
	}
	if _, err := Parse("f", many.String()); !errors.Is(err, ErrRules) {
		t.Errorf("%d rates: %v", maxRates+1, err)
	}
}

// TestFrom: what events say of an attempt.
func TestFrom(t *testing.T) {
	e := event.Event{Kind: event.Bounced, Code: 550, Enhanced: "5.7.1", Reply: "no", Verdict: "reputation", Stream: "marketing", Segment: "trial", Tier: "new", Pool: "prime", Site: "mx.hooli.example"}
	o, ok := From(&e)
	if want := (Observation{Outcome: Bounced, Reply: rfc5321.Reply{Code: 550, Enhanced: rfc5321.EnhancedCode{5, 7, 1}, Text: "no"}, Verdict: bounce.Reputation, Lane: Lane{"marketing", "trial", "new", "prime"}, Site: "mx.hooli.example"}); !ok || o != want {
		t.Errorf("%+v", o)
	}
	got := map[event.Kind]Outcome{}
	for _, kind := range []event.Kind{event.Accepted, event.Delivered, event.Deferred, event.Bounced, event.Complained, event.Expired, event.Delayed} {
		if o, ok := From(&event.Event{Kind: kind}); ok {
			got[kind] = o.Outcome
		}
	}
	if want := map[event.Kind]Outcome{event.Delivered: Delivered, event.Deferred: Deferred, event.Bounced: Bounced, event.Complained: Complained}; !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// TestOverride: an operator's rules come first, also those for everyone, and one with the name
// of a built-in rule takes its place.
func TestOverride(t *testing.T) {
	shipped := builtinRules(t)
	const own = `rule house
text unusual rate
when 1 in 10m slow rate 7/m for 30m
next look
yes 421 4.7.28 unusual rate
no 421 later

rate deferrals
counts deferred
sample 1
in 1h
low 10% suspend source for 2h
next look
`
	rules, err := shipped.Override("own.txt", own)
	if err != nil {
		t.Fatal(err)
	}
	if got := rules.Len(); got != shipped.Len()+1 {
		t.Errorf("%d rules, built-in %d", got, shipped.Len())
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	reply := Observation{
		Outcome: Deferred, Verdict: bounce.Reputation,
		Reply: rfc5321.Reply{Code: 421, Enhanced: rfc5321.EnhancedCode{4, 7, 28}, Text: "unusual rate"},
	}
	s := New("a1", "google")
	acts := rules.For("google", Normal{}, Damping{}).Observe(s, now, reply)
	if len(acts) != 1 || acts[0].Rule != "house" {
		t.Fatalf("%v", acts)
	}
	now, reply.Reply.Text = now.Add(2*time.Minute), "greylisted"
	for range 10 {
		acts = rules.For("google", Normal{}, Damping{}).Observe(s, now, reply)
		if len(acts) > 0 {
			break
		}
	}
	if len(acts) != 1 || acts[0].Rule != "deferrals" || acts[0].Kind != Suspend {
		t.Errorf("%v", acts)
	}
	for text, want := range map[string]string{
		"rule x\ncolour red\n":        `own.txt:2: bad throttle rules: unknown word "colour"`,
		strings.Repeat("rate x\n", 2): `own.txt:2: bad throttle rules: rule "x" occurs twice`,
	} {
		if _, err := shipped.Override("own.txt", text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
