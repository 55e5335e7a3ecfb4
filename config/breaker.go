// SPDX-License-Identifier: Apache-2.0

package config

// Breaker says what share of the mail of a segment, an import batch or a campaign may do
// harm before its marketing mail is held. A share counts when the low end of its 95 %
// interval is above the limit, over the mail of seven days, and 0 is no limit. At a third
// of most limits a warning comes first. Transactional mail is never held.
type Breaker struct {
	// Hold by evidence. Off, nothing is held but what an operator holds, and what was held
	// by evidence is given back at the start. On by default: one bad list costs the
	// reputation that all the others need.
	Enabled bool `toml:"enabled" default:"true"`

	// Recipients that do not exist, of those whose provider answered. The default is where
	// large senders are stopped by the service they send with.
	Bounced float64 `toml:"bounced" default:"0.05" min:"0" max:"1"`

	// Complaints, of those delivered to providers that report them. The default is where
	// mailbox providers begin to refuse a sender.
	Complained float64 `toml:"complained" default:"0.003" min:"0" max:"1"`

	// Messages refused as spam, of those whose provider answered. The default is far above
	// what a filter does to good mail by mistake.
	Spam float64 `toml:"spam" default:"0.1" min:"0" max:"1"`

	// Unsubscriptions, of those delivered. Nobody publishes a limit; with the default it is
	// ten times what is usual.
	Unsubscribed float64 `toml:"unsubscribed" default:"0.03" min:"0" max:"1"`

	// The least number of such events of its own against a cohort, however small it is. With
	// the default one or two unlucky addresses hold nobody.
	Events int `toml:"events" default:"3" min:"1" max:"1000"`

	// How long mail is held before a small part of it goes as a trial. It doubles each time in
	// a row, up to a week. The default lets late complaints of the day come in first.
	Wait Duration `toml:"wait" default:"24h" min:"1m" max:"168h"`
}
