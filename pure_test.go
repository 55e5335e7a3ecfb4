// SPDX-License-Identifier: Apache-2.0

package segue_test

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// pure names the packages without clock, goroutine and I/O: the same facts
// give the same decisions, so that sixty days pass in milliseconds.
const pure = `
queue/schedule segment/rule segment/tier segment/score segment/signal segment/stats
reputation/warmup reputation/evidence reputation/plans reputation/throttle reputation/bounce reputation/outage reputation/breaker
mta/event mta/rfc5321 mta/wilson mta/codec mta/verp mta/clock mta/rehearsal
`

// outside lists what a pure package may not import: packages that read the
// time, the disk, the network or the machine's randomness, or that write logs.
const outside = `
crypto/rand database/sql io/fs io/ioutil log log/slog math/rand net net/http net/smtp os os/exec
os/signal path/filepath runtime syscall
`

// readsClock lists the functions of package time that look at a clock.
const readsClock = "Now Since Until Sleep After AfterFunc Tick NewTicker NewTimer"

// isPure reports whether a file must be pure: its tests need not.
func isPure(s source) bool { return !s.test && slices.Contains(strings.Fields(pure), s.dir) }

// impure finds clocks, goroutines and I/O in pure packages.
func impure(sources []source) []string {
	var found []string
	for _, s := range sources {
		if !isPure(s) {
			continue
		}
		for _, imported := range s.imports() {
			if slices.Contains(strings.Fields(outside), imported) {
				found = append(found, fmt.Sprintf("%s: a pure package imports %s: take what it gives as an argument", s.path, imported))
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				found = append(found, fmt.Sprintf("%s:%d: a pure package starts a goroutine: the driver above owns those", s.path, s.line(n.Pos())))
			case *ast.SelectorExpr:
				if fault := ambient(s, n); fault != "" {
					found = append(found, fmt.Sprintf("%s:%d: a pure package calls %s: take it as an argument", s.path, s.line(n.Pos()), fault))
				}
			}
			return true
		})
	}
	return found
}

// ambient names the function of package time or math/rand/v2 that a selector
// picks and that reads the machine's clock or randomness, or "".
func ambient(s source, n *ast.SelectorExpr) string {
	x, ok := n.X.(*ast.Ident)
	if !ok {
		return ""
	}
	switch imported(s, x.Name) {
	case "time":
		if slices.Contains(strings.Fields(readsClock), n.Sel.Name) {
			return "time." + n.Sel.Name
		}
	case "math/rand/v2":
		if ast.IsExported(n.Sel.Name) && !strings.HasPrefix(n.Sel.Name, "New") && !slices.Contains([]string{"Rand", "Source", "PCG", "ChaCha8", "Zipf"}, n.Sel.Name) {
			return "rand." + n.Sel.Name
		}
	}
	return ""
}

// imported returns the path that a file imports under a name, or "".
func imported(s source, name string) string {
	for _, spec := range s.file.Imports {
		p := strings.Trim(spec.Path.Value, `"`)
		base := path.Base(p)
		if base == "v2" {
			base = path.Base(path.Dir(p))
		}
		if spec.Name != nil {
			base = spec.Name.Name
		}
		if base == name {
			return p
		}
	}
	return ""
}

// sleeps finds time.Sleep outside a synctest bubble: in the program it ignores
// the context, in a test it makes the suite slow and still leaves a race.
func sleeps(sources []source) []string {
	var found []string
	for _, s := range sources {
		if s.test && slices.Contains(s.imports(), "testing/synctest") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Sleep" {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && imported(s, x.Name) == "time" {
				found = append(found, fmt.Sprintf("%s:%d: time.Sleep: wait on a timer and the context, or use testing/synctest", s.path, s.line(n.Pos())))
			}
			return true
		})
	}
	return found
}

func TestPurePackages(t *testing.T) {
	t.Parallel()
	holds(t, impure)
	file := func(imports, body string) string { return "package p\n" + imports + "\nfunc f() { " + body + " }\n" }
	catches(t, impure, []example{
		{"clock", map[string]string{"queue/schedule/a.go": file(`import "time"`, `_ = time.Now()`)}, "calls time.Now"},
		{"clock as a value", map[string]string{"segment/tier/a.go": file(`import "time"`, `now := time.Now; _ = now`)}, "calls time.Now"},
		{"clock under another name", map[string]string{"segment/tier/a.go": file(`import clock "time"`, `clock.Sleep(1)`)}, "calls time.Sleep"},
		{"arithmetic on times", map[string]string{"segment/tier/a.go": file(`import "time"`, `_ = time.Duration(1) * time.Hour; _ = time.Unix(0, 0)`)}, ""},
		{"goroutine", map[string]string{"reputation/warmup/a.go": file(``, `go f()`)}, "starts a goroutine"},
		{"disk", map[string]string{"segment/rule/a.go": file(`import "os"`, ``)}, "imports os"},
		{"network", map[string]string{"reputation/bounce/a.go": file(`import "net"`, ``)}, "imports net"},
		{"addresses", map[string]string{"reputation/bounce/a.go": file(`import "net/netip"`, ``)}, ""},
		{"global randomness", map[string]string{"queue/schedule/a.go": file(`import "math/rand/v2"`, `_ = rand.IntN(3)`)}, "calls rand.IntN"},
		{"seeded randomness", map[string]string{"queue/schedule/a.go": file(`import "math/rand/v2"`, `var r *rand.Rand = rand.New(rand.NewPCG(1, 2)); _ = r.IntN(3)`)}, ""},
		{"a test may look", map[string]string{"queue/schedule/a_test.go": file(`import "time"`, `_ = time.Now()`)}, ""},
		{"a driver may look", map[string]string{"queue/a.go": file(`import "time"`, `_ = time.Now()`)}, ""},
	})
}

func TestNothingSleeps(t *testing.T) {
	t.Parallel()
	holds(t, sleeps)
	const body = "\nfunc f() { time.Sleep(1) }\n"
	catches(t, sleeps, []example{
		{"program", map[string]string{"queue/a.go": "package p\nimport \"time\"" + body}, "queue/a.go:3: time.Sleep"},
		{"test", map[string]string{"queue/a_test.go": "package p\nimport \"time\"" + body}, "time.Sleep"},
		{"bubble", map[string]string{"queue/a_test.go": "package p\nimport (\n\"testing/synctest\"\n\"time\"\n)" + body}, ""},
		{"another package's Sleep", map[string]string{"queue/a.go": "package p\nimport \"example.org/time/v3\"" + body}, ""},
	})
}
