// SPDX-License-Identifier: Apache-2.0

package throttle

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Target is what an act is about, always at the state's provider.
type Target string

// The targets.
const (
	TargetSource  Target = "source"
	TargetLane    Target = "lane"
	TargetSegment Target = "segment"
)

// action is what a rule does.
type action struct {
	kind          Kind // Slow, Suspend or Alert
	target        Target
	rate          float64 // Slow: recipients a second; 0 = not said
	share         float64 // Slow: part of what is allowed now; 0 = not said
	connections   int     // Slow; 0 = not said
	perConnection int     // Slow; 0 = not said
	length        time.Duration
}

// parseWhen reads "3 in 10m slow rate 1/m for 30m".
func parseWhen(value string) (when, error) {
	words := strings.Fields(value)
	if len(words) < 4 || words[1] != "in" {
		return when{}, fmt.Errorf("when %q is not like: 3 in 10m suspend source for 2h", value)
	}
	count, err := parseCount(words[0])
	if err != nil {
		return when{}, err
	}
	if count > maxMatches {
		return when{}, fmt.Errorf("%d matches are more than %d", count, maxMatches)
	}
	within, err := parseDuration(words[2])
	if err != nil {
		return when{}, err
	}
	a, err := parseAction(words[3:])
	return when{count: int(count), within: within, action: a}, err
}

// parseThreshold reads "10% suspend source for 4h".
func parseThreshold(value string) (threshold, error) {
	words := strings.Fields(value)
	share, err := parseShare(words[0])
	if err != nil {
		return threshold{}, err
	}
	a, err := parseAction(words[1:])
	return threshold{share: share, action: a}, err
}

func parseAction(words []string) (action, error) {
	usage := func() (action, error) {
		return action{}, fmt.Errorf("action %q is not like: slow rate 1/m connections 1 for 30m, slow to 50%% for 1h, suspend source for 2h (source lane segment), alert", strings.Join(words, " "))
	}
	if len(words) == 0 {
		return usage()
	}
	a := action{kind: Kind(words[0]), target: TargetSource}
	rest := words[1:]
	switch {
	case a.kind == Alert && len(rest) == 0:
		return a, nil
	case a.kind == Suspend && len(rest) == 3:
		a.target, rest = Target(rest[0]), rest[1:]
		if a.target != TargetSource && a.target != TargetLane && a.target != TargetSegment {
			return usage()
		}
	case a.kind == Slow && len(rest) >= 4:
	default:
		return usage()
	}
	for ; len(rest) >= 2; rest = rest[2:] {
		if err := a.set(rest[0], rest[1]); err != nil {
			return action{}, err
		}
	}
	if len(rest) > 0 || a.length == 0 {
		return usage()
	}
	return a, nil
}

func (a *action) set(key, value string) (err error) {
	var n uint64
	switch {
	case key == "for":
		a.length, err = parseDuration(value)
	case a.kind != Slow:
		err = fmt.Errorf("%s knows no %q", a.kind, key)
	case key == "rate":
		a.rate, err = parseRate(value)
	case key == "to":
		a.share, err = parseShare(value)
	case key == "connections":
		n, err = parseCount(value)
		a.connections = int(n) //nolint:gosec // parseCount is at most a billion
	case key == "per_connection":
		n, err = parseCount(value)
		a.perConnection = int(n) //nolint:gosec // parseCount is at most a billion
	default:
		err = fmt.Errorf("slow knows no %q (rate to connections per_connection for)", key)
	}
	return err
}

func parseCount(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 || n > 1e9 {
		return 0, fmt.Errorf("%q is not a number from 1 to a billion", s)
	}
	return n, nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > maxWindow {
		return 0, fmt.Errorf("%q is not a time from 1s to %gh, like 30m", s, maxWindow.Hours())
	}
	return d, nil
}

func parseShare(s string) (float64, error) {
	number, ok := strings.CutSuffix(s, "%")
	p, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(p > 0 && p < 100) {
		return 0, fmt.Errorf("%q is not a part like 0.2%% or 50%%", s)
	}
	return p / 100, nil
}

// parseRate reads "10/m" as recipients a second.
func parseRate(s string) (float64, error) {
	number, unit, _ := strings.Cut(s, "/")
	n, err := parseCount(number)
	seconds := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	if err != nil || seconds == 0 {
		return 0, fmt.Errorf("rate %q is not like 10/s, 10/m or 10/h", s)
	}
	return float64(n) / seconds, nil
}

// writeRate is a rate for people: "10/m".
func writeRate(r float64) string {
	switch {
	case r >= 1:
		return strconv.FormatFloat(math.Round(r*10)/10, 'f', -1, 64) + "/s"
	case r >= 1./60-1e-9:
		return strconv.FormatFloat(math.Round(r*600)/10, 'f', -1, 64) + "/m"
	default:
		return strconv.FormatFloat(math.Round(r*36000)/10, 'f', -1, 64) + "/h"
	}
}
