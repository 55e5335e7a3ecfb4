// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seguemta/segue/mta/event"
)

// everything is rules that read, together, all that a rule can.
func everything() (list []Definition) {
	for i, where := range []string{
		`tier == "active"`, `contact.status == "trial"`, `has(contact.score)`, `"a" in contact.tags`, `contact.signed_up <= now - days(10)`,
		`"vip" in tags`, `has_any(lists, ["beta"])`, `language == "de"`, `time_zone == "Europe/Berlin"`, `source == "ads"`,
		`import_batch == "base.csv"`, `consent_at < now`, `created_at < now`, `role == "buyer"`, `account.plan == "paid"`, `account.employees > 50`,
		`events("Pricing Viewed").within(days(30)).count() >= 2`, `role != "buyer" && events("Pricing Viewed").count() >= 1`, `bucket("x") < 0.5`,
		`score >= 30`, `fit >= 20`, `behaviour > 10`, `any_contact(role == "buyer")`, `contacts(contact.status == "trial" && score > 10) >= 2`, `segment("s01")`,
	} {
		list = append(list, Definition{Name: fmt.Sprintf("s%02d", i), Where: where})
	}
	list[2].Include, list[3].Exclude = []string{"beta"}, []string{"gamma"}
	return list
}

// everybody is a base of contacts that these rules tell apart.
func everybody(t *testing.T, fs vfs.FS, h *hand) {
	t.Helper()
	o := scoreOptions(t, fs, h)
	o.Segments = nil
	d := open(t, o)
	text := "email,account,role,tags,lists,language,time_zone,consent_at,contact.status,contact.score,contact.tags,contact.signed_up,account.plan,account.employees\n"
	for i := range 60 {
		pick := func(list ...string) string { return list[i*7%11%len(list)] }
		text += fmt.Sprintf("u%d@example.com,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%d\n", i, []string{"Acme", "Blue", "Core"}[i%3],
			pick("buyer", "", "user"), pick("vip|x", "", "y"), pick("", "beta", "gamma|beta"), pick("de", "en", ""), pick("", "Europe/Berlin"),
			pick("2026-01-01", ""), pick("trial", "paying", ""), pick("", "5"), pick("a|b", "b", ""), pick("2026-05-30", "2026-01-01", ""),
			[]string{"paid", "free", ""}[i%3], []int{10, 100, 60}[i%3])
	}
	importRow(t, d, "base.csv", text)
	var calls []Call
	for i := range 60 {
		c := Call{Kind: CallTrack, Email: fmt.Sprintf("u%d@example.com", i), Event: "Pricing Viewed", Time: h.now.Add(-time.Duration(i) * 12 * time.Hour)}
		c.Properties, c.Context.Source = map[string]any{"plan": []string{"pro", "free"}[i%2]}, "ads"
		for n := range i % 4 {
			c.MessageID = fmt.Sprint(i, n)
			calls = append(calls, c)
		}
		c.Kind, c.GroupID, c.MessageID = CallGroup, fmt.Sprint("g", i%4), fmt.Sprint("g", i)
		calls = append(calls, c)
		c.Kind, c.Email = CallTrack, fmt.Sprintf("new%d@example.com", i%9)
		c.MessageID, c.Context.GroupID = fmt.Sprint("n", i), fmt.Sprint("g", i%4)
		calls = append(calls, c)
	}
	errs, err := d.Ingest(context.Background(), calls)
	if err != nil || slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		t.Fatal(err, errs)
	}
	apply(t, d, log(event.Event{Kind: event.Engaged, Address: "u3@example.com", Time: h.now}, event.Event{Kind: event.Delivered, Address: "u4@example.com", Time: h.now}))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestScanReadsWhatRulesRead holds that the pass, which reads no more of contacts
// than rules read, finds who is in a segment as who reads all of them does: for
// each rule alone, and for all together.
func TestScanReadsWhatRulesRead(t *testing.T) {
	h := &hand{t0()}
	fs := vfs.NewMem()
	everybody(t, fs, h)
	all := everything()
	lists := [][]Definition{all}
	for _, def := range all {
		alone := []Definition{def}
		if strings.HasPrefix(def.Where, "segment") {
			alone = append(alone, all[1])
		}
		lists = append(lists, alone)
	}
	for _, list := range lists {
		o := scoreOptions(t, fs, h)
		o.Segments, o.private.buildLater, o.private.window = list, true, 8
		for i := range o.Segments {
			o.Segments[i].Version = uint64(len(lists)) // of no build before
		}
		d := open(t, o)
		settle(t, d)
		agrees(t, d)
		for _, s := range d.Segments() {
			if s.State != StateLive || s.Members == 0 || s.Members >= d.mem.contacts() {
				t.Errorf("%s is %s with %d of %d", all[slices.IndexFunc(all, func(x Definition) bool { return x.Name == s.Name })].Where, s.State, s.Members, d.mem.contacts())
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
