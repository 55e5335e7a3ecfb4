// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"net"
	"strings"
)

// notifier tells systemd about the state of the service, as sd_notify(3) does.
type notifier struct {
	socket string // NOTIFY_SOCKET; "" = nobody listens
	log    *slog.Logger
}

func (n notifier) send(state string) {
	if n.socket == "" {
		return
	}
	name := n.socket
	if after, abstract := strings.CutPrefix(name, "@"); abstract {
		name = "\x00" + after
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close() // a datagram is gone when it is written
	}
	if err != nil {
		n.log.Warn("telling the service manager failed", slog.String("state", state), slog.Any("error", err))
	}
}
