// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"testing"
	"time"
)

func TestWindowIsTheLongest(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`tier == "active"`:         0,
		`events("A").count() > 3`:  0,
		`events("A").last() < now`: 0,
		`tier == "active" || !(events("A").within(days(7)).count() > 3 && events("A").between(days(90), days(30)).count() > 0)`: 90 * day,
		`any_contact(events("A").within(hours(36)).count() > 3)`:                                                                36 * time.Hour,
	} {
		r, err := testSchema(t).Compile(text)
		if err != nil {
			t.Fatal(text, err)
		}
		if got := r.Window(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if (*Rule)(nil).Window() != 0 {
		t.Error("no rule has no window")
	}
}
