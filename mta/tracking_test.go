// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"reflect"
	"testing"
	"time"

	"github.com/seguemta/segue/mta/track"
	"github.com/seguemta/segue/segment"
)

// TestTrackingCallsKeepEverything: no field of a call is lost on the way to the contacts.
func TestTrackingCallsKeepEverything(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	c := track.Call{
		Kind: track.Group, Key: "app", MessageID: "m", UserID: "u", AnonymousID: "a", GroupID: "g", PreviousID: "p", Event: "e", Category: "c", Time: at,
		Properties: map[string]any{"x": 1.0}, Traits: map[string]any{"y": 2.0},
		Context: track.Context{GroupID: "cg", Traits: map[string]any{"email": "a@example.com"}, IP: "192.0.2.1", UserAgent: "ua", Locale: "de", TimeZone: "UTC", Source: "s"},
	}
	want := segment.Call{
		Kind: segment.CallGroup, MessageID: "m", UserID: "u", Anonymous: "a", PreviousID: "p", Email: "a@example.com", GroupID: "g", Time: at, Event: "e", Category: "c",
		Properties: c.Properties, Traits: c.Traits,
		Context: segment.CallContext{IP: "192.0.2.1", UserAgent: "ua", Locale: "de", Timezone: "UTC", GroupID: "cg", Source: "s"},
	}
	if got := callOf(&c); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, v := range []reflect.Value{reflect.ValueOf(want), reflect.ValueOf(want.Context)} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s is not tested", v.Type().Field(i).Name)
			}
		}
	}
	for kind, want := range map[track.Kind]segment.CallKind{
		track.Identify: segment.CallIdentify, track.Track: segment.CallTrack, track.Page: segment.CallPage, track.Screen: segment.CallScreen, track.Alias: segment.CallAlias,
	} {
		if got := callOf(&track.Call{Kind: kind, Name: "n"}); got.Kind != want || got.Event != "n" {
			t.Errorf("%s becomes %+v", kind, got)
		}
	}
}
