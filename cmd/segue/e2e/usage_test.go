// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// usage is what a running engine takes, at one moment.
type usage struct {
	rss, peak  int64 // bytes: VmRSS and VmHWM
	heap       int64 // bytes: go_memstats_heap_inuse_bytes
	goroutines int
	sockets    int // open ones
	files      int // every other descriptor but tables of the stores: of these there are as many as there is data
	data       int64
}

// usage reads what the engine's process and its data directory take.
func (w *world) usage() usage {
	w.t.Helper()
	u := usage{heap: int64(w.metric("go_memstats_heap_inuse_bytes")), goroutines: int(w.metric("go_goroutines"))}
	proc := filepath.Join("/proc", strconv.Itoa(w.cmd.Process.Pid))
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		w.t.Fatal(err)
	}
	u.rss, u.peak = statusBytes(string(status), "VmRSS:"), statusBytes(string(status), "VmHWM:")
	list, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range list {
		switch to, err := os.Readlink(filepath.Join(proc, "fd", d.Name())); {
		case err == nil && strings.HasPrefix(to, "socket:"):
			u.sockets++
		case err != nil || !strings.HasSuffix(strings.TrimSuffix(to, " (deleted)"), ".sst"):
			u.files++
		}
	}
	u.data = w.dataSize()
	return u
}

// statusBytes is a line of /proc/PID/status that counts kB.
func statusBytes(status, name string) int64 {
	_, rest, _ := strings.Cut(status, name)
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, _ := strconv.ParseInt(number, 10, 64)
	return n << 10
}

// dataSize is how much the data directory holds. Files come and go meanwhile.
func (w *world) dataSize() (size int64) {
	w.t.Helper()
	err := filepath.WalkDir(filepath.Join(w.dir, "data"), func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return size
}

// mib is bytes as whole MiB, for tables.
func mib(n int64) int64 { return n >> 20 }
