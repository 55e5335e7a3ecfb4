// SPDX-License-Identifier: Apache-2.0

package rehearsal

// Figures are messages of one segment, or of all together.
type Figures struct {
	Queued       int `json:"queued"`
	Delivered    int `json:"delivered"`     // taken by a provider, in the inbox or not
	Inbox        int `json:"inbox"`         // of those delivered
	Engaged      int `json:"engaged"`       // delivered to people who were active or warm on the first day
	EngagedInbox int `json:"engaged_inbox"` // of them in the inbox
	Bounced      int `json:"bounced"`       // a provider was asked for a mailbox that is not there
	Complained   int `json:"complained"`
	Unsubscribed int `json:"unsubscribed"`
	Deferred     int `json:"deferred"`   // attempts that met a provider's quota
	Suppressed   int `json:"suppressed"` // ended because the contact may not be mailed any more
	Expired      int `json:"expired"`
	Waiting      int `json:"waiting"`   // at the end
	HeldDays     int `json:"held_days"` // days that ended with mail held by a breaker or a canary
}

func (f *Figures) add(o *Figures) {
	f.Queued += o.Queued
	f.Delivered += o.Delivered
	f.Inbox += o.Inbox
	f.Engaged += o.Engaged
	f.EngagedInbox += o.EngagedInbox
	f.Bounced += o.Bounced
	f.Complained += o.Complained
	f.Unsubscribed += o.Unsubscribed
	f.Deferred += o.Deferred
	f.Suppressed += o.Suppressed
	f.Expired += o.Expired
	f.Waiting += o.Waiting
	f.HeldDays += o.HeldDays
}

// Outcome is what an arm came to.
type Outcome struct {
	Arm
	All      Figures            `json:"all"`
	Segments map[string]Figures `json:"segments"`
	Lost     int                `json:"days_lost"`  // days by which evidence kept the warm-up back
	Refused  int                `json:"refused"`    // days x providers on which mail met a quota
	Stage    int                `json:"stage"`      // of the source at the end
	Scores   map[string]float64 `json:"reputation"` // at the end, by provider
	Acts     []string           `json:"acts"`       // of breakers and canaries
}

// Result is a run.
type Result struct {
	Seed     uint64    `json:"seed"`
	Days     int       `json:"days"`
	Contacts int       `json:"contacts"`
	Engaged  int       `json:"engaged"` // of them active or warm on the first day
	Plan     string    `json:"plan"`
	Bad      string    `json:"bad"`      // the segment that was bought or found
	Imported int       `json:"imported"` // contacts in it
	Dead     int       `json:"dead"`     // of them
	Arms     []Outcome `json:"arms"`
}

func (w *world) outcome() Outcome {
	o := Outcome{Arm: w.arm, Segments: make(map[string]Figures), Lost: w.ramp.lost, Stage: w.ramp.stage(), Scores: make(map[string]float64), Acts: []string{}}
	for i, name := range segments() {
		o.Segments[name] = w.figures[i]
		o.All.add(&w.figures[i])
	}
	for _, days := range w.refused {
		o.Refused += len(days)
	}
	for name, r := range w.opinions {
		o.Scores[name] = r.Score()
	}
	for _, a := range w.guard.acts {
		o.Acts = append(o.Acts, a.String())
	}
	return o
}
