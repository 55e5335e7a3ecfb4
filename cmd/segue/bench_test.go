// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/bench"
)

// TestSinkIsAsked: while a sink runs it tells what it has, and an interrupt ends
// it with its report and status 0.
func TestSinkIsAsked(t *testing.T) {
	t.Parallel()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out bytes.Buffer
	told, tell := io.Pipe()
	sink := quiet(ctx)
	sink.out, sink.errors = &out, tell
	ended := make(chan int, 1)
	go func() {
		ended <- run(sink, []string{"bench", "sink", "--listen", "127.0.0.1:0", "--stats", "127.0.0.1:" + port})
		tell.Close()
	}()
	line, err := bufio.NewReader(told).ReadString('\n')
	at, ok := strings.CutPrefix(strings.TrimSpace(line), "listening at ")
	if err != nil || !ok {
		t.Fatalf("%q, %v", line, err)
	}
	sender := quiet(t.Context())
	sender.out = io.Discard
	if status := run(sender, []string{"bench", "send", "--to", at, "--messages", "7", "--connections", "2"}); status != 0 {
		t.Errorf("the sender ended with %d", status)
	}
	got, err := http.Get("http://127.0.0.1:" + port)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	var r bench.SinkReport
	if err := json.NewDecoder(got.Body).Decode(&r); err != nil || r.Messages != 7 {
		t.Errorf("the sink has %+v, %v", r, err)
	}
	interrupt()
	if status := <-ended; status != 0 || !strings.Contains(out.String(), "messages     7\n") {
		t.Errorf("ended with %d: %s", status, out.String())
	}
}
