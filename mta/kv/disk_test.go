// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// faulty is a disk in memory on which one kind of operation, on files whose
// name ends in suffix, fails while on is set.
type faulty struct {
	on     atomic.Bool
	kind   errorfs.OpKind
	suffix string
	err    syscall.Errno
}

func (f *faulty) fs() vfs.FS {
	return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if f.on.Load() && op.Kind == f.kind && strings.HasSuffix(op.Path, f.suffix) {
			return f.err
		}
		return nil
	}))
}

// lines is a log that many goroutines write.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Whoever waits for the disk is told nothing when the log or the manifest could
// not be written: the process ends, and says on which file and why.
func TestAFailedLogEndsTheProcess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		kind errorfs.OpKind
		file string
		err  syscall.Errno
		want string
		todo string
	}{
		{"sync", errorfs.OpFileSyncData, ".log", syscall.EIO, "syncing a/b/store/000002.log: input/output error", "dmesg"},
		{"write", errorfs.OpFileWrite, ".log", syscall.ENOSPC, "writing a/b/store/000002.log: no space left on device", "free space"},
		{"create", errorfs.OpCreate, ".log", syscall.EROFS, "creating a/b/store/000004.log: read-only file system", "repair it"},
		{"manifest", errorfs.OpFileSync, "MANIFEST-000001", syscall.EIO, "syncing a/b/store/MANIFEST-000001: input/output error", "dmesg"},
		{"directory", errorfs.OpFileSync, "store", syscall.EIO, "syncing a/b/store: input/output error", "dmesg"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := &faulty{kind: c.kind, suffix: c.file, err: c.err}
			said := make(chan string, 1)
			log := &lines{}
			o := small(f.fs())
			o.Logger = slog.New(slog.NewTextHandler(log, nil))
			o.OnFatal = func(msg string) {
				said <- msg
				select {} // as the end of the process
			}
			d := open(t, o)
			f.on.Store(true)
			returned := make(chan error, 1)
			go func() {
				err := d.Pebble().Set([]byte("k"), []byte("v"), pebble.Sync)
				if err == nil {
					err = d.Pebble().Flush() // a new log, a new table, a line in the manifest
				}
				returned <- err
			}()
			select {
			case msg := <-said:
				if msg != c.want {
					t.Errorf("the process ended with %q, not %q", msg, c.want)
				}
			case err := <-returned:
				t.Fatalf("the store went on: %v", err)
			}
			if text := log.String(); !strings.Contains(text, `error="`+c.want) || !strings.Contains(text, c.todo) {
				t.Errorf("the log says %s", text)
			}
		})
	}
}

// A log whose reader is stuck on the same disk does not keep the process alive.
func TestAFailedLogEndsTheProcessWhoseLogBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := small(nil)
		stuck, ended := make(stuckWriter), make(chan int, 2)
		o.Logger = slog.New(slog.NewTextHandler(stuck, nil))
		h := o.health()
		h.stderr = &lines{}
		h.exit = func(status int) {
			ended <- status
			runtime.Goexit()
		}
		began := time.Now()
		go h.end("syncing a log", syscall.EIO)
		if status := <-ended; status != ExitStatus || time.Since(began) != endWithin {
			t.Errorf("the process ended with %d after %v", status, time.Since(began))
		}
		close(stuck)
		<-ended
	})
}

// stuckWriter takes nothing until it is closed.
type stuckWriter chan struct{}

func (w stuckWriter) Write(p []byte) (int, error) {
	<-w
	return len(p), nil
}

// A table that cannot be written is tried again, now and then: the log still has
// what was in it.
func TestATableIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]errorfs.OpKind{"create": errorfs.OpCreate, "write": errorfs.OpFileWrite, "sync": errorfs.OpFileSyncData} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { triedAgain(t, kind) })
		})
	}
}

func triedAgain(t *testing.T, kind errorfs.OpKind) {
	t.Helper()
	f := &faulty{kind: kind, suffix: ".sst", err: syscall.ENOSPC}
	log := &lines{}
	o := small(f.fs())
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	o.OnFatal = func(msg string) { panic(msg) }
	d := open(t, o)
	f.on.Store(true)
	if err := d.Pebble().Set([]byte("k"), []byte("v"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	flushed, err := d.Pebble().AsyncFlush()
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(3*tableHoldOff + tableHoldOff/2)
	disk := d.Disk()
	if !disk.Failing || disk.Failures != 4 || !strings.Contains(d.Trouble(), "no space left on device") {
		t.Errorf("after three seconds: %+v, %q", disk, d.Trouble())
	}
	f.on.Store(false)
	<-flushed
	synctest.Wait()
	if got := d.Disk(); d.Trouble() != "" || got.Failing || got.Failures != disk.Failures {
		t.Errorf("with room again: %q, %+v", d.Trouble(), got)
	}
	text := log.String()
	if strings.Count(text, "cannot write its tables") != 1 || strings.Count(text, "writes its tables again") != 1 || !strings.Contains(text, ".sst: no space left") {
		t.Errorf("the log says:\n%s", text)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// Not all that fails in the background is tried again: with nothing to write no
// table would ever end the trouble, and no mail would be taken to write.
func TestAFailureThatDoesNotComeAgainIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		o := small(vfs.NewMem())
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
		d := open(t, o)
		for range 3 {
			<-time.After(quietAfter - time.Second)
			d.health.listener().BackgroundError(syscall.EIO) // as a read of statistics that fails
		}
		<-time.After(quietAfter - time.Second)
		if disk := d.Disk(); d.Trouble() == "" || !disk.Failing || disk.Failures != 3 {
			t.Errorf("it failed lately: %+v, %q", disk, d.Trouble())
		}
		<-time.After(time.Second)
		if disk := d.Disk(); d.Trouble() != "" || disk.Failing || !strings.Contains(log.String(), "writes its tables again") {
			t.Errorf("it did not fail again: %+v, %q", disk, d.Trouble())
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A slow disk is counted each time and talked about once a minute.
func TestASlowDiskIsSaidOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		o := small(nil)
		o.FS = slowed{vfs.NewMem()}
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
		d := open(t, o)
		before := d.Disk().Slow
		for range 50 { // of two seconds each
			if err := d.Pebble().Set([]byte("k"), []byte("v"), pebble.Sync); err != nil {
				t.Fatal(err)
			}
		}
		if n := d.Disk().Slow - before; n != 50 {
			t.Errorf("%d slow syncs were counted", n)
		}
		if n := strings.Count(log.String(), "disk is slow"); n != 2 || !strings.Contains(log.String(), "sync_took=2s slow_syncs=30") {
			t.Errorf("the log says it %d times:\n%s", n, log)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// slowed is a disk that needs two seconds for each sync.
type slowed struct{ vfs.FS }

func (s slowed) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	return slowFile{f}, err
}

type slowFile struct{ vfs.File }

func (f slowFile) SyncData() error {
	<-time.After(2 * time.Second)
	return f.File.SyncData()
}
