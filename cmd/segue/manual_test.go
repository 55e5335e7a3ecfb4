// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestManualNamesRealCommands holds the pages, the alerts and the example to the commands and flags of the program.
func TestManualNamesRealCommands(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&commands{}, kong.Vars{"version": "v"})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../../deploy/manual/*.md")
	if err != nil || len(pages) < 3 {
		t.Fatalf("%d pages of the manual, %v", len(pages), err)
	}
	named := 0
	for _, page := range append(pages, "../../README.md", "../../deploy/prometheus/alerts.yml", "../../deploy/segue.example.toml") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandLine.FindAllStringSubmatch(string(text), -1) {
			named++
			if fault := misnamed(parser.Model.Node, strings.Fields(line[1])); fault != "" {
				t.Errorf("%s: segue %s: %s", page, line[1], fault)
			}
		}
	}
	if named < 100 {
		t.Errorf("only %d commands were found", named)
	}
	for _, bad := range []string{"doctor", "queue look", "queue ls --teir new"} {
		if misnamed(parser.Model.Node, strings.Fields(bad)) == "" {
			t.Errorf("segue %s passes", bad)
		}
	}
}

// commandLine is a command in a code span, which may be folded, or at the beginning of a line of a code block.
var commandLine = regexp.MustCompile("(?:`|(?m:^ *(?:\\$ )?))segue ([a-z][^`\n]*(?:\n[^`\n]+`)?)")

// misnamed says which word of a command line the program does not have.
func misnamed(n *kong.Node, words []string) string {
	for _, w := range words {
		w = strings.Trim(w, "`,;:)")
		if flag, ok := strings.CutPrefix(w, "--"); ok {
			flag, _, _ = strings.Cut(flag, "=")
			all := slices.Concat(n.AllFlags(false)...)
			if !slices.ContainsFunc(all, func(f *kong.Flag) bool { return f.Name == flag }) {
				return "there is no flag --" + flag
			}
			continue
		}
		i := slices.IndexFunc(n.Children, func(c *kong.Node) bool { return c.Name == w })
		switch {
		case i >= 0:
			n = n.Children[i]
		case n.DefaultCmd != nil:
			n = n.DefaultCmd // and w its argument
		case len(n.Children) > 0:
			return "there is no command " + w
		}
	}
	return ""
}
