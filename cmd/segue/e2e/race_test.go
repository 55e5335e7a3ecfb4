// SPDX-License-Identifier: Apache-2.0

//go:build race

package e2e

// raced says that this process pays for the race detector; the engine under test
// does not, but who fills its queue and counts its mail is several times slower.
const raced = true
