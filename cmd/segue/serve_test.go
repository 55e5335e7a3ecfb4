// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var log strings.Builder
	n := notifier{socket: path, log: slog.New(slog.NewTextHandler(&log, nil))}
	n.send("READY=1")
	n.send("STOPPING=1")
	buf := make([]byte, 64)
	for _, want := range []string{"READY=1", "STOPPING=1"} {
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got, err := conn.Read(buf)
		if err != nil || string(buf[:got]) != want {
			t.Errorf("got %q, %v, want %q", buf[:got], err, want)
		}
	}
	notifier{}.send("READY=1") // nobody listens: nothing to say it to
	if log.Len() > 0 {
		t.Errorf("logged %s", log.String())
	}
	n.socket = path + "-gone"
	n.send("READY=1")
	if !strings.Contains(log.String(), "telling the service manager failed") {
		t.Errorf("a supervisor that cannot be told is not mentioned: %q", log.String())
	}
}

func TestRelative(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	a := quiet(t.Context())
	a.now = func() time.Time { return now }
	for d, want := range map[time.Duration]string{
		0: "now", 500 * time.Millisecond: "now", time.Second: "in 1s", 119 * time.Second: "in 119s", 2 * time.Minute: "in 2m", 599*time.Second + 900*time.Millisecond: "in 10m",
		-90 * time.Minute: "90m ago", 47 * time.Hour: "in 47h", -48 * time.Hour: "2d ago", 365 * 24 * time.Hour: "in 365d",
	} {
		if got := a.relative(now.Add(d)); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	if got := a.relative(time.Time{}); got != "" {
		t.Errorf("no time is %q", got)
	}
}
