// SPDX-License-Identifier: Apache-2.0

package mtatest

import (
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

//go:embed providers/*.txt
var providers embed.FS

// Manner is how much of one client address a scripted provider bears. What is
// zero is not limited.
type Manner struct {
	Quota         int           // recipients
	Within        time.Duration // of the quota; 0 = since the start
	Penalty       time.Duration // after it; attempts do not lengthen it
	Connections   int           // at one time
	PerConnection int           // messages
}

// Providers lists the scripts of mailbox providers.
func Providers() []string {
	entries, err := fs.ReadDir(providers, "providers")
	if err != nil {
		panic(fmt.Sprintf("mtatest: %v", err))
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".txt")
	}
	return names
}

// Provider is how a large mailbox provider treats an address, in the words that
// it uses: a script of providers/, whose quotas are those of m. It panics on a
// name that has none.
func Provider(name string, m Manner) []Rule {
	text, err := providers.ReadFile("providers/" + name + ".txt")
	if err != nil {
		panic(fmt.Sprintf("mtatest: no provider %q (%s)", name, strings.Join(Providers(), " ")))
	}
	figures := strings.NewReplacer("$within", m.Within.String(), "$penalty", m.Penalty.String(),
		"$quota", strconv.Itoa(m.Quota), "$connections", strconv.Itoa(m.Connections), "$perconnection", strconv.Itoa(m.PerConnection))
	unlimited := map[string]bool{"$quota": m.Quota == 0, "$connections": m.Connections == 0, "$perconnection": m.PerConnection == 0}
	var lines []string
next:
	for line := range strings.Lines(string(text)) {
		for figure, no := range unlimited {
			if no && strings.Contains(line, figure) {
				continue next
			}
		}
		lines = append(lines, figures.Replace(line))
	}
	return Script(lines...)
}
