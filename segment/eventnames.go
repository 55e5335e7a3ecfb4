// SPDX-License-Identifier: Apache-2.0

package segment

import "github.com/seguemta/segue/segment/rule"

// Names of events that Segue acts on or writes itself. They are those of
// Segment's specifications for B2B SaaS and for e-mail.
const (
	EventAccountCreated     = "Account Created"
	EventAccountDeleted     = "Account Deleted"
	EventSignedUp           = "Signed Up"
	EventSignedIn           = "Signed In"
	EventSignedOut          = "Signed Out"
	EventInviteSent         = "Invite Sent"
	EventAccountAddedUser   = "Account Added User"
	EventAccountRemovedUser = "Account Removed User"
	EventTrialStarted       = "Trial Started"
	EventTrialEnded         = "Trial Ended"

	EventPageViewed   = "Page Viewed"
	EventScreenViewed = "Screen Viewed"

	EventEmailDelivered    = "Email Delivered"
	EventEmailBounced      = "Email Bounced"
	EventEmailOpened       = "Email Opened"
	EventEmailLinkClicked  = "Email Link Clicked"
	EventEmailMarkedAsSpam = "Email Marked as Spam"
	EventUnsubscribed      = "Unsubscribed"
)

// DefaultEngaging are the events that are a sign of life where nobody says
// otherwise: what only a person does. Opens and clicks are not among them, since
// machines make them; whether one was human is told by the queue's log.
func DefaultEngaging() []string {
	return []string{EventSignedUp, EventSignedIn, EventInviteSent, EventTrialStarted, "Email Replied", "Order Completed"}
}

func engagingNames(names []string) map[string]bool {
	if names == nil {
		names = DefaultEngaging()
	}
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[rule.CanonicalEvent(name)] = true
	}
	return set
}
