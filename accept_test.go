// SPDX-License-Identifier: Apache-2.0

package segue_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAcceptanceRunner holds .ci/accept to its contract: what counts as
// passed, what it prints, and when it ends non-zero.
func TestAcceptanceRunner(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		table string
		env   string
		want  []string // lines, in this order
		ok    bool
	}{
		{"all pass", "# id, sentence, command\n\n1\tit says hello\techo hello\n2\tit has tabs\tprintf 'a\tb' | grep -q '\t'\n", "", []string{"PASS 1 it says hello (", "PASS 2 it has tabs (", "2 passed, 0 failed, 0 todo"}, true},
		{"last line without newline", "1\tit says hello\techo hello", "", []string{"1 passed, 0 failed, 0 todo"}, true},
		{"failure shows its end", "1\tit breaks\techo why; exit 3\n", "", []string{"FAIL 1 it breaks (", "       why", "exit 3", "0 passed, 1 failed, 0 todo"}, false},
		{"only the last twenty lines", "1\tit talks\tseq 100; false\n", "", []string{"$ seq 100; false\n       81", "       100", "0 passed, 1 failed"}, false},
		{"failure in a pipe", "1\tit breaks\tfalse | cat\n", "", []string{"FAIL 1"}, false},
		{"todo", "1\twritten down\tTODO\n2\tempty\t\n3\tno third column\n", "", []string{"TODO 1", "TODO 2", "TODO 3", "0 passed, 0 failed, 3 todo"}, false},
		{"no test matched", "1\tit runs nothing\techo 'ok  x 0.1s [no tests to run]'\n", "", []string{"FAIL 1", "matched no test", "0 passed, 1 failed"}, false},
		{"no test files", "1\tit runs nothing\techo '?  x [no test files]'\n", "", []string{"FAIL 1", "matched no test"}, false},
		{"too slow", "1\tit hangs\ttail -f /dev/null\n", "TIMEOUT=1", []string{"FAIL 1", "still running after 1s"}, false},
		{"one row", "1\tit breaks\tfalse\n2\tit says hello\techo hello\n", "ONLY=2", []string{"PASS 2", "1 passed, 0 failed, 0 todo"}, true},
		{"two rows", "1\tit breaks\tfalse\n2\tit says hello\techo hello\n12\tit breaks\tfalse\n3\tit too\techo hello\n", "ONLY=3 2", []string{"PASS 2", "PASS 3", "2 passed, 0 failed"}, true},
		{"no such row", "1\tit says hello\techo hello\n", "ONLY=2", []string{"has no row with id 2"}, false},
		{"standard input is empty", "1\tit reads nothing\ttest -z \"$(cat)\"\n2\tit is asked too\techo hello\n", "", []string{"2 passed"}, true},
		{"missing peers fail", "1\tCI is set\ttest $CI = true\n", "", []string{"1 passed"}, true},
		{"no rows", "# nothing\n", "", []string{"has no row"}, false},
		{"id twice", "1\ta\ttrue\n1\tb\ttrue\n", "", []string{"id 1 is there twice"}, false},
		{"not a row", "just a sentence\n", "", []string{"not a row"}, false},
		{"no table", "", "", []string{"there is no table"}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if c.table != "" {
				if err := os.WriteFile(filepath.Join(dir, "area.tsv"), []byte(c.table), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "bash", ".ci/accept", "area")
			cmd.Env = append(os.Environ(), "ACCEPT_DIR="+dir, "ONLY=", c.env)
			out, err := cmd.CombinedOutput()
			if (err == nil) != c.ok {
				t.Errorf("ended with %v", err)
			}
			rest := string(out)
			for _, want := range c.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("no %q (in this order) in\n%s", want, out)
				}
				rest = after
			}
		})
	}
}
