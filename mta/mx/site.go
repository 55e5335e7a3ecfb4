// SPDX-License-Identifier: Apache-2.0

package mx

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// maxSite bounds a site's name, which is a key in memory and a word in logs.
const maxSite = 200

// SiteName is the canonical name of a set of hosts: their order does not
// matter, equal sets have equal names and different sets different ones. What
// the hosts have in common at the end stands once:
//
//	(alt1|alt2)?.aspmx.l.google.com
//	(mx1|mx2).example.org
//	(a.example.net|b.example.com)
//
// A "?" says that the common part is a host too. Names over 200 octets keep
// their end and get a hash in place of the rest.
func SiteName(hosts []string) string {
	names := slices.Clone(hosts)
	slices.Sort(names)
	names = slices.Compact(names)
	switch len(names) {
	case 0:
		return ""
	case 1:
		return names[0]
	}
	suffix := commonSuffix(names)
	prefixes := make([]string, 0, len(names))
	mark := ""
	for _, n := range names {
		if n == suffix {
			mark = "?"
			continue
		}
		prefixes = append(prefixes, strings.TrimSuffix(strings.TrimSuffix(n, suffix), "."))
	}
	end := mark
	if suffix != "" {
		end += "." + suffix
	}
	site := "(" + strings.Join(prefixes, "|") + ")" + end
	if len(site) <= maxSite {
		return site
	}
	sum := sha256.Sum256([]byte(site))
	short := "(#" + hex.EncodeToString(sum[:8]) + ")" + end
	if len(short) > maxSite {
		return "(#" + hex.EncodeToString(sum[:8]) + ")"
	}
	return short
}

// commonSuffix returns the labels that all names end in, without a leading dot.
func commonSuffix(names []string) string {
	suffix := names[0]
	for _, n := range names[1:] {
		for suffix != "" && n != suffix && !strings.HasSuffix(n, "."+suffix) {
			_, suffix, _ = strings.Cut(suffix, ".")
		}
	}
	return suffix
}

func siteOf(hosts []Host) string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	return SiteName(names)
}
