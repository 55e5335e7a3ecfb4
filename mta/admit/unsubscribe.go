// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"slices"
	"strings"

	"github.com/seguemta/segue/mta/rfc5321"
)

// Fields by which a recipient unsubscribes, and by which a provider reports.
const (
	listUnsubscribe     = "List-Unsubscribe"
	listUnsubscribePost = "List-Unsubscribe-Post"
	feedbackID          = "Feedback-ID"
)

// keepUnsubscribe sees to it that marketing mail can be unsubscribed from by one click
// (RFC 8058): the application's own pair of fields stays where it is whole. Half a pair
// goes, and delivery adds ours; where there is no public listener to answer ours, the
// message is refused, since large providers send mail without a pair to the spam folder.
func (a *Admitter) keepUnsubscribe(d *draft) error {
	if d.class.Transactional {
		return nil
	}
	if _, n := d.get(feedbackID); n > 1 {
		d.remove(feedbackID)
	}
	if d.unsubscribes() {
		return nil
	}
	if !a.o.Unsubscribe {
		return rfc5321.Refuse(550, rfc5321.EnhancedCode{5, 7, 1},
			"marketing mail needs List-Unsubscribe with one https link and List-Unsubscribe-Post; or configure [public], and they are added")
	}
	d.remove(listUnsubscribe, listUnsubscribePost)
	return nil
}

// unsubscribes reports whether a message brings a whole pair: one field each, with
// exactly one https link.
func (d *draft) unsubscribes() bool {
	links, n := d.get(listUnsubscribe)
	post, m := d.get(listUnsubscribePost)
	if n != 1 || m != 1 || !strings.EqualFold(strings.ReplaceAll(post, " ", ""), "List-Unsubscribe=One-Click") {
		return false
	}
	https := 0
	for rest := links; ; {
		_, after, found := strings.Cut(rest, "<")
		link, after, closed := strings.Cut(after, ">")
		if !found || !closed {
			return https == 1
		}
		if link = strings.TrimSpace(link); len(link) > len("https://") && strings.EqualFold(link[:len("https://")], "https://") {
			https++
		}
		rest = after
	}
}

// remove takes all fields of some names out of the header.
func (d *draft) remove(names ...string) {
	d.header = slices.DeleteFunc(d.header, func(f field) bool {
		return slices.ContainsFunc(names, f.is)
	})
}
