// SPDX-License-Identifier: Apache-2.0

package track

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seguemta/segue/mta/mtatest"
	"github.com/seguemta/segue/mta/mtatest/peer"
)

// TestClientsOfOthers runs the libraries of Segment and RudderStack through a proxy
// that answers 503 and 429 and loses connections: each event is applied once,
// although whole batches come again.
func TestClientsOfOthers(t *testing.T) {
	t.Parallel()
	for i, library := range []string{"@segment/analytics-node", "@rudderstack/rudder-sdk-node"} {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			node, modules := peer.Node(t, library)
			store := &ledger{memory: newMemory()}
			engine := httptest.NewServer(handler(t, store, func(o *Options) { o.Now = nil }))
			defer engine.Close()
			proxy := &mtatest.Flaky{Target: http.DefaultTransport, Host: strings.TrimPrefix(engine.URL, "http://"), Seed: uint64(i)}
			at, stop, err := proxy.Start("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			const events = 500
			cmd := exec.CommandContext(t.Context(), node, "testdata/clients.js")
			cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "LIBRARY="+library, "HOST=http://"+at, "KEY="+testKey, "PREFIX=user", fmt.Sprintf("EVENTS=%d", events))
			out, err := cmd.CombinedOutput()
			stop()
			if err != nil {
				t.Fatalf("%s: %v\n%s", library, err, out)
			}
			times := map[string]int{}
			for _, c := range store.take() {
				n := c.Properties["n"]
				if n == nil {
					n = c.Traits["n"]
				}
				times[fmt.Sprint(n)]++
			}
			for n := range events {
				if times[fmt.Sprint(n)] != 1 {
					t.Errorf("event %d was applied %d times", n, times[fmt.Sprint(n)])
				}
			}
			if c := proxy.Count(); c.Unavailable == 0 || c.TooMany == 0 || c.Lost == 0 || c.Unheard == 0 || store.came <= events {
				t.Errorf("nothing was put to the test: %+v, %d events came", c, store.came)
			}
			t.Logf("%+v, %d events came", proxy.Count(), store.came)
		})
	}
}

// ledger counts what comes, repeated or not.
type ledger struct {
	*memory
	came int
}

func (l *ledger) Ingest(ctx context.Context, calls []Call) ([]error, error) {
	l.mu.Lock()
	l.came += len(calls)
	l.mu.Unlock()
	return l.memory.Ingest(ctx, calls)
}
