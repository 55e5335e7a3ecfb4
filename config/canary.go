// SPDX-License-Identifier: Apache-2.0

package config

import "fmt"

// Canary lets a small random part of people who are new go first, and the rest only
// when that was good: the contacts of an import, and those who came to be in a segment. The
// table, even an empty one, switches it on. It is off without: mail of a new list
// waits for some hours, and nobody should find that out by an upgrade.
type Canary struct {
	// Each import is one cohort, until its sample has passed. It speaks for its contacts in
	// every segment. On by default: a list that was bought is found out by it.
	Batches bool `toml:"batches" default:"true"`

	// Whoever came to be in a segment after its last sample has passed is new in it. On the
	// day on which the canary is switched on everybody is. On by default: a segment may be
	// about people who were not mailed for years.
	Segments bool `toml:"segments" default:"true"`

	// The part of those new, with mail waiting, whose mail goes first. It is chosen at random
	// and not by engagement, which would say little about the rest. With the default the
	// others are twenty times what is risked.
	Share float64 `toml:"share" default:"0.05" min:"0.001" max:"1"`

	// At least so many go first; of so few, all do. With the default three bounces are 1.5 %.
	Least int `toml:"least" default:"200" min:"1" max:"100000"`

	// At most so many go first: what is to be learnt of a large list costs no more harm. With
	// the default six complaints are the limit of 0.3 %.
	Most int `toml:"most" default:"2000" min:"1" max:"1000000"`

	// The part of those sent first of whom it must be known what became of them. The default
	// does not wait for the few whose server answers after days.
	Concluded float64 `toml:"concluded" default:"0.95" min:"0.5" max:"1"`

	// How long after the first of them it is decided. The default gives complaints the time to
	// come in, and lets the rest go on the same day.
	After Duration `toml:"after" default:"4h" min:"1m" max:"168h"`

	// How long where most of their providers do not report complaints: then it is decided
	// without. The default is a day, in which bounces and unsubscriptions come in.
	Unknown Duration `toml:"unknown" default:"24h" min:"1m" max:"168h"`
}

// CanaryOn reports whether somebody is tried first.
func (c *Config) CanaryOn() bool { return c.IsSet("canary") && (c.Canary.Batches || c.Canary.Segments) }

// canary checks what one key cannot know of another.
func (k *checker) canary() {
	c := &k.c.Canary
	if k.c.CanaryOn() && !k.c.Breaker.Enabled {
		k.fail("canary", "judges by the limits of [breaker], which is switched off", "remove breaker.enabled = false, or this table")
	}
	if c.Least > c.Most {
		k.fail("canary.least", fmt.Sprintf("is %d, above most, which is %d", c.Least, c.Most), "at least so many go first, and at most so many")
	}
	if c.Unknown < c.After {
		k.fail("canary.unknown", fmt.Sprintf("is %s, before after, which is %s", c.Unknown, c.After), "without reports of complaints it is decided later, or at the same time")
	}
}
