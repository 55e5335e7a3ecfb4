// SPDX-License-Identifier: Apache-2.0

package segue_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The top of the repository: its folders, those that builds and runs leave
// behind, and the documents that a reader looks for.
const (
	folders   = "cmd mta queue segment reputation dkim config deploy testdata"
	leftovers = "bin data"
	documents = "README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md SECURITY.md LICENSE Makefile go.mod go.sum .ci/run"
)

func TestTopLevel(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields(folders + " " + leftovers)
	for _, entry := range entries {
		if entry.IsDir() && entry.Name()[0] != '.' && !slices.Contains(known, entry.Name()) {
			t.Errorf("%s: the folders of the top level are fixed: %s", entry.Name(), folders)
		}
	}
	for name := range strings.FieldsSeq(folders + " " + documents) {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("missing from the top level: %v", err)
		}
	}
	text, err := os.ReadFile("LICENSE")
	if err != nil || !strings.Contains(string(text), "Apache License") || !strings.Contains(string(text), "Version 2.0") {
		t.Errorf("LICENSE is not the Apache License 2.0: %v", err)
	}
}

// TestMakefile holds the Makefile to its targets, each one line, and to the
// two files that describe them.
func TestMakefile(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	makefile, contributing := read("Makefile"), read("CONTRIBUTING.md")
	ci := read(".ci/run") + read("testdata/accept/hardening.tsv") // which it runs
	for target := range strings.FieldsSeq("build test race lint fuzz bench bench-segments bench-large profile gobench demo generate deps accept") {
		rule := regexp.MustCompile(`(?m)^` + target + `:[^;\n]*;[^\n]+$`)
		if len(rule.FindAllString(makefile, -1)) != 1 {
			t.Errorf("Makefile: %s is not one rule of one line", target)
		}
		if !strings.Contains(contributing, "`make "+target) {
			t.Errorf("CONTRIBUTING.md does not explain make %s", target)
		}
	}
	for target := range strings.FieldsSeq("deps lint generate test fuzz accept") {
		if !strings.Contains(ci, "make "+target) {
			t.Errorf(".ci/run does not call make %s", target)
		}
	}
}
