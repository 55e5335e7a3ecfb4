// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"os"
	"strconv"
	"testing"
)

// EnvNumber is a number above 0 from the environment, which makes a long test
// shorter or longer (CONTRIBUTING.md lists the names); fallback where it is not set.
func EnvNumber(t testing.TB, name string, fallback int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: it is a number above 0", name, text)
	}
	return n
}
