// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is the file system under a store. It looks at every write, because what
// a failed one means depends on the file:
//
//   - Tables are written anew when writing one fails: the log still has what was
//     in it. Pebble tries at once and for ever; here a try waits for
//     tableHoldOff after a failure, and [DB.Trouble] says what is wrong.
//   - Everything else (log, manifest, markers, the directory) is what Pebble
//     knows about the disk. After a failed write or sync nobody does: the kernel
//     may have dropped the pages and call the next sync a success. Pebble itself
//     hands such an error to whoever waits for that sync, or panics somewhere
//     else. So the process ends here, before anybody could be told 250.
//
// While the store is being opened nothing has been promised yet, and errors go
// back to the caller of [Open].
type disk struct {
	vfs.FS
	health *health
	fresh  atomic.Int32 // above 0: no log is written over an old one
}

// tableHoldOff is how long the next table waits after one could not be written.
const tableHoldOff = time.Second

// isTable reports whether a file is one that Pebble can write again.
func isTable(path string) bool {
	ext := filepath.Ext(path)
	return ext == ".sst" || ext == ".blob"
}

// isLog reports whether a file is a part of the log, on whose syncs commits wait.
func isLog(path string) bool { return filepath.Ext(path) == ".log" }

// wrote looks at the end of a write to path.
func (d *disk) wrote(doing, path string, err error) error {
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return err
	}
	if isTable(path) {
		d.health.tableFailed()
		return fmt.Errorf("%s %s: %w", doing, path, cause(err))
	}
	if d.health.opened.Load() {
		d.health.end(fmt.Sprintf("%s %s: %v", doing, path, cause(err)), err)
	}
	return err
}

// cause is the system's own error where there is one: the path is said already.
func cause(err error) error {
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return no
	}
	return err
}

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// Create implements vfs.FS.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if isTable(name) {
		d.health.holdOff()
	}
	return d.file(name, "creating", func() (vfs.File, error) { return d.FS.Create(name, c) })
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file(name, "creating", func() (vfs.File, error) { return d.reuse(old, name, c) })
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.file(name, "opening", func() (vfs.File, error) { return d.FS.OpenReadWrite(name, c, opts...) })
}

// OpenDir implements vfs.FS.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	return d.file(name, "opening", func() (vfs.File, error) { return d.FS.OpenDir(name) })
}

func (d *disk) file(name, doing string, open func() (vfs.File, error)) (vfs.File, error) {
	f, err := open()
	if err = d.wrote(doing, name, err); err != nil {
		return nil, err
	}
	return &file{File: f, disk: d, name: name}, nil
}

// Rename implements vfs.FS.
func (d *disk) Rename(from, to string) error {
	return d.wrote("renaming a file to", to, d.FS.Rename(from, to))
}

// file is a file or directory that is written to.
type file struct {
	vfs.File
	disk *disk
	name string
}

// Write implements vfs.File.
func (f *file) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.disk.wrote("writing", f.name, err)
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	return n, f.disk.wrote("writing", f.name, err)
}

// Sync implements vfs.File.
func (f *file) Sync() error { return f.sync(f.File.Sync) }

// SyncData implements vfs.File.
func (f *file) SyncData() error { return f.sync(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *file) SyncTo(length int64) (full bool, err error) {
	err = f.sync(func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f *file) sync(do func() error) error {
	began := time.Now()
	err := f.disk.wrote("syncing", f.name, do())
	if isLog(f.name) {
		f.disk.health.synced(f.name, time.Since(began))
	}
	return err
}

// Close implements vfs.File.
func (f *file) Close() error { return f.disk.wrote("closing", f.name, f.File.Close()) }

// withHealthChecks is the operating system's disk, which reports operations
// that do not come back. The closer ends the reports.
func withHealthChecks(h *health) (vfs.FS, io.Closer) {
	return vfs.WithDiskHealthChecks(vfs.Default, hungAfter, nil, func(i vfs.DiskSlowInfo) {
		h.hung(strings.ToLower(i.OpType.String()), i.Path, i.Duration)
	})
}
