// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"math/rand/v2"
	"time"
)

// Options configures a [Machine]. Every zero value is a documented default.
type Options struct {
	// Rand spreads back-offs by up to an eighth, so that a hundred sites that
	// failed together are not dialled together. nil = no spread. The machine is
	// deterministic for a given source and sequence of facts.
	Rand *rand.Rand

	Window    int // items kept in memory per (domain, class); 0 = 64
	MaxWindow int // items kept in memory in all, beyond which windows shrink to 4; 0 = 131,072
	MaxLoads  int // Load requests out at a time; 0 = 128

	MaxConnections int           // over all sites; 0 = 10,000
	IdleTimeout    time.Duration // an idle connection is closed after; 0 = 5 s

	// Backoff is how long a source leaves a site alone after the first, second, ...
	// failed connection in a row; the last repeats. nil = 1, 2, 5, 10, 15 minutes.
	Backoff []time.Duration

	BatchRecipients int // recipients of one transactional message in a transaction; 0 = 50
	Connections     int // per source, where the provider sets none; 0 = 10
	PerConnection   int // transactions per connection, where the provider sets none; 0 = 100
	MaxMoves        int // Move and Fail requests in one Take; 0 = 256
}

func (o Options) withDefaults() Options {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&o.Window, 64)
	set(&o.MaxWindow, 1<<17)
	set(&o.MaxLoads, 128)
	set(&o.MaxConnections, 10_000)
	set(&o.BatchRecipients, 50)
	set(&o.Connections, 10)
	set(&o.PerConnection, 100)
	set(&o.MaxMoves, 256)
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 5 * time.Second
	}
	if len(o.Backoff) == 0 {
		o.Backoff = []time.Duration{
			time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute,
		}
	}
	return o
}
