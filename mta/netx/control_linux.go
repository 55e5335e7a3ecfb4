// SPDX-License-Identifier: Apache-2.0

package netx

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// control lets the kernel choose the source port at connect instead of at
// bind: a port bound early is taken for every peer, so that one source address
// would be out of ports after some 28,000 connections to all the world together.
// Old kernels without the option bind early, which is no error.
func control(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}
