// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
	"github.com/seguemta/segue/segment/rule"
	"github.com/seguemta/segue/segment/score"
	"github.com/seguemta/segue/segment/templates"
	"github.com/seguemta/segue/segment/tier"
)

// TestTemplates has a conversation with each template, testdata/templates/NAME.
// Each answer is who entered and left in that step and why, then who is in.
//
//	import            rows of a file, of any kind
//	calls             identify and group, as clients send them
//	did               ADDRESS EVENT {PROPERTIES} in GROUP, now; "page" is a page call
//	mail              events of the queue, now
//	after 89d23h59m   time goes by
//	reopen            the process is started again
func TestTemplates(t *testing.T) {
	const dir = "testdata/templates/"
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, err := templates.Find(f.Name()); err != nil {
			t.Error(err)
		}
	}
	for _, tp := range templates.All() {
		t.Run(tp.Name, func(t *testing.T) {
			k := newTemplateTalk(t, &tp)
			datadriven.RunTest(t, dir+tp.Name, func(t *testing.T, td *datadriven.TestData) string {
				t.Helper()
				k.tb = t
				return k.step(td)
			})
			k.tb = t
			k.complete()
		})
	}
}

// templateTalk is a conversation with the segments of a template.
type templateTalk struct {
	talk
	behind uint64   // last flip that was told
	all    []string // every flip of membership, as flow has them
}

func newTemplateTalk(tb testing.TB, tp *templates.Template) *templateTalk {
	tb.Helper()
	schema, err := rule.NewSchema(tp.Attributes)
	if err != nil {
		tb.Fatal(err)
	}
	k := &templateTalk{talk: talk{tb: tb, now: t0()}}
	k.o = testOptions(tb, vfs.NewMem())
	k.o.Schema, k.o.Segments = schema, nil
	for i, s := range tp.Segments {
		k.o.Segments = append(k.o.Segments, Definition{Name: s.Name, Order: i, Where: s.Where, Include: s.Include, Exclude: s.Exclude, Stage: s.Stage})
	}
	k.o.Scores = points(tb, schema, tp)
	k.o.Now = func() time.Time { return k.now }
	k.d = open(tb, k.o)
	tb.Cleanup(func() { k.d.Close() })
	for _, s := range k.d.Segments() {
		if s.Error != "" {
			tb.Fatalf("%s: %s", s.Name, s.Error)
		}
	}
	return k
}

// points are the scores that a template comes with, limited and faded as where
// the configuration says nothing.
func points(tb testing.TB, schema *rule.Schema, tp *templates.Template) *score.Model {
	tb.Helper()
	o := tp.Scores
	o.FitMax, o.BehaviourMax, o.HalfLife = 50, 50, 30*tier.Day
	m, err := score.New(schema, o)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// step does what a conversation says, and returns what came of it.
func (k *templateTalk) step(td *datadriven.TestData) string {
	k.tb.Helper()
	switch td.Cmd {
	case "import":
		if _, bad, err := load(k.tb, k.d, fmt.Sprint(td.Pos), td.Input+"\n"); err != nil || bad != "" {
			k.tb.Fatal(err, bad)
		}
	case "calls":
		k.each(td.Input, func(line string) Call {
			var w wire
			if err := json.Unmarshal([]byte(line), &w); err != nil {
				k.tb.Fatal(err)
			}
			return w.call()
		})
	case "did":
		k.each(td.Input, k.deed)
	case "mail":
		k.mailed(td.Input)
	case "after":
		k.now = k.now.Add(k.wait(td.CmdArgs[0].Key))
	case "reopen":
		k.say(td)
	default:
		k.tb.Fatalf("%s: what is %q?", td.Pos, td.Cmd)
	}
	return k.came()
}

// each ingests a call for each line, all of this moment.
func (k *templateTalk) each(input string, read func(line string) Call) {
	k.tb.Helper()
	for line := range strings.SplitSeq(input, "\n") {
		c := read(line)
		c.Time = k.now
		if said := k.ingest([]Call{c}); said != "ok\n" {
			k.tb.Fatal(line, said)
		}
	}
}

// deed reads what somebody did: ADDRESS EVENT {PROPERTIES} in GROUP.
func (k *templateTalk) deed(line string) Call {
	k.tb.Helper()
	m := regexp.MustCompile(`^(\S+) (.+?)(?: (\{.*\}))?(?: in (\S+))?$`).FindStringSubmatch(line)
	if m == nil {
		k.tb.Fatalf("what is %q?", line)
	}
	c := Call{Kind: CallTrack, Email: m[1], Event: m[2], Context: CallContext{GroupID: m[4], UserAgent: browser}}
	if m[2] == "page" {
		c.Kind, c.Event = CallPage, ""
	}
	if m[3] != "" {
		if err := json.Unmarshal([]byte(m[3]), &c.Properties); err != nil {
			k.tb.Fatal(err)
		}
	}
	return c
}

// mailed applies events of the queue, as its log has them.
func (k *templateTalk) mailed(input string) {
	k.tb.Helper()
	for line := range strings.SplitSeq(input, "\n") {
		var e event.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			k.tb.Fatal(err)
		}
		e.Sequence, e.Time = uint64(len(k.mail)+1), k.now
		k.mail = append(k.mail, e)
	}
	apply(k.tb, k.d, k.mail)
}

// wait is a duration that may begin with days.
func (k *templateTalk) wait(text string) time.Duration {
	k.tb.Helper()
	var days int
	if n, rest, ok := strings.Cut(text, "d"); ok {
		var err error
		if days, err = strconv.Atoi(n); err != nil {
			k.tb.Fatal(err)
		}
		text = rest
	}
	var wait time.Duration
	if text != "" {
		var err error
		if wait, err = time.ParseDuration(text); err != nil {
			k.tb.Fatal(err)
		}
	}
	return time.Duration(days)*tier.Day + wait
}

// came lets the database do all there is to do, and returns who entered and
// left, and who is in which segment.
func (k *templateTalk) came() string {
	k.tb.Helper()
	settle(k.tb, k.d)
	agrees(k.tb, k.d)
	var b strings.Builder
	for _, line := range flow(k.tb, k.d, k.behind) {
		if strings.HasPrefix(line, FlipEntered) || strings.HasPrefix(line, FlipLeft) {
			k.all = append(k.all, line)
			fmt.Fprintln(&b, line)
		}
	}
	k.behind = k.d.LastFlip()
	for _, s := range k.o.Segments {
		list, err := k.d.Members(context.Background(), s.Name, 0, 1<<30)
		if err != nil {
			k.tb.Fatal(err)
		}
		fmt.Fprintf(&b, "%s:", s.Name)
		for _, m := range list {
			name, _, _ := strings.Cut(m.Address, "@")
			fmt.Fprintf(&b, " %s", name)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// complete holds that the conversation shows, for each segment, somebody who
// entered, somebody who left and somebody who never was in; and of a rule that
// time can change, that time did.
func (k *templateTalk) complete() {
	k.tb.Helper()
	rs := k.d.rules()
	for i, s := range k.o.Segments {
		in := map[string]bool{}
		var left, byTime bool
		for _, line := range k.all {
			w := strings.Fields(line) // entered SEGMENT ADDRESS (CAUSE)
			if w[1] != s.Name {
				continue
			}
			in[w[2]] = true
			left = left || w[0] == FlipLeft
			byTime = byTime || w[3] == "("+causeTime+")"
		}
		switch {
		case len(in) == 0:
			k.tb.Errorf("nobody enters %s", s.Name)
		case !left:
			k.tb.Errorf("nobody leaves %s", s.Name)
		case len(in) == k.d.Contacts():
			k.tb.Errorf("nobody stays out of %s", s.Name)
		case rs.set.Rule(i).TimeDependent() && !byTime:
			k.tb.Errorf("time changes nothing in %s", s.Name)
		}
	}
}
