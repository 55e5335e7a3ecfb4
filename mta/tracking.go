// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/mta/track"
	"github.com/seguemta/segue/segment"
)

// newTracking makes the tracking API; nil where there is no write key.
func (e *Engine) newTracking() (http.Handler, error) {
	if len(e.c.WriteKeys) == 0 {
		return nil, nil
	}
	keys, problems := writeKeys(e.c)
	if len(problems) > 0 {
		return nil, errors.New(problems[0].String())
	}
	return track.New(track.Options{
		Ingester: ingester{e.people}, Keys: keys, Room: e.eventRoom, Now: e.o.Now,
		Logger: e.log.With(slog.String("component", "track")), Registerer: e.o.Registry,
	})
}

// writeKeys reads the keys of the tracking API.
func writeKeys(c *config.Config) ([]track.Key, []config.Problem) {
	var list []config.Problem
	keys := make([]track.Key, 0, len(c.WriteKeys))
	names := map[string]string{} // by hash
	for _, k := range c.WriteKeys {
		hash, at := k.KeyHash, "write_key["+k.Name+"].key_hash"
		if k.KeyFile != "" {
			at = "write_key[" + k.Name + "].key_file"
			text, err := os.ReadFile(string(k.KeyFile))
			if err != nil {
				list = append(list, unreadable(c, at, err))
				continue
			}
			key := strings.TrimSpace(string(text))
			if len(key) < track.MinKey {
				list = append(list, c.Problem(at, fmt.Sprintf("the key is shorter than %d characters", track.MinKey), "make one with segue check --write-key"))
				continue
			}
			hash = track.HashKey(key)
		}
		if hash == "" {
			continue // the configuration says that it is missing
		}
		if first := names[hash]; first != "" {
			list = append(list, c.Problem(at, fmt.Sprintf("is the key of write_key %q", first), "each application has a key of its own, so that one can be taken back"))
			continue
		}
		names[hash] = k.Name
		keys = append(keys, track.Key{Name: k.Name, Hash: hash, PerSecond: int(k.PerSecond)})
	}
	return keys, list
}

// eventRoom refuses events while they could not be kept.
func (e *Engine) eventRoom() error {
	if e.room() != nil {
		return errors.New("the disk is nearly full, or fails")
	}
	return nil
}

// ingester plugs the contacts into the tracking API.
type ingester struct{ db *segment.DB }

// Ingest implements track.Ingester.
func (i ingester) Ingest(ctx context.Context, calls []track.Call) ([]error, error) {
	list := make([]segment.Call, len(calls))
	for n := range calls {
		list[n] = callOf(&calls[n])
	}
	errs, err := i.db.Ingest(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("applying %d tracking calls: %w", len(calls), err)
	}
	for n, err := range errs {
		if err != nil {
			errs[n] = &track.EventError{Code: "rejected", Reason: strings.TrimPrefix(err.Error(), segment.ErrRejected.Error()+": ")}
		}
	}
	return errs, nil
}

// callOf gives a call the form that the contacts take.
func callOf(c *track.Call) segment.Call {
	kinds := map[track.Kind]segment.CallKind{
		track.Identify: segment.CallIdentify, track.Track: segment.CallTrack, track.Page: segment.CallPage,
		track.Screen: segment.CallScreen, track.Group: segment.CallGroup, track.Alias: segment.CallAlias,
	}
	name := c.Event
	if name == "" {
		name = c.Name
	}
	email, _ := c.Context.Traits["email"].(string)
	return segment.Call{
		Kind: kinds[c.Kind], MessageID: c.MessageID, UserID: c.UserID, Anonymous: c.AnonymousID, PreviousID: c.PreviousID, Email: email,
		GroupID: c.GroupID, Time: c.Time, Event: name, Category: c.Category, Properties: c.Properties, Traits: c.Traits,
		Context: segment.CallContext{
			IP: c.Context.IP, UserAgent: c.Context.UserAgent, Locale: c.Context.Locale, Timezone: c.Context.TimeZone,
			GroupID: c.Context.GroupID, Source: c.Context.Source,
		},
	}
}
