// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestConversations plays the scenarios of testdata, one file each, against
// the machine. The file name is the sentence that the scenario shows.
func TestConversations(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Helper()
		w := newWorld(t, Options{})
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			w.t = t
			w.out.Reset()
			w.command(d)
			if w.out.Len() == 0 {
				return "ok\n"
			}
			return w.out.String()
		})
	})
}

func (w *world) printf(format string, args ...any) { fmt.Fprintf(&w.out, format+"\n", args...) }

func (w *world) command(d *datadriven.TestData) {
	switch d.Cmd {
	case "options":
		w.options(args(d.CmdArgs))
	case "define":
		for line := range strings.Lines(d.Input) {
			w.define(strings.Fields(line))
		}
	case "queued":
		w.queuedCmd(args(d.CmdArgs))
	case "stored":
		w.storedCmd(args(d.CmdArgs))
	case "cap":
		w.capCmd(args(d.CmdArgs))
	case "take":
		w.take()
		w.print()
		w.answerQuietly(args(d.CmdArgs))
	case "deliver":
		n := len(w.sent)
		w.deliver()
		w.printSent(n)
	case "log":
		n := len(w.sent)
		w.deliver()
		w.printOrder(n)
	case "advance":
		dur, err := time.ParseDuration(d.CmdArgs[0].Key)
		w.check(err)
		w.now = w.now.Add(dur)
		w.printf("now %s", w.at(w.now))
	default:
		w.fact(d.Cmd, args(d.CmdArgs))
	}
}

func (w *world) check(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Fatal(err)
	}
}

// params are key=value arguments; a word without = is its own key.
type params struct {
	keys []string
	m    map[string]string
}

func args(list []datadriven.CmdArg) params {
	p := params{m: map[string]string{}}
	for _, a := range list {
		p.keys = append(p.keys, a.Key)
		p.m[a.Key] = strings.Join(a.Vals, ",")
	}
	return p
}

func words(list []string) params {
	p := params{m: map[string]string{}}
	for _, s := range list {
		k, v, _ := strings.Cut(s, "=")
		p.keys = append(p.keys, k)
		p.m[k] = v
	}
	return p
}

func (p params) has(k string) bool { _, ok := p.m[k]; return ok }

func (p params) num(k string, def int) int {
	if v, ok := p.m[k]; ok {
		n, err := strconv.Atoi(v)
		if err != nil {
			panic(err)
		}
		return n
	}
	return def
}

func (p params) dur(k string, def time.Duration) time.Duration {
	if v, ok := p.m[k]; ok {
		d, err := time.ParseDuration(v)
		if err != nil {
			panic(err)
		}
		return d
	}
	return def
}

// clock reads a time of the current day, "08:00", or an offset from now, "+5m" or "-1h".
func (w *world) clock(p params, k string, def time.Time) time.Time {
	v, ok := p.m[k]
	if !ok {
		return def
	}
	if v[0] == '+' || v[0] == '-' {
		return w.now.Add(p.dur(k, 0))
	}
	t, err := time.Parse("15:04", v)
	w.check(err)
	day := w.now.Truncate(24 * time.Hour)
	return day.Add(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute)
}

func (w *world) options(p params) {
	w.m = New(Options{
		Window: p.num("window", 0), MaxWindow: p.num("max_window", 0), MaxConnections: p.num("connections", 0),
		MaxMoves: p.num("moves", 0), BatchRecipients: p.num("batch", 0), IdleTimeout: p.dur("idle", 0),
	})
}

func (w *world) define(f []string) {
	if len(f) == 0 {
		return
	}
	p := words(f[2:])
	switch f[0] {
	case "class":
		id, err := strconv.Atoi(f[1])
		w.check(err)
		w.step(DefineClass{ID: ClassID(id), Class: Class{
			Stream: "marketing", Segment: p.m["segment"], Tier: p.m["tier"], Pool: p.m["pool"], Plan: p.m["plan"],
			Rank: p.num("rank", 0), Weight: p.num("weight", 1), Transactional: p.has("transactional"),
		}})
	case "source":
		w.step(DefineSource{Name: f[1], Budgeted: p.has("budgeted")})
	case "pool":
		def := DefinePool{Name: f[1], Excess: Excess(p.m["excess"]), Overflow: p.m["overflow"]}
		for s := range strings.SplitSeq(p.m["members"], ",") {
			name, weight, _ := strings.Cut(s, ":")
			n := 1
			if weight != "" {
				n, _ = strconv.Atoi(weight)
			}
			def.Members = append(def.Members, Member{Source: name, Weight: n})
		}
		w.step(def)
	case "provider":
		name := f[1]
		if name == "unnamed" {
			name = ""
		}
		rate, _ := strconv.ParseFloat(p.m["rate"], 64)
		w.step(DefineProvider{
			Name: name, Connections: p.num("connections", 0), TotalConnections: p.num("total", 0),
			PerConnection: p.num("per_connection", 0), Rate: rate,
		})
	case "domain":
		w.sites[f[1]] = Resolved{Domain: f[1], Site: p.m["site"], Provider: p.m["provider"]}
	default:
		w.t.Fatalf("define %s: unknown", f[0])
	}
}

func parseID(s string) ID {
	m, r, _ := strings.Cut(s, "/")
	mid, err := strconv.ParseUint(m, 10, 64)
	if err != nil {
		panic(err)
	}
	rid, _ := strconv.ParseUint(r, 10, 32)
	return ID{mid, uint32(rid)}
}

// items makes n items with consecutive message ids (or recipients of one
// message, with "batch").
func (w *world) items(p params) []Item {
	var list []Item
	id := parseID(p.m["id"])
	for i := range p.num("n", 1) {
		it := Item{ID: id, Due: w.clock(p, "due", w.now), Queued: w.clock(p, "queued", w.now), Expires: w.clock(p, "expires", time.Time{})}
		if p.has("pin") {
			it.Pin, it.PinUntil = p.m["pin"], w.now.Add(p.dur("pin_for", 4*time.Hour))
		}
		if p.has("charged") {
			it.Charged = Charge{p.m["charged"], w.day()}
		}
		if p.has("batch") {
			it.ID.Recipient += uint32(i)
		} else {
			it.ID.Message += uint64(i)
		}
		list = append(list, it)
	}
	return list
}

func (w *world) day() Day { return Day(w.now.Unix() / 86400) }

func (w *world) queuedCmd(p params) {
	for _, it := range w.items(p) {
		w.queue(p.m["domain"], ClassID(p.num("class", 1)), it)
	}
}

// storedCmd puts mail on disk as it is found at start.
func (w *world) storedCmd(p params) {
	list := w.items(p)
	for _, it := range list {
		w.store(p.m["domain"], ClassID(p.num("class", 1)), it)
	}
	w.step(Counted{Domain: p.m["domain"], Class: ClassID(p.num("class", 1)), Count: len(list), Head: list[0].Due})
}

func (w *world) capCmd(p params) {
	day := w.now.Truncate(24 * time.Hour)
	key := BudgetKey{Source: p.m["source"], Plan: p.m["plan"], Segment: p.m["segment"], Tier: p.m["tier"], Provider: p.m["provider"]}
	c := Cap{
		Key: key, Day: w.day(), Start: day, End: day.Add(24 * time.Hour), Pace: p.has("pace"),
		Open: w.clock(p, "open", day), Close: w.clock(p, "close", day.Add(24*time.Hour)),
		Allowed: p.num("allowed", 0), Reserved: p.num("reserved", 0),
		Used: p.num("used", 0), UsedNew: p.num("used_new", 0), Leased: p.num("leased", p.num("used", 0)),
	}
	if p.has("admit") {
		c.Admit = strings.Split(p.m["admit"], ",")
	}
	if p.has("hour") { // hour=23:100 charged in the hour that began at 23:00 yesterday
		h, n, _ := strings.Cut(p.m["hour"], ":")
		i, _ := strconv.Atoi(h)
		c.Hours[i], _ = strconv.Atoi(n)
	}
	w.step(c)
}

func (w *world) conn(p params) Conn {
	n, err := strconv.ParseUint(p.keys[0], 10, 64)
	w.check(err)
	return Conn(n)
}

func (w *world) fact(cmd string, p params) {
	switch cmd {
	case "up":
		w.step(ConnUp{Conn: w.conn(p)})
	case "down":
		w.step(ConnDown{Conn: w.conn(p), Failed: p.has("failed")})
	case "concluded":
		c := w.conn(p)
		w.conclude(c, Concluded{Usable: !p.has("unusable"), Refunded: p.num("refunded", 0)}, w.clock(p, "retry", time.Time{}), p.has("pin"))
	case "refused": // the connection never came up
		c := w.conn(p)
		n := len(w.trans[c].Items)
		w.conclude(c, Concluded{Refunded: n}, w.clock(p, "retry", w.now.Add(5*time.Minute)), false)
		w.step(ConnDown{Conn: c, Failed: true})
	case "loaded":
		for _, p := range w.pages {
			w.step(p)
		}
		w.pages = nil
	case "leased":
		k := BudgetKey{Source: p.m["source"], Provider: p.m["provider"]}
		w.leases[k] = p.num("total", 0)
		w.step(Leased{Key: k, Day: w.day(), Total: w.leases[k]})
	case "resolved":
		w.step(Resolved{Domain: p.keys[0], Site: p.m["site"], Provider: p.m["provider"], Permanent: p.has("permanent"), Until: w.clock(p, "until", time.Time{}), Failure: p.m["failure"]})
	case "gone":
		k := backlogKey{p.m["domain"], ClassID(p.num("class", 1))}
		id := parseID(p.m["id"])
		w.disk[k] = slices.DeleteFunc(w.disk[k], func(it Item) bool { return it.ID == id })
		w.step(Gone{Domain: k.domain, Class: k.class, ID: id})
	case "hold", "release":
		w.step(Hold{Domain: p.m["domain"], Class: ClassID(p.num("class", 0)), Provider: p.m["provider"], Off: cmd == "release"})
	case "limit": // with nothing but source and provider: no more
		rate, _ := strconv.ParseFloat(p.m["rate"], 64)
		w.step(Limit{
			Source: p.m["source"], Provider: p.m["provider"], Suspended: p.has("suspended"), Until: w.clock(p, "until", time.Time{}),
			Rate: rate, Connections: p.num("connections", 0), PerConnection: p.num("per_connection", 0),
		})
	case "paused":
		w.step(Paused{Source: p.m["source"], Provider: p.m["provider"], Until: w.clock(p, "until", time.Time{})})
	case "set_back": // the clock is set back by so much
		d, err := time.ParseDuration(p.keys[0])
		w.check(err)
		w.now = w.now.Add(-d)
		w.step(SetBack{By: d})
	case "why":
		w.why(p)
	default:
		w.t.Fatalf("%s: unknown command", cmd)
	}
}

// answerQuietly lets the world answer what was printed, but for what the
// scenario wants to answer itself: "take hold=lease,resolve,load".
func (w *world) answerQuietly(p params) {
	keep := w.r
	for s := range strings.SplitSeq(p.m["hold"], ",") {
		switch s {
		case "lease":
			w.r.Lease = nil
		case "resolve":
			w.r.Resolve = nil
		case "load":
			for _, l := range w.r.Load {
				w.pages = append(w.pages, w.page(l)) // as the disk is now
			}
			w.r.Load = nil
		case "move":
			w.r.Move, w.r.Fail = nil, nil
		}
	}
	w.answer()
	w.r = keep
}
