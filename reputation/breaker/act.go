// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"fmt"
	"strings"
	"time"

	"github.com/seguemta/segue/mta/wilson"
)

// ActKind is what an act does.
type ActKind string

// The acts.
const (
	Warned         ActKind = "warned"
	Opened         ActKind = "opened"
	HalfOpened     ActKind = "half_opened"
	ClosedAgain    ActKind = "closed"
	TriedAgain     ActKind = "tried_again" // a trial said nothing, another begins
	CanaryBegun    ActKind = "canary_begun"
	CanaryPassed   ActKind = "canary_passed"
	CanaryFailed   ActKind = "canary_failed"
	CanaryEnded    ActKind = "canary_ended" // without a result
	HeldByHand     ActKind = "held"
	Overridden     ActKind = "overridden"
	ReleasedByHand ActKind = "released"
	HandEnded      ActKind = "hand_ended" // a hold or an override had an end, and this is it
)

// Act is one change of a cohort with its evidence. Empty fields are those it does not have.
type Act struct {
	Kind    ActKind   `json:"kind"`
	Time    time.Time `json:"time"`
	Cohort  Kind      `json:"cohort"`
	Name    string    `json:"name"`
	Until   time.Time `json:"until,omitzero"`
	Size    uint64    `json:"size,omitempty"`
	Share   float64   `json:"share,omitempty"`
	Finding *Finding  `json:"finding,omitempty"`
	Counts  *Counts   `json:"counts,omitempty"` // of the trial that was judged
	Note    string    `json:"note,omitempty"`   // why
}

func (s *State) act(now time.Time, a Act) Act {
	a.Time, a.Cohort, a.Name = instant(now), s.Kind, s.Name
	return a
}

// Undo is the command that lets everything go again, or "".
func (a Act) Undo() string {
	switch a.Kind {
	case Opened, HalfOpened, CanaryFailed, CanaryBegun, HeldByHand, Overridden, TriedAgain:
	default:
		return ""
	}
	return Undo(a.Cohort, a.Name)
}

// Undo is the command that lets a cohort go.
func Undo(kind Kind, name string) string {
	if kind == Segment {
		return "segue segment release " + Quote(name)
	}
	return fmt.Sprintf("segue segment release --%s %s", kind, Quote(name))
}

// Quote is the name of a cohort as a shell takes it: a campaign has any name.
func Quote(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(plain, r) }) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// plain are the characters that a shell leaves alone.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@%+=,/"

// String is the act on one line: what, why, until when, how to release.
func (a Act) String() string {
	parts := []string{string(a.Cohort) + " " + a.Name + ": " + a.what()}
	if a.Note != "" {
		parts = append(parts, a.Note)
	}
	if undo := a.Undo(); undo != "" {
		parts = append(parts, "release: "+undo)
	}
	return strings.Join(parts, "; ")
}

func (a Act) what() string {
	until := ""
	if !a.Until.IsZero() {
		until = " until " + a.Until.Format(time.DateTime)
	}
	switch a.Kind {
	case Warned:
		return "close to being held"
	case Opened:
		return "its marketing mail is held" + until + ", then a trial"
	case HalfOpened:
		return "half-open, about " + wilson.Percent(a.Share) + " of its mail is tried"
	case ClosedAgain:
		return "closed, its mail goes"
	case TriedAgain:
		return "another sample goes first"
	case CanaryBegun:
		if a.Share >= 1 {
			return fmt.Sprintf("unproven, but so few (%s) that all go at once", wilson.Count(a.Size))
		}
		return fmt.Sprintf("unproven, about %s of %s go first", wilson.Percent(a.Share), wilson.Count(a.Size))
	case CanaryPassed:
		return "proven, the rest follows"
	case CanaryFailed:
		return "who is unproven is held"
	case CanaryEnded:
		return "no canary any more, its mail goes"
	case HeldByHand:
		return "held by hand" + until
	case Overridden:
		return "goes whatever the evidence" + until
	case ReleasedByHand:
		return "released, evidence begins anew"
	default:
		return "what was said by hand is over"
	}
}
