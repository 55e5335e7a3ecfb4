// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// suppressedAs is the scopes in which ann is suppressed, each with its reason.
func suppressedAs(t testing.TB, d *DB) string {
	t.Helper()
	list, err := d.SuppressionsOf(addr(t, "ann@dest.example"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, x := range list {
		out = append(out, x.Scope+"="+x.Reason)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestConsentLiftsUnsubscribesOnly(t *testing.T) {
	at := func(d time.Duration) string { return t0().Add(d).Format(time.RFC3339) }
	for _, c := range []struct{ name, consent, source, left string }{
		{"later, with its source", at(-time.Hour), "form /welcome", "all=hard_bounce domain:shop.example=manual stream:news=complaint"},
		{"without a source", at(-time.Hour), "", "all=hard_bounce domain:shop.example=manual list:weekly=unsubscribe stream:marketing=unsubscribe stream:news=complaint"},
		{"earlier", at(-3 * time.Hour), "form", "all=hard_bounce domain:shop.example=manual list:weekly=unsubscribe stream:marketing=unsubscribe stream:news=complaint"},
		{"between two", at(-90 * time.Minute), "form", "all=hard_bounce domain:shop.example=manual list:weekly=unsubscribe stream:news=complaint"},
		{"in the future", at(time.Hour), "form", "all=hard_bounce domain:shop.example=manual list:weekly=unsubscribe stream:marketing=unsubscribe stream:news=complaint"},
	} {
		for _, way := range []string{"import", "identify"} {
			t.Run(c.name+" "+way, func(t *testing.T) {
				d := mem(t)
				for _, x := range []Suppression{
					{Scope: "stream:marketing", Reason: ReasonUnsubscribe, Created: t0().Add(-2 * time.Hour)},
					{Scope: "list:weekly", Reason: ReasonUnsubscribe, Created: t0().Add(-80 * time.Minute)},
					{Scope: "stream:news", Reason: ReasonComplaint, Created: t0().Add(-2 * time.Hour)},
					{Scope: "domain:shop.example", Reason: ReasonManual, Created: t0().Add(-2 * time.Hour)},
					{Scope: "all", Reason: ReasonHardBounce, Created: t0().Add(-2 * time.Hour)},
				} {
					if _, err := d.Suppress(addr(t, "ann@dest.example"), x); err != nil {
						t.Fatal(err)
					}
				}
				before := d.LastFlip()
				consentBy(t, d, way, c.consent, c.source)
				consentBy(t, d, way, c.consent, c.source) // said again, it lifts nothing more
				if got := suppressedAs(t, d); got != c.left {
					t.Errorf("left %s\nnot  %s", got, c.left)
				}
				flips, err := d.ReadFlips(before, 100)
				if err != nil {
					t.Fatal(err)
				}
				lifted := 0
				for i := range flips {
					if ByConsent(&flips[i]) {
						lifted++
						if want := CauseConsent + " of " + c.consent + " by " + c.source; flips[i].Cause != want {
							t.Errorf("cause %q, not %q", flips[i].Cause, want)
						}
					}
				}
				if want := 5 - len(strings.Fields(c.left)); lifted != want {
					t.Errorf("%d flips tell of consent, not %d", lifted, want)
				}
			})
		}
	}
}

// consentBy says by one of two ways that ann consented.
func consentBy(t testing.TB, d *DB, way, at, source string) {
	t.Helper()
	if way == "import" {
		if _, _, err := load(t, d, "x.csv", fmt.Sprintf("email,consent_at,consent_source\nann@dest.example,%s,%s\n", at, source)); err != nil {
			t.Fatal(err)
		}
		return
	}
	errs, err := d.Ingest(context.Background(), []Call{{
		Kind: CallIdentify, UserID: "u1", Time: t0(), Traits: map[string]any{"email": "Ann@dest.example", "consentAt": at, "consent_source": source},
	}})
	for _, e := range errs {
		if e != nil {
			t.Fatal(e)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A complaint after an unsubscribe takes its place, so that consent does not lift it.
func TestConsentDoesNotLiftAComplaintOverAnUnsubscribe(t *testing.T) {
	d := mem(t)
	for _, reason := range []string{ReasonUnsubscribe, ReasonComplaint, ReasonUnsubscribe} {
		if _, err := d.Suppress(addr(t, "ann@dest.example"), Suppression{Scope: "stream:marketing", Reason: reason, Created: t0().Add(-time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	consentBy(t, d, "import", t0().Format(time.RFC3339), "form")
	if got := suppressedAs(t, d); got != "stream:marketing=complaint" {
		t.Error(got)
	}
}

// What was consented to is kept with the contact, and is exported.
func TestConsentIsKept(t *testing.T) {
	fs := vfs.NewMem()
	d := open(t, testOptions(t, fs))
	consentBy(t, d, "import", "2026-05-01T00:00:00Z", "form /welcome")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, testOptions(t, fs))
	defer d.Close()
	var b strings.Builder
	if _, err := d.Export(context.Background(), ExportOptions{Writer: &b, Format: FormatJSONL}); err != nil || !strings.Contains(b.String(), `"consent_source":"form /welcome"`) {
		t.Errorf("%s, %v", &b, err)
	}
}

// TestConsentWithANewAddress: what was unsubscribed from goes along to the new address,
// and the consent that the same call proves lifts it.
func TestConsentWithANewAddress(t *testing.T) {
	d := mem(t)
	ingest(t, d, []Call{{Kind: CallIdentify, UserID: "u1", Traits: map[string]any{"email": "old@dest.example"}, Time: t0().Add(-3 * time.Hour)}})
	for _, reason := range []string{ReasonUnsubscribe, ReasonComplaint} {
		x := Suppression{Scope: "list:" + reason, Reason: reason, Created: t0().Add(-2 * time.Hour)}
		if _, err := d.Suppress(addr(t, "old@dest.example"), x); err != nil {
			t.Fatal(err)
		}
	}
	consentBy(t, d, "identify", t0().Add(-time.Hour).Format(time.RFC3339), "form")
	if got := suppressedAs(t, d); got != "list:complaint=complaint" {
		t.Errorf("left %q", got)
	}
	if got := look(t, d, "ann@dest.example"); got.Suppressed != nil {
		t.Errorf("in memory: %+v", got.Suppressed)
	}
}
