// SPDX-License-Identifier: Apache-2.0

package segment

import "strings"

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
		set[canonicalEvent(name)] = true
	}
	return set
}

// canonicalEvent brings the spellings of an event that Segue acts on into one:
// "User Signed Up", "signed up" and "Signed Up" are the same. Other names stay.
func canonicalEvent(name string) string {
	switch plain := strings.TrimPrefix(strings.ToLower(name), "user "); plain {
	case "signed up", "signed in", "signed out", "invite sent", "trial started", "trial ended",
		"account created", "account deleted", "account added user", "account removed user",
		"email delivered", "email bounced", "email opened", "email link clicked", "unsubscribed":
		return title(plain)
	case "email marked as spam":
		return EventEmailMarkedAsSpam
	}
	return name
}

// title begins each word with a capital.
func title(name string) string {
	words := strings.Split(name, " ")
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, " ")
}
