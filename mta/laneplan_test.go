// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// A segment's own plan ramps a tier of it, from a warm source too.
func TestAStageOfALanePlanLimitsTheSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = strings.NewReplacer(`where = 'contact.status == "trial"'`, "where = 'contact.status == \"trial\"'\n[[segment.assign]]\ntier = \"new\"\npool = \"standard\"\nplan = \"gentle\"\n[[plan]]\nname = \"gentle\"\npace = false\n[[plan.stage]]\ntiers = [\"new\"]\nper_day = { total = 3 }")
		w.run()
		rows := "email,contact.status\n"
		for i := range 10 {
			rows += fmt.Sprintf("c%d@dest.example,trial\n", i)
		}
		if _, err := w.Methods().ImportContacts(t.Context(), api.Import{Name: "c.csv"}, strings.NewReader(rows)); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			w.submit("", fmt.Sprintf("c%d@dest.example", i))
		}
		time.Sleep(time.Minute)
		list, err := w.Methods().Warmup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range list {
			if b.Segment != "" {
				t.Logf("%+v", b)
			}
		}
		if n := len(w.mx.Messages()); n != 3 {
			t.Errorf("%d received on a day that allows 3", n)
		}
		w.stop()
	})
}
