// SPDX-License-Identifier: Apache-2.0

// Package bench puts a mail server under load and measures it from both sides:
// [Send] hands it messages over many kept connections, a [Sink] takes what it
// delivers. Neither knows what stands between them, so that two servers can be
// compared by the same measure; `segue bench` is the command, `make bench` the
// comparison.
//
// Send begins a transaction as soon as the one before has its answer, or at a
// given rate, and reports how many were accepted, how long acceptance took, and
// which replies it got. Its ledger lists each recipient whose message was
// answered 250: what is in it the server has to deliver. A Sink counts what comes,
// once and again, and keeps a ledger of its own; it answers at once, or by rules
// ([ParseRule]) that defer, refuse, delay and cut a share of the mail, chosen by a
// seed so that a run can be repeated. Both cost some 10 to 20 microseconds a
// message, so that what is measured is the server.
//
// The SMTP that the sink speaks is that of mta/simulate, whose providers have
// people, quotas and returns; a sink has none of these. The sender is not
// mta/smtpclient: that one keeps the promises of a queue, this one knows the
// 250 that it wants and costs a fifth.
//
// A generator of load is a weapon. Send and Sink speak with addresses of this
// machine only, and there is no option to change that.
package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// ErrForeign says that an address is not one of this machine.
var ErrForeign = errors.New("not an address of this machine: load goes to loopback and to our own addresses only")

// here returns an error that wraps [ErrForeign] unless addr is this machine's.
func here(addr netip.Addr) error {
	addr = addr.Unmap()
	if addr.IsLoopback() {
		return nil
	}
	ours, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("reading the addresses of this machine: %w", err)
	}
	for _, a := range ours {
		if p, err := netip.ParsePrefix(a.String()); err == nil && addr.IsValid() && p.Addr().Unmap() == addr {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", addr, ErrForeign)
}

// maxSize bounds what ParseSize takes: beyond it no server takes a message.
const maxSize = 1 << 30

// ParseSize reads octets: "10240", "10k", "2M". k is 1024, M is 1024 k; a B behind
// it changes nothing.
func ParseSize(s string) (int, error) {
	digits := strings.TrimRight(strings.ToLower(s), "ib")
	unit := 1
	switch {
	case strings.HasSuffix(digits, "k"):
		unit = 1 << 10
	case strings.HasSuffix(digits, "m"):
		unit = 1 << 20
	}
	if unit > 1 {
		digits = digits[:len(digits)-1]
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n == 0 || n > maxSize/uint64(unit) {
		return 0, fmt.Errorf("size %q: say octets, or 10k, or 2M, up to 1024M", s)
	}
	return int(n) * unit, nil
}
