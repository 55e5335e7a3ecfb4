// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/mta/api"
)

// TestPauseIsExplained: what waits for a source that is paused says so, until when where there is an end, and
// what to look at; there every pause is shown, also those at one provider.
func TestPauseIsExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.change = yahoo("")
		w.run()
		end := time.Now().Add(3 * time.Hour).UTC()
		w.submit("", "ann@dest.example") // so that it is known whose mail it is
		time.Sleep(time.Minute)
		for _, tt := range []struct {
			pause api.Pause
			text  string
			until time.Time
		}{
			{api.Pause{Source: "a1", Provider: "yahoo", Until: end}, "source a1 is paused until 2000-01-01 03:00 UTC: see `segue source show a1`", end},
			{api.Pause{Source: "a1", Until: api.UntilResumed()}, "source a1 is paused until it is resumed: see `segue source show a1`", time.Time{}},
		} {
			if err := w.Methods().PauseSource(t.Context(), tt.pause); err != nil {
				t.Fatal(err)
			}
			if tt.pause.Provider != "" {
				w.submit("", "eve@dest.example")
			}
			time.Sleep(time.Minute)
			list, err := w.Methods().Queue(t.Context(), api.QueueQuery{})
			if err != nil || len(list.Entries) != 1 {
				t.Fatalf("%+v, %v", list, err)
			}
			why, err := w.Methods().QueueWhy(t.Context(), list.Entries[0].ID)
			if err != nil || why.Code != "paused" || why.Text != tt.text || !why.Until.Equal(tt.until) || !why.Expected.Equal(tt.until) {
				t.Errorf("%+v, %v; want %q", why, err, tt.text)
			}
		}
		s, err := w.Methods().Source(t.Context(), "a1")
		if err != nil || !s.Paused.Equal(api.UntilResumed()) || len(s.Pauses) != 1 || s.Pauses[0].Provider != "yahoo" || !s.Pauses[0].Until.Equal(end) {
			t.Errorf("%+v, %v", s, err)
		}
		w.stop()
		w.verify()
	})
}
