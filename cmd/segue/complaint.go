// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/seguemta/segue/mta/api"
)

type complaintCmd struct {
	remote
	Ls     complaintLs     `cmd:"" help:"List cases of the complaint register, the newest first."`
	Show   complaintShow   `cmd:"" help:"Show one case."`
	Close  complaintClose  `cmd:"" help:"Close a case with a note of what was done."`
	Report complaintReport `cmd:"" help:"Show complaints of each segment over its deliveries."`
}

type complaintLs struct {
	Status  string `help:"Only open, closed or overdue ones." enum:"open,closed,overdue,all" default:"open"`
	Segment string `help:"Only this segment." placeholder:"NAME"`
	Before  uint64 `help:"Only cases of a lower number." placeholder:"N"`
	Limit   int    `help:"At most so many." default:"100"`
}

// Run prints cases.
func (c *complaintLs) Run(a *app) error {
	q := api.ComplaintQuery{Status: c.Status, Segment: c.Segment, Before: c.Before, Limit: c.Limit}
	if q.Status == "all" {
		q.Status = ""
	}
	return show(a, func(ctx context.Context, m api.Methods) ([]api.Complaint, error) { return m.Complaints(ctx, q) }, func(list []api.Complaint) error {
		t := a.table("CASE", "STATUS", "CLASS", "ADDRESS", "SEGMENT", "STREAM", "CAMPAIGN", "OWNER", "DUE")
		for i := range list {
			x := &list[i]
			t.row(strconv.FormatUint(x.ID, 10), statusOf(x), x.Class, x.Address, x.Segment, x.Stream, x.Campaign, x.Owner, stamp(x.Due))
		}
		return t.flush()
	})
}

func statusOf(x *api.Complaint) string {
	if x.Overdue {
		return "overdue"
	}
	return x.Status
}

type complaintShow struct {
	Case uint64 `arg:"" help:"Number of the case, as complaint ls shows it."`
}

// Run prints one case.
func (c *complaintShow) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.Complaint, error) { return m.Complaint(ctx, c.Case) }, a.complaint)
}

func (a *app) complaint(x api.Complaint) error {
	contact, version := "", ""
	if x.Contact != 0 {
		contact = strconv.FormatUint(x.Contact, 10)
	}
	if x.SegmentVersion != 0 {
		version = strconv.FormatUint(x.SegmentVersion, 10)
	}
	return a.pairs(
		[2]string{"case", strconv.FormatUint(x.ID, 10)}, [2]string{"status", statusOf(&x)}, [2]string{"class", x.Class}, [2]string{"owner", x.Owner},
		[2]string{"opened", stamp(x.Opened)}, [2]string{"due", stamp(x.Due)}, [2]string{"closed", stamp(x.Closed)}, [2]string{"note", x.Note},
		[2]string{"address", x.Address}, [2]string{"contact", contact}, [2]string{"message", x.Recipient}, [2]string{"stream", x.Stream},
		[2]string{"segment", x.Segment}, [2]string{"rule version", version}, [2]string{"tier", x.Tier}, [2]string{"campaign", x.Campaign},
		[2]string{"import batch", x.Batch}, [2]string{"source", x.Source}, [2]string{"provider", x.Provider},
	)
}

type complaintClose struct {
	Case uint64 `arg:"" help:"Number of the case."`
	Note string `required:"" help:"What was done." placeholder:"TEXT"`
}

// Run closes a case.
func (c *complaintClose) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) (api.Complaint, error) {
		return m.CloseComplaint(ctx, api.ComplaintClose{ID: c.Case, Note: c.Note})
	}, func(x api.Complaint) error { return a.say("case %d is closed", x.ID) })
}

type complaintReport struct {
	Days int `help:"Over so many days, at most 60." default:"7"`
}

// Run prints rates by segment.
func (c *complaintReport) Run(a *app) error {
	return show(a, func(ctx context.Context, m api.Methods) ([]api.ComplaintRate, error) {
		return m.ComplaintReport(ctx, c.Days)
	}, func(list []api.ComplaintRate) error {
		t := a.table("SEGMENT", "COMPLAINTS", "DELIVERED", "RATE", "95%", "ELSEWHERE")
		for _, r := range list {
			rate, bounds := "unknown", ""
			if r.Known {
				rate, bounds = percent(r.Share), percent(r.Low)+" to "+percent(r.High)
			}
			t.row(r.Segment, strconv.FormatUint(r.Complaints, 10), strconv.FormatUint(r.Delivered, 10), rate, bounds, strconv.FormatUint(r.Elsewhere, 10))
		}
		return t.flush()
	})
}

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }
