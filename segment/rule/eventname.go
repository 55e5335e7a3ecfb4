// SPDX-License-Identifier: Apache-2.0

package rule

import "strings"

// CanonicalEvent brings the spellings of an event that Segue acts on into one:
// "User Signed Up", "signed up" and "Signed Up" are the same. Other names stay. Rules and scores name events as people write
// them, events come as programs write them: both are asked for by this name.
func CanonicalEvent(name string) string {
	switch plain := strings.TrimPrefix(strings.ToLower(name), "user "); plain {
	case "signed up", "signed in", "signed out", "invite sent", "trial started", "trial ended",
		"account created", "account deleted", "account added user", "account removed user",
		"email delivered", "email bounced", "email opened", "email link clicked", "unsubscribed":
		return title(plain)
	case "email marked as spam":
		return "Email Marked as Spam"
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
