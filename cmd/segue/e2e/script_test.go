// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seguemta/segue/mta/api"
	"github.com/seguemta/segue/mta/mtatest"
)

// busy is the configuration of a world in which there is something to see: a cold
// source beside the warm one, a segment, attributes. %[1]s begins its addresses.
const busy = `
[feedback]
owner = "deliverability"
[[source]]
name = "cold"
addresses = ["%[1]s.12"]
hostname = "cold.mail.example.net"
plan = "ramp"
[[pool]]
name = "prime"
excess = "hold"
[[pool.member]]
source = "cold"
[[plan]]
name = "ramp"
pace = false
[[plan.stage]]
tiers = ["active"]
per_day = { default = 2, total = 10 }
[[plan.stage]]
tiers = ["active", "warm"]
per_day = { default = 5, total = 20 }
[[provider]]
name = "hooli"
mx = ["*.hooli.example"]
[[attribute]]
name = "contact.status"
type = "text"
[[segment]]
name = "trial"
order = 10
where = 'contact.status == "trial"'
[[segment.assign]]
tier = "active"
pool = "prime"
[[segment]]
name = "beta"
order = 20
where = 'false'
include = ["beta"]
exclude = ["news"]
`

// TestScripts plays the conversations of testdata/script, operators with a running
// engine, each with one of its own. Beside the commands of testscript there are
//
//	submit [later|transactional] ADDRESS...   submits over SMTP; $ID is the first recipient
//	until PATTERN COMMAND...     runs segue until its output matches
//	restart                      kills the engine with kill -9 and starts it
//	crowd N FILE                 writes a CSV of N contacts
//	pack FILE                    makes FILE.gz of it
//	unpack FILE.gz               makes FILE of it
//	halve FILE                   cuts the second half off
//	undo WHOM                    runs the command that undoes what segue health tells of
//	complain ADDRESS             reports the last message to the address as spam
//	case ADDRESS                 finds the case of its complaint; $CASE is its number
func TestScripts(t *testing.T) {
	t.Parallel()
	bin := filepath.Dir(program(t))
	of := func(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }
	at := func(ts *testscript.TestScript) *mtatest.Exchanger {
		return ts.Value(exchangerKey{}).(*mtatest.Exchanger)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			w := newWorld(t)
			env.Values[exchangerKey{}] = w.exchanger(50, []string{"dest.example"}, "rcpt gone : 550 5.1.1 no such user")
			w.withHooli(51, "rcpt busy @1 : 421 4.7.0 rate limited due to IP reputation")
			w.head = fmt.Sprintf("budget_zone = %q\n", noon())
			w.more = fmt.Sprintf(busy, w.net)
			w.start()
			env.Values[worldKey{}] = w
			env.Setenv("SEGUE_ADDR", w.ip(1)+":"+httpPort)
			env.Setenv("ENGINE", w.ip(1)+":"+httpPort)
			env.Setenv("SEGUE_TOKEN", token)
			env.Setenv("NET", regexp.QuoteMeta(w.net))
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			return dateFiles(env.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"submit": func(ts *testscript.TestScript, _ bool, args []string) {
				header := ""
				switch args[0] {
				case "later":
					header, args = later(), args[1:]
				case "transactional":
					header, args = "X-Segue-Stream: transactional\n", args[1:]
				}
				ts.Setenv("ID", of(ts).submit(header, args...)+".0")
			},
			"until": func(ts *testscript.TestScript, _ bool, args []string) {
				pattern, err := regexp.Compile("(?m)" + args[0])
				ts.Check(err)
				wait(t, args[0], func() bool {
					stdout, _, code := of(ts).segue(args[1:]...)
					return code == 0 && pattern.MatchString(stdout)
				})
			},
			"restart": func(ts *testscript.TestScript, _ bool, _ []string) {
				of(ts).kill()
				of(ts).start()
			},
			"crowd": func(ts *testscript.TestScript, _ bool, args []string) {
				n, err := strconv.Atoi(args[0])
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), throng(n), 0o600))
			},
			"pack": func(ts *testscript.TestScript, _ bool, args []string) {
				var b bytes.Buffer
				z := gzip.NewWriter(&b)
				_, err := z.Write([]byte(ts.ReadFile(args[0])))
				ts.Check(errors.Join(err, z.Close(), os.WriteFile(ts.MkAbs(args[0]+".gz"), b.Bytes(), 0o600)))
			},
			"unpack": func(ts *testscript.TestScript, _ bool, args []string) {
				z, err := gzip.NewReader(strings.NewReader(ts.ReadFile(args[0])))
				ts.Check(err)
				text, err := io.ReadAll(z)
				ts.Check(errors.Join(err, os.WriteFile(ts.MkAbs(strings.TrimSuffix(args[0], ".gz")), text, 0o600)))
			},
			"undo": func(ts *testscript.TestScript, _ bool, args []string) {
				r, err := of(ts).api.HealthReport(t.Context(), api.HealthQuery{})
				ts.Check(err)
				i := slices.IndexFunc(r.Alarms, func(a api.Alarm) bool { return a.About == args[0] && a.Undo != "" })
				if i < 0 {
					ts.Fatalf("nothing undoes anything about %s among %+v", args[0], r.Alarms)
				}
				words := strings.Fields(r.Alarms[i].Undo)
				if stdout, stderr, code := of(ts).segue(words[1:]...); code != 0 || words[0] != "segue" {
					ts.Fatalf("%s: exit %d\n%s%s", r.Alarms[i].Undo, code, stdout, stderr)
				}
			},
			"complain": func(ts *testscript.TestScript, _ bool, args []string) { of(ts).complains(at(ts), args[0]) },
			"case": func(ts *testscript.TestScript, _ bool, args []string) {
				list, err := of(ts).api.Complaints(t.Context(), api.ComplaintQuery{})
				ts.Check(err)
				for _, x := range list {
					if x.Address == args[0] {
						ts.Setenv("CASE", strconv.FormatUint(x.ID, 10))
						return
					}
				}
				ts.Fatalf("no case of %s among %+v", args[0], list)
			},
			"halve": func(ts *testscript.TestScript, _ bool, args []string) {
				text := ts.ReadFile(args[0])
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text[:len(text)/2]), 0o600))
			},
		},
	})
}

// withHooli makes the nth address the exchanger of the provider that [busy] names, beside the
// one of dest.example.
func (w *world) withHooli(n int, rules ...string) {
	w.t.Helper()
	w.listen(&mtatest.Exchanger{Name: "mx.hooli.example", Rules: mtatest.Script(rules...)}, n)
	w.zones.Replace(w.zone(50, "dest.example") + "mx.hooli.example. 300 IN A " + w.ip(n) + "\nhooli.example. 300 IN MX 10 mx.hooli.example.\n")
}

// crowd is a file of contacts that does not pack too well.
func throng(n int) []byte {
	b := []byte("email,contact.status\n")
	for i := range n {
		sum := sha256.Sum256(strconv.AppendInt(nil, int64(i), 10))
		b = fmt.Appendf(b, "c%d.%x@dest.example,trial\n", i, sum[:16])
	}
	return b
}

// complains reports the last message that came for an address.
func (w *world) complains(mx *mtatest.Exchanger, address string) {
	w.t.Helper()
	for _, m := range slices.Backward(mx.Messages()) {
		if slices.Contains(m.To, address) {
			if code, said := w.reports("fbl@dest.example", "fbl@bounce.example.com", complaint(&m, string(m.Data))); code != 0 {
				w.t.Errorf("swaks: exit %d\n%s", code, said)
			}
			return
		}
	}
	w.t.Errorf("nothing came for %s", address)
}

// worldKey finds a script's world, exchangerKey the exchanger of its recipients.
type (
	worldKey     struct{}
	exchangerKey struct{}
)

// dateFiles puts a date for $YESTERDAY into a script's files.
func dateFiles(dir string) error {
	rows, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if err != nil {
		return err
	}
	figures, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, f := range append(rows, figures...) {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(f, bytes.ReplaceAll(text, []byte("$YESTERDAY"), []byte(yesterday())), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func yesterday() string { return time.Now().Add(-24 * time.Hour).UTC().Format(time.DateOnly) }
