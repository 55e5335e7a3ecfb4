// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seguemta/segue/mta/codec"
)

const (
	version   = 1
	maxDays   = 31
	maxStored = 1 << 16
	maxCount  = 1 << 50 // more recipients than anybody has
	maxText   = 400     // octets of a line that a state keeps
)

// ErrState is wrapped by the errors of [Decode].
var ErrState = errors.New("bad breaker state")

// Phase is where a breaker stands.
type Phase string

// The phases.
const (
	Closed   Phase = "closed"
	Open     Phase = "open"
	HalfOpen Phase = "half-open"
)

// State is the breaker and the canary of one cohort.
type State struct {
	Version int       `json:"version"`
	Kind    Kind      `json:"kind"`
	Name    string    `json:"name"`
	Window  Window    `json:"window"`
	Fresh   time.Time `json:"fresh,omitzero"` // mail sent before does not count: it was judged

	Phase   Phase     `json:"phase"`
	Since   time.Time `json:"since,omitzero"` // of the phase
	Until   time.Time `json:"until,omitzero"` // open: then half-open
	Opened  int       `json:"opened,omitempty"`
	Why     string    `json:"why,omitempty"` // of the phase, or of the canary's hold
	Warned  time.Time `json:"warned,omitzero"`
	Hand    *Hand     `json:"hand,omitempty"`
	Trial   *Trial    `json:"trial,omitempty"` // half-open: of the breaker; closed: the canary
	Trials  uint32    `json:"trials,omitempty"`
	Proven  time.Time `json:"proven,omitzero"`   // contacts that entered before have passed
	Refused bool      `json:"refused,omitempty"` // the canary did not pass: who is unproven waits
}

// Hand is what an operator has said; it goes before everything else.
type Hand struct {
	Hold   bool      `json:"hold"` // false: goes, whatever the evidence
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until,omitzero"` // zero = until released
}

// Trial is a sample that goes first.
type Trial struct {
	Size    uint64    `json:"size,omitempty"` // contacts of the cohort; 0 = not known
	Begun   time.Time `json:"begun"`
	Started time.Time `json:"started,omitzero"` // the first of the sample left; zero = none yet
	Counts  Counts    `json:"counts"`
}

// New is the state of a cohort of which nothing is known: closed, and unproven.
func New(kind Kind, name string) *State {
	return &State{Version: version, Kind: kind, Name: name, Phase: Closed}
}

// Clone is a copy that shares nothing with s.
func (s *State) Clone() *State {
	c := *s
	c.Window = s.Window.Clone()
	if s.Hand != nil {
		hand := *s.Hand
		c.Hand = &hand
	}
	if s.Trial != nil {
		trial := *s.Trial
		c.Trial = &trial
	}
	return &c
}

// Encode is the stored form.
func (s *State) Encode() ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("storing the health of %s %s: %w", s.Kind, s.Name, err)
	}
	return b, nil
}

// Decode reads the stored form. Errors wrap [ErrState]: a state that cannot be
// read is not to be taken for a closed one.
func Decode(b []byte) (*State, error) {
	s := &State{}
	if err := codec.JSON(b, maxStored, version, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%w of %s %q: %w", ErrState, s.Kind, s.Name, err)
	}
	return s, nil
}

func (s *State) check() error {
	switch s.Kind {
	case Segment, Batch, Campaign:
	default:
		return errors.New("kind is not segment, batch or campaign")
	}
	switch {
	case s.Phase != Closed && s.Phase != Open && s.Phase != HalfOpen:
		return fmt.Errorf("phase %q is not closed, open or half-open", s.Phase)
	case s.Phase == HalfOpen && s.Trial == nil:
		return errors.New("half-open without a trial")
	case s.Phase == Open && s.Until.IsZero():
		return errors.New("open without an end")
	case s.Opened < 0 || len(s.Why) > maxText:
		return errors.New("opened or why is out of bounds")
	}
	if err := s.Window.check(); err != nil {
		return err
	}
	if s.Trial != nil && (!s.Trial.Counts.sane() || s.Trial.Size > maxCount) {
		return errors.New("the counts of the trial are none")
	}
	return nil
}

func (c Counts) sane() bool {
	for _, n := range []uint64{c.Admitted, c.Concluded, c.Answered, c.Delivered, c.Reporting, c.Bounced, c.Spam, c.Complained, c.Unsubscribed} {
		if n > maxCount {
			return false
		}
	}
	return true
}
