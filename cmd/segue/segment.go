// SPDX-License-Identifier: Apache-2.0

package main

import "slices"

type segmentCmd struct {
	remote
	Ls       segmentLs       `cmd:"" help:"List segments in their order: state, members, who came and went, warnings."`
	Show     segmentShow     `cmd:"" help:"Show one segment: members by tier and where they go, size by day, overlaps, results of its mail, warnings."`
	Test     segmentTest     `cmd:"" help:"Try a rule on the contacts of a running engine. It changes nothing."`
	Explain  segmentExplain  `cmd:"" help:"Say why a contact is in a segment or is not, condition by condition."`
	Rebuild  segmentRebuild  `cmd:"" help:"Make the members of a segment anew by its rule. Mail goes by the old ones meanwhile."`
	Hold     segmentHold     `cmd:"" help:"Hold the marketing mail of a segment, an import batch or a campaign until it is released."`
	Release  segmentRelease  `cmd:"" help:"Let the held mail of a segment, an import batch or a campaign go, and judge what is sent from now on anew."`
	Template segmentTemplate `cmd:"" help:"List ready-made segments, or print one as configuration. Needs no engine."`
}

// byTier orders tiers as the design does, others behind them.
func byTier(x, y string) int {
	order := []string{"dead", "dormant", "cooling", "warm", "active", "new"}
	if d := slices.Index(order, y) - slices.Index(order, x); d != 0 {
		return d
	}
	if x < y {
		return -1
	}
	return 1
}
