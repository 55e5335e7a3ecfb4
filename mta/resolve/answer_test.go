// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"testing"

	"github.com/miekg/dns"
)

func TestTheErrorThatMayHealIsReturned(t *testing.T) {
	kinds := []error{
		nil,
		&Error{Kind: NXDomain},
		&Error{Kind: NoData},
		&Error{Kind: ServFail},
		&Error{Kind: Timeout},
		context.Canceled,
	}
	for i, a := range kinds {
		for j, b := range kinds {
			if got, want := worse(a, b), kinds[max(i, j)]; !errors.Is(got, want) {
				t.Errorf("worse(%v, %v) = %v, want %v", a, b, got, want)
			}
		}
	}
}

// FuzzAnswer feeds answers from outside to the code that follows aliases.
func FuzzAnswer(f *testing.F) {
	q := query(key{"example.org.", dns.TypeMX})
	for _, records := range [][]string{
		nil,
		{"example.org. 300 IN MX 10 mx.example.org."},
		{"example.org. 300 IN CNAME a.example.", "a.example. 5 IN CNAME b.example.", "b.example. 7 IN MX 0 ."},
		{"example.org. 300 IN CNAME example.org."},
		{"a.example. 1 IN CNAME example.org.", "example.org. 1 IN CNAME a.example."},
	} {
		m := new(dns.Msg)
		m.SetReply(q)
		for _, s := range records {
			rr, err := dns.NewRR(s)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m := new(dns.Msg)
		if m.Unpack(in) != nil {
			return
		}
		answers(m, q)
		c := chase{want: key{"example.org.", dns.TypeMX}, at: "example.org.", ttl: maxTTL, authentic: true}
		if !c.follow(m, true) {
			if c.at == "example.org." && len(c.records) > 0 {
				t.Fatal("records, but not done")
			}
			return
		}
		e := c.entry(m)
		if (e.err == nil) != (len(e.records) > 0) {
			t.Fatalf("%d records and error %v", len(e.records), e.err)
		}
		if e.ttl < 0 || e.ttl > maxTTL || (e.err == nil && e.ttl < minTTL) {
			t.Fatalf("ttl %s", e.ttl)
		}
	})
}
