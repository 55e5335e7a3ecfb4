// SPDX-License-Identifier: Apache-2.0

package schedule

import "time"

// Why says what a recipient waits for.
func (m *Machine) Why(now time.Time, domain string, class ClassID, it Item) Reason {
	return Reason{Code: WhyNext}
}
