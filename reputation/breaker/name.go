// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"slices"
	"strconv"
)

// HoldName is the name under which a cohort's mail is parked, such as
// "segment:trial".
func HoldName(kind Kind, name string) string { return string(kind) + ":" + name }

// TrialName is the name of the running trial, such as "segment:trial#2"; "" where none
// runs. A recipient that is let go for it keeps the name: what comes of it later
// is counted in this trial, and in no other of the cohort.
func (s *State) TrialName() string {
	if s.Trial == nil {
		return ""
	}
	return HoldName(s.Kind, s.Name) + "#" + strconv.FormatUint(uint64(s.Trials), 10)
}

// Sampled reports whether a recipient was let go for the running trial: that is
// [Observation].Sample.
func (s *State) Sampled(names []string) bool {
	return s.Trial != nil && slices.Contains(names, s.TrialName())
}

// CutTrial is the cohort of a trial's name.
func CutTrial(trial string) (kind Kind, name string, ok bool) {
	for i := len(trial) - 1; i >= 0; i-- {
		if trial[i] != '#' {
			continue
		}
		for _, k := range []Kind{Segment, Batch, Campaign} {
			if before := string(k) + ":"; len(before) < i && trial[:len(before)] == before {
				return k, trial[len(before):i], true
			}
		}
		break
	}
	return "", "", false
}
