// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"encoding/json"
	"fmt"
)

// layout is the version of the stored form.
const layout = 1

type stored struct {
	Version   int                `json:"version"`
	Providers map[string]*series `json:"providers"`
}

// Marshal returns what is known, to be stored.
func (g *Guard) Marshal() ([]byte, error) {
	b, err := json.Marshal(stored{Version: layout, Providers: g.providers})
	if err != nil {
		return nil, fmt.Errorf("storing the unknown users of providers: %w", err)
	}
	return b, nil
}

// Restore makes a guard that knows what Marshal stored; nothing = one that knows
// nothing.
func Restore(l Limits, b []byte) (*Guard, error) {
	g := New(l)
	if len(b) == 0 {
		return g, nil
	}
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("reading the unknown users of providers: %w", err)
	}
	if s.Version != layout {
		return nil, fmt.Errorf("reading the unknown users of providers: unknown version %d, written by a newer segue", s.Version)
	}
	for name, x := range s.Providers {
		if x != nil && x.At >= 0 {
			g.providers[name] = x
		}
	}
	return g, nil
}
