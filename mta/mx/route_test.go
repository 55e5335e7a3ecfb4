// SPDX-License-Identifier: Apache-2.0

package mx

import "testing"

// A route that was read says a host and a port to connect to, and its text
// leads to the same place.
func FuzzParseRoute(f *testing.F) {
	for _, via := range []string{"smtp.corp.example:25", "smtp.corp.example", "192.0.2.1", "192.0.2.1:2525", "[2001:db8::1]", "[2001:db8::1]:25", "2001:db8::1", "192.0.2.1:0", "x:", ":25", "fe80::1%eth0"} {
		f.Add(via)
	}
	f.Fuzz(func(t *testing.T, via string) {
		h, err := parseRoute(via, 25)
		if err != nil {
			return
		}
		if h.Name == "" || h.Port == 0 {
			t.Fatalf("%q is the host %q at port %d", via, h.Name, h.Port)
		}
		if again, err := parseRoute(hostPort(h), 25); err != nil || again != h {
			t.Errorf("%q is %+v, whose text %q is %+v (%v)", via, h, hostPort(h), again, err)
		}
	})
}
