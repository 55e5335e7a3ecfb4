// SPDX-License-Identifier: Apache-2.0

package segue_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// picture is the layers of the repository. Imports point down: a package may
// import those on lower lines. A package that is not drawn fails the test:
// decide first where it belongs. Tests alone stand beside the picture: nothing
// imports them, and they import what they like.
const picture = `
5      cmd/segue
4      mta
3      mta/rehearsal mta/submit mta/admit mta/deliver mta/inbound mta/track mta/eventlog mta/webhook mta/httpapi mta/public mta/console mta/demo mta/bench
2      queue segment reputation
1      queue/schedule segment/rule segment/tier segment/score segment/signal segment/stats segment/templates
1      reputation/evidence reputation/throttle reputation/bounce reputation/outage reputation/complaint reputation/breaker
1      mta/resolve mta/mx mta/mtasts mta/dane mta/tlsrpt mta/smtpclient mta/smtpserver mta/dsn mta/arf mta/verp mta/simulate mta/clock
0      reputation/warmup reputation/plans mta/rfc5321 mta/rfc5322 mta/wilson mta/event mta/netx mta/api mta/codec mta/kv queue/store segment/store config dkim dkim/libcrypto mta/mtatest mta/mtatest/peer
tests  . deploy cmd/segue/e2e
`

// sideways lists the imports within one level that are allowed. Level 0 is not
// in it: there the vocabulary is what the rest of the level is written in, and
// the compiler keeps it free of cycles.
const sideways = `
mta/mx        mta/resolve
segment/score segment/rule
segment/templates segment/rule segment/score
mta/simulate  mta/arf mta/dsn
reputation/throttle reputation/bounce
reputation/breaker reputation/bounce
`

// owners says who may import a dependency, or a package of ours that is not
// for everyone, outside tests.
const owners = `
github.com/cockroachdb/pebble/v2  mta/kv queue/store segment/store
github.com/BurntSushi/toml        config
github.com/alecthomas/kong        cmd/segue
cel.dev/cel-go                    segment/rule
github.com/RoaringBitmap/roaring/v2 segment segment/store
github.com/ebitengine/purego      dkim/libcrypto
` + module + `/config             mta cmd/segue
` + module + `/mta/simulate       mta/demo mta/bench mta/rehearsal cmd/segue
` + module + `/mta/mtatest        nobody
`

const (
	levelTests = -1
	levelNone  = -2
)

// A layering is the picture, read.
type layering struct {
	levels map[string]int
	beside map[string]bool     // "importer imported"
	owners map[string][]string // import path to packages
}

// readLayering parses the three tables above.
func readLayering() layering {
	l := layering{levels: map[string]int{}, beside: map[string]bool{}, owners: map[string][]string{}}
	rows(picture, func(head string, packages []string) {
		level := levelTests
		if head != "tests" {
			level = int(head[0] - '0')
		}
		for _, p := range packages {
			l.levels[p] = level
		}
	})
	rows(sideways, func(importer string, imported []string) {
		for _, p := range imported {
			l.beside[importer+" "+p] = true
		}
	})
	rows(owners, func(path string, packages []string) { l.owners[path] = packages })
	return l
}

// rows calls f with the first word and the other words of each line of a table.
func rows(table string, f func(head string, rest []string)) {
	for line := range strings.Lines(table) {
		if words := strings.Fields(line); len(words) > 0 {
			f(words[0], words[1:])
		}
	}
}

// level returns the level of a package, or levelNone.
func (l layering) level(dir string) int {
	if level, ok := l.levels[dir]; ok {
		return level
	}
	return levelNone
}

// findings is the check: every package is drawn, every import points down and
// is its importer's to make.
func (l layering) findings(sources []source) []string {
	var found []string
	undrawn := map[string]bool{}
	for _, s := range sources {
		level := l.level(s.dir)
		if level == levelNone {
			if !undrawn[s.dir] {
				undrawn[s.dir] = true
				found = append(found, fmt.Sprintf("%s: package %s is not in the picture of layers_test.go: give it a level", s.path, s.dir))
			}
			continue
		}
		if level == levelTests && !s.test {
			found = append(found, fmt.Sprintf("%s: %s is for tests only: it may hold no other file", s.path, s.dir))
		}
		for _, path := range s.imports() {
			if fault := l.fault(s, path); fault != "" {
				found = append(found, fmt.Sprintf("%s: imports %s: %s", s.path, path, fault))
			}
		}
	}
	return found
}

// fault says what is wrong with one import, or "".
func (l layering) fault(s source, path string) string {
	from := l.level(s.dir)
	if from == levelTests {
		return ""
	}
	if fault := l.notOwned(s, path); fault != "" {
		return fault
	}
	dir, ours := strings.CutPrefix(path, module+"/")
	if !ours || dir == s.dir {
		return ""
	}
	to := l.level(dir)
	switch {
	case to == levelNone:
		return "not in the picture of layers_test.go"
	case to == levelTests:
		return "a package of tests only"
	case to > from:
		return fmt.Sprintf("up from level %d to level %d: declare a small interface here and let mta plug it in", from, to)
	case to == from && from > 0 && !s.test && !l.beside[s.dir+" "+dir]:
		return fmt.Sprintf("both are on level %d: move what is shared down, or name the pair in sideways", from)
	}
	return ""
}

// notOwned says that the import is reserved for others, or "". Tests may use
// dependencies and helpers freely, but not config: they would tie a package to
// the format of a file that it must not know.
func (l layering) notOwned(s source, path string) string {
	for owned, packages := range l.owners {
		inside := path == owned || strings.HasPrefix(path, owned+"/")
		if !inside || slices.Contains(packages, s.dir) || module+"/"+s.dir == owned {
			continue
		}
		if s.test && owned != module+"/config" {
			continue
		}
		return "only for " + strings.Join(packages, ", ")
	}
	return ""
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	holds(t, readLayering().findings)
}

func TestImportsPointDownCatches(t *testing.T) {
	t.Parallel()
	file := func(imports ...string) string {
		text := "package p\n"
		for _, path := range imports {
			text += fmt.Sprintf("import _ %q\n", path)
		}
		return text
	}
	catches(t, readLayering().findings, []example{
		{"down", map[string]string{"queue/a.go": file(module+"/queue/store", "net")}, ""},
		{"up", map[string]string{"queue/a.go": file(module + "/mta/deliver")}, "up from level 2 to level 3"},
		{"below mta imports mta", map[string]string{"mta/submit/a.go": file(module + "/mta")}, "up from level 3 to level 4"},
		{"store imports its driver", map[string]string{"queue/store/a.go": file(module + "/queue")}, "up from level 0"},
		{"test imports up", map[string]string{"queue/a_test.go": file(module + "/mta")}, "up from level 2"},
		{"siblings", map[string]string{"queue/a.go": file(module + "/segment")}, "both are on level 2"},
		{"siblings in a test", map[string]string{"mta/mx/a_test.go": file(module + "/mta/resolve")}, ""},
		{"not drawn", map[string]string{"mta/extra/a.go": file()}, "package mta/extra is not in the picture"},
		{"imports what is not drawn", map[string]string{"mta/a.go": file(module + "/mta/extra")}, "not in the picture"},
		{"imports the tests", map[string]string{"mta/a.go": file(module + "/deploy")}, "a package of tests only"},
		{"production code among tests", map[string]string{"deploy/a.go": file()}, "for tests only"},
		{"config from the engine", map[string]string{"queue/a.go": file(module + "/config")}, "only for mta, cmd/segue"},
		{"config from a test", map[string]string{"queue/a_test.go": file(module + "/config")}, "only for mta, cmd/segue"},
		{"config from mta", map[string]string{"mta/a.go": file(module + "/config")}, ""},
		{"config from below mta", map[string]string{"mta/submit/a.go": file(module + "/config")}, "only for mta, cmd/segue"},
		{"Pebble elsewhere", map[string]string{"queue/a.go": file("github.com/cockroachdb/pebble/v2/vfs")}, "only for mta/kv"},
		{"Pebble in a test", map[string]string{"queue/a_test.go": file("github.com/cockroachdb/pebble/v2/vfs")}, ""},
		{"Pebble in its place", map[string]string{"segment/store/a.go": file("github.com/cockroachdb/pebble/v2")}, ""},
		{"fakes in production", map[string]string{"mta/deliver/a.go": file(module + "/mta/mtatest")}, "only for nobody"},
		{"fakes in a test", map[string]string{"mta/deliver/a_test.go": file(module + "/mta/mtatest")}, ""},
		{"simulation in production", map[string]string{"mta/deliver/a.go": file(module + "/mta/simulate")}, "only for mta/demo"},
		{"simulation in the demo", map[string]string{"mta/demo/a.go": file(module + "/mta/simulate")}, ""},
	})
}
