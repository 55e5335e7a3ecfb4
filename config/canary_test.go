// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"
)

// TestCanaryTable: the table switches the canary on, also an empty one; what cannot be meant is told.
func TestCanaryTable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":         "off",
		"[canary]": "on",
		"[canary]\nbatches = false\nsegments = false":     "off",
		"[canary]\nleast = 500\nmost = 400":               "canary.least: is 500, above most, which is 400",
		"[canary]\nunknown = \"2h\"":                      `canary.unknown: is 2h, before after, which is 4h`,
		"[canary]\n[breaker]\nenabled = false":            "canary: judges by the limits of [breaker], which is switched off",
		"[canary]\nsegments = false\n[breaker]\nwait = 1": "on",
	} {
		c, problems := Parse("segue.toml", []byte(text))
		got := "off"
		if c.CanaryOn() {
			got = "on"
		}
		for _, p := range problems {
			if strings.HasPrefix(p.Key, "canary") {
				got = p.Key + ": " + p.Text
			}
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
