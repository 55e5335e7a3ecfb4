// SPDX-License-Identifier: Apache-2.0

package mta

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seguemta/segue/config"
	"github.com/seguemta/segue/queue/store"
)

// What is in flight when the store fails can be recorded no more: it is cut at
// once, not after shutdown_deadline, for each delivery that ends well now comes twice.
func TestAFailedStoreCutsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, "dot : hang")
		w.run()
		w.submit("", "ann@dest.example")
		w.settle("a message before its answer", func() bool { return slices.Contains(w.mx.Commands(), "DATA") })
		began := time.Now()
		broken := errors.New("broken in the middle")
		if err := w.mail.Commit(t.Context(), func(tx *store.Tx) error { tx.PutState("half", nil); return broken }); err == nil {
			t.Fatal("the store did not fail")
		}
		if err := w.ended(); !errors.Is(err, broken) {
			t.Errorf("the engine ended with %v", err)
		}
		if took := time.Since(began); took >= 5*time.Second {
			t.Errorf("the engine waited %s for what cannot be recorded", took)
		}
	})
}

// A start on a full disk waits, and never for more than half of queue.min_free.
func TestAStartWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c, _ := config.Parse("segue.toml", []byte("data_dir = \""+dir+"\"\n[queue]\nmin_free = \"1000000GB\"\n"))
		var said strings.Builder
		log := slog.New(slog.NewTextHandler(&said, nil))
		if err := AwaitSpace(t.Context(), c, log); err != nil || said.Len() > 0 {
			t.Errorf("without stores there is nothing to wait for: %v, %s", err, said.String())
		}
		name := filepath.Join(dir, "queue", "000002.log")
		if err := errors.Join(os.Mkdir(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600), os.Truncate(name, 1<<43)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		defer cancel()
		if err := AwaitSpace(ctx, c, log); err != nil || ctx.Err() == nil {
			t.Errorf("a log of eight terabytes needs no room: %v", err)
		}
		if n := strings.Count(said.String(), "disk is full: waiting for room"); n != 2 {
			t.Errorf("within 50 seconds it was said %d times:\n%s", n, said.String())
		}
		c, _ = config.Parse("segue.toml", []byte("data_dir = \""+dir+"\"\n[queue]\nmin_free = \"1MiB\"\n"))
		if err := AwaitSpace(t.Context(), c, log); err != nil {
			t.Error(err)
		}
	})
}
