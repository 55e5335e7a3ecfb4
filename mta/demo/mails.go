// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"strings"

	"github.com/seguemta/segue/mta/simulate"
)

// mail is one message to submit.
type mail struct {
	to            *simulate.Person
	transactional bool
	second        bool // the second letter to the same person
}

// One in how many messages is what.
const (
	transactionalEvery = 25
	secondEvery        = 50
)

// writeMails chooses who gets what: one letter of a campaign to contacts and to
// strangers, receipts in between, and at the end a second letter to some, among
// them those whose first one came back.
func writeMails(people *simulate.Population, n int) []mail {
	list := make([]mail, 0, n)
	second := n / secondEvery
	var receipts []*simulate.Person
	next := 0
	for len(list) < n-second {
		p := &people.People[next%len(people.People)]
		if len(list)%transactionalEvery == 0 && len(receipts) > 0 {
			list = append(list, mail{to: receipts[len(receipts)-1], transactional: true})
			receipts = receipts[:len(receipts)-1]
			continue
		}
		next++
		if p.Status == "customer" && p.Tier == "active" {
			receipts = append(receipts, p)
		}
		list = append(list, mail{to: p})
	}
	first := len(list)
	for i := 0; len(list) < n; i++ {
		m := list[(i*37)%first]
		for k := range first { // a dead address of the beginning, every other time
			if c := list[(i*37+k)%first]; i%2 == 0 && c.to.Dead && !c.transactional {
				m = c
				break
			}
		}
		list = append(list, mail{to: m.to, second: true})
	}
	return list
}

// subject is what the letter is about.
func (m *mail) subject() string {
	switch {
	case m.transactional:
		return "Your receipt"
	case m.second:
		return "One more thing about autumn"
	default:
		return "What is new this autumn"
	}
}

// message writes the letter, about 4 KB.
func (m *mail) message() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "From: Shop <news@%s>\r\nTo: <%s>\r\nSubject: %s\r\n", sendingDomain, m.to.Address, m.subject())
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n")
	if m.transactional {
		b.WriteString("X-Segue-Stream: transactional\r\n")
	} else {
		b.WriteString("X-Segue-Campaign: autumn\r\n")
	}
	b.WriteString("\r\nHello,\r\n\r\n")
	for i := range 48 {
		fmt.Fprintf(&b, "Paragraph %d of a letter that is as long as letters are, so that the\r\n", i+1)
	}
	b.WriteString("figures mean something.\r\n\r\n.. and one line that begins with a dot\r\n.\r\nThe shop\r\n")
	return []byte(b.String())
}
