// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"
)

// nearest returns the candidate that a misspelt word most likely meant, ""
// when none is close. Of equally near ones the first wins.
func nearest(word string, candidates []string) string {
	best, least := "", len(word)/3+2
	for _, candidate := range candidates {
		if d := distance(strings.ToLower(word), candidate); d < least && d < max(len(word), len(candidate)) {
			best, least = candidate, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to make a into b (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// didYouMean returns a hint that names the nearest candidate, or all of them
// when none is near and they are few.
func didYouMean(word string, candidates []string) string {
	if best := nearest(word, candidates); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(candidates) == 0 || len(candidates) > 12 {
		return ""
	}
	if len(candidates) == 1 {
		return "there is " + candidates[0]
	}
	return "there are " + listed(candidates)
}

// listed joins words as a sentence does: "a, b and c".
func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	words = slices.Clone(words)
	last := words[len(words)-1]
	return strings.Join(words[:len(words)-1], ", ") + " and " + last
}
