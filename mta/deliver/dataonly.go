// SPDX-License-Identifier: Apache-2.0

package deliver

import (
	"sync"
	"time"
)

// How long, and for how many hosts, we remember that BDAT does not work. What is
// forgotten is found out again, at the price of one connection.
const (
	dataOnlyFor  = 24 * time.Hour
	dataOnlyMost = 4096
)

// dataOnly are the hosts that offer CHUNKING and break at BDAT.
type dataOnly struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// note remembers a host. Where too many are known, the one that would be
// forgotten first makes room.
func (h *dataOnly) note(host string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.until[host]; !known && len(h.until) >= dataOnlyMost {
		oldest := host
		for name, t := range h.until {
			if oldest == host || t.Before(h.until[oldest]) {
				oldest = name
			}
		}
		delete(h.until, oldest)
	}
	h.until[host] = now.Add(dataOnlyFor)
}

func (h *dataOnly) has(host string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	until, known := h.until[host]
	if known && !now.Before(until) {
		delete(h.until, host)
		return false
	}
	return known
}
