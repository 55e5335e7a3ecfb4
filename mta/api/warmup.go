// SPDX-License-Identifier: Apache-2.0

package api

// Warmup is one budget of today.
type Warmup struct {
	Source   string   `json:"source,omitempty"`
	Domain   string   `json:"domain,omitempty"` // sending domain with a plan of its own
	Plan     string   `json:"plan"`
	Segment  string   `json:"segment,omitempty"` // of a lane's own plan
	Tier     string   `json:"tier,omitempty"`
	Provider string   `json:"provider"`
	Day      string   `json:"day"` // 2026-11-23
	Stage    int      `json:"stage"`
	Stages   int      `json:"stages"`
	Allowed  int      `json:"allowed"`
	Used     int      `json:"used"`
	Admit    []string `json:"admit"`
	State    string   `json:"state"`             // climbing | held | warm | follows
	Reason   string   `json:"reason"`            // one line
	Against  string   `json:"against,omitempty"` // what of the evidence speaks against a next stage
	Evidence string   `json:"evidence"`          // of the last seven days, one line
}

// WarmupAct steers the warm-up of a source, of a sending domain, or of a tier of a
// segment, by hand.
type WarmupAct struct {
	Action   string `json:"action"` // hold | release | advance | step-back
	Source   string `json:"source,omitempty"`
	Domain   string `json:"domain,omitempty"`
	Segment  string `json:"segment,omitempty"`
	Tier     string `json:"tier,omitempty"`
	Provider string `json:"provider,omitempty"` // "" = all that allow it
	By       string `json:"by,omitempty"`       // who
	Reason   string `json:"reason,omitempty"`   // why
}

// Evidence is what providers publish about our domains and addresses.
type Evidence struct {
	Rows []EvidenceRow `json:"rows"`
}

// EvidenceRow is one figure of one day. A second one with the same kind, key
// and day takes its place.
type EvidenceRow struct {
	Kind          string  `json:"kind"`                     // postmaster | snds
	Key           string  `json:"key"`                      // domain (postmaster) or IP address (snds)
	Day           string  `json:"day"`                      // 2026-11-23
	Provider      string  `json:"provider,omitempty"`       // "" = google, microsoft
	SpamRate      float64 `json:"spam_rate,omitempty"`      // postmaster: 0.001 is 0.1 %
	Filter        string  `json:"filter,omitempty"`         // snds: green | yellow | red
	ComplaintRate float64 `json:"complaint_rate,omitempty"` // snds
}

// EvidenceAdded says how many rows were taken.
type EvidenceAdded struct {
	Rows int `json:"rows"`
}
