// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// slowAfter is from when on a sync of the log counts as slow. A disk that works
	// needs milliseconds; every client waits for it.
	slowAfter = time.Second
	// hungAfter is from when on an operation is reported that has not come back.
	hungAfter = 5 * time.Second
	// sayEvery bounds the lines about one kind of trouble: a slow disk is slow
	// hundreds of times.
	sayEvery = time.Minute
	// quietAfter is from when on a failure is over that did not come again. What must
	// be written is tried every second; something else in the background, such as a read of
	// statistics, may fail once and never be tried again.
	quietAfter = 2 * time.Minute
	// ExitStatus is how a process ends whose store cannot go on: EX_IOERR, which
	// systemctl shows by name.
	ExitStatus = 74
	// endWithin bounds the end of a process: the log may stand on the disk that failed.
	endWithin = 5 * time.Second
)

// Disk is how the disk under a store behaves, since the store was opened.
type Disk struct {
	Slow     uint64 // syncs of the log that took over a second
	Failures uint64 // flushes and compactions that failed and were tried again
	Failing  bool   // the last one did
}

// health watches what the disk of one store does, and says it.
type health struct {
	store  string
	log    *slog.Logger
	fatal  func(string) // Options.OnFatal
	stderr io.Writer
	exit   func(int) // os.Exit
	opened atomic.Bool
	ending sync.Once

	mu       sync.Mutex
	disk     Disk
	trouble  string    // why tables cannot be written; "" = they can
	heldTill time.Time // no table before
	saidSlow time.Time
	unsaid   int // slow syncs since
	saidFail time.Time
	failedAt time.Time // the last time
}

// tableFailed makes the next table wait.
func (h *health) tableFailed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heldTill = time.Now().Add(tableHoldOff)
}

// holdOff waits until the next table may be tried.
func (h *health) holdOff() {
	h.mu.Lock()
	wait := time.Until(h.heldTill)
	h.mu.Unlock()
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		<-t.C
	}
}

// synced notes a sync of the log.
func (h *health) synced(path string, took time.Duration) {
	if took < slowAfter {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disk.Slow++
	h.unsaid++
	if time.Since(h.saidSlow) < sayEvery {
		return
	}
	h.log.Warn("disk is slow: mail is accepted and concluded only as fast as the disk confirms it, nothing is lost; look at what else uses this disk, and at its health",
		slog.Duration("sync_took", took.Round(time.Millisecond)), slog.Int("slow_syncs", h.unsaid), slog.String("path", path))
	h.saidSlow, h.unsaid = time.Now(), 0
}

// hung notes an operation that has not come back.
func (h *health) hung(op, path string, since time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.saidSlow) < sayEvery {
		return
	}
	h.log.Warn("disk does not answer: clients wait for their 250; look at the kernel's log (dmesg) and at the storage behind this path",
		slog.String("operation", op), slog.Duration("for", since.Round(time.Millisecond)), slog.String("path", path))
	h.saidSlow, h.unsaid = time.Now(), 0
}

// failed notes that a flush or compaction failed. Pebble tries it again.
func (h *health) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disk.Failures++
	if h.trouble == "" || time.Since(h.saidFail) >= sayEvery {
		h.saidFail = time.Now()
		h.log.Error("store cannot write its tables, trying again; no mail is taken until it can",
			slog.Any("error", err), slog.String("advice", advice(err)), slog.Uint64("failures", h.disk.Failures))
	}
	h.trouble, h.failedAt = err.Error(), time.Now()
}

// worked notes that a flush or compaction succeeded.
func (h *health) worked() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over()
}

// over ends what trouble there is.
func (h *health) over() {
	if h.trouble == "" {
		return
	}
	h.trouble = ""
	h.log.Info("store writes its tables again", slog.Uint64("failures", h.disk.Failures))
}

// status is what is wrong, and the numbers.
func (h *health) status() (string, Disk) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.failedAt) >= quietAfter {
		h.over()
	}
	d := h.disk
	d.Failing = h.trouble != ""
	return h.trouble, d
}

// end ends the process with one line that says why. It does not return: whoever
// called may hold Pebble's locks and must not go on. The line goes to the log and to standard
// error, whatever the log is.
func (h *health) end(what string, err error) {
	h.ending.Do(func() {
		todo := advice(err)
		if h.fatal == nil {
			time.AfterFunc(endWithin, func() { h.exit(ExitStatus) }) // where what follows blocks
		}
		h.log.Error("store failed, ending the process", slog.String("error", what), slog.String("advice", todo))
		if h.fatal != nil {
			h.fatal(what)
		}
		fmt.Fprintf(h.stderr, "segue: the %s store failed: %s; what was answered 250 is safe; %s\n", h.store, what, todo) // there is nobody else to tell
		h.exit(ExitStatus)
	})
	select {} // another goroutine is ending the process
}

// advice is what an operator does about an error of the disk.
func advice(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free space on this file system: segue goes on by itself when there is room"
	case errors.Is(err, syscall.EROFS):
		return "the file system has become read-only: look at the kernel's log (dmesg), repair it, start segue again"
	case errors.Is(err, syscall.EIO):
		return "the disk failed: look at the kernel's log (dmesg) and at the health of the disk; start segue again when it is sound"
	default:
		return "look at the kernel's log (dmesg), then start segue again"
	}
}
