// SPDX-License-Identifier: Apache-2.0

package config

// Throttle slows and suspends a source at a provider that says it is too much, or too
// bad: `segue provider show NAME` says what is in force and why.
type Throttle struct {
	// Whether rules act by themselves. By default they do: a provider that has begun to
	// refuse makes it worse for those who go on. Without, only what an operator pins
	// holds, and what rules had in force ends at the next start.
	Enabled bool `toml:"enabled" default:"true"`

	// A file with rules of your own, asked before the built-in ones; one with the
	// name of a built-in rule replaces it. `segue check` reads it and runs the examples
	// that each rule carries, and `segue provider reload` reads it again without a
	// restart. By default there is none: the built-in rules know the large providers.
	RulesFile Path `toml:"rules_file"`
}
